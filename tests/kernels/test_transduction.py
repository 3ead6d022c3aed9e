"""Transduction against a plain version of its equations, and on planted images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy.sparse import csr_array

from annotate.kernels import joint_images, transduction
from annotate.kernels.chances import Chances
from annotate.kernels.joint_images import JointImages, image_metric
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.transduction import (
    ANCHOR,
    ClassFit,
    JointPass,
    abundance,
    anchors,
    class_size,
    transduce,
    word_bias,
    word_weight,
)
from annotate.kernels.vectors import Floats, Ints, unit
from annotate.kernels.zeroshot import probabilities

Wide = npt.NDArray[np.float64]


def planted(
    counts: list[int], *, wrong: float, spread: float = 0.5, d: int = 16, seed: int = 0
) -> tuple[Floats, Floats, Ints]:
    """Images of classes in one cone, texts in another; `wrong` is how far texts point elsewhere."""
    rng = np.random.default_rng(seed)
    k = len(counts)
    gap = rng.normal(size=d)
    directions = rng.normal(size=(k, d))
    centres = 4 * unit(directions - np.outer(directions @ gap, gap) / (gap @ gap))
    labels = np.repeat(np.arange(k), counts)
    images = gap + centres[labels] + spread * rng.normal(size=(len(labels), d))
    texts = -gap + centres + 4 * wrong * unit(rng.normal(size=(k, d)))
    return unit(images), unit(texts), labels


def outcome(images: Floats, texts: Floats, iterations: int = 15) -> list[JointPass]:
    graph = neighbour_graph(*nearest_neighbours(images, 5))
    return list(transduce(images, texts, graph, np.arange(len(images)), logit_scale=30.0, iterations=iterations))


def plain_fit(x: Wide, z: Wide, a: Wide) -> Wide:
    """d_ik by its definition: the mean of class k without image i's part, image by image."""
    fit = np.empty_like(z)
    for i in range(len(x)):
        for k in range(z.shape[1]):
            others = np.delete(np.arange(len(x)), i)
            mean = (z[others, k] @ x[others] + ANCHOR * a[k]) / (z[others, k].sum() + ANCHOR)
            fit[i, k] = x[i] @ mean - mean @ mean / 2
    return fit


def test_class_fit_leaves_each_image_out() -> None:
    """On embeddings that the metric moves and turns: the fit is that of x = (e - centre) map."""
    rng = np.random.default_rng(3)
    e, a, z = rng.normal(size=(20, 6)), rng.normal(size=(4, 6)), rng.dirichlet(np.ones(4), 20)
    centre, turn = e.mean(axis=0), rng.normal(size=(6, 6))
    straight = turn + turn.T
    x = (e - centre) @ straight
    lengths = (x**2).sum(axis=1, keepdims=True)
    fit = ClassFit.from_sums(z.T @ x + ANCHOR * a, z.sum(axis=0), straight, centre @ straight)
    fast = fit(e.astype(np.float32), z.astype(np.float32), lengths.astype(np.float32))
    np.testing.assert_allclose(fast, plain_fit(x, z, a), rtol=1e-4, atol=1e-3)


def test_anchors_are_the_least_squares_fit_to_the_class_means() -> None:
    rng = np.random.default_rng(4)
    x, t, z = rng.normal(size=(30, 5)), rng.normal(size=(3, 5)), rng.dirichlet(np.ones(3), 30)
    counts = z.sum(axis=0)
    centred = t - counts @ t / counts.sum()
    means = z.T @ x / counts[:, None]
    gains = np.linspace(0, 2, 20001)
    losses = [(counts[:, None] * (means - g * centred) ** 2).sum() for g in gains]
    found = anchors(t, counts, z.T @ x)
    np.testing.assert_allclose(found, gains[int(np.argmin(losses))] * centred, atol=1e-3)


def test_the_metric_evens_directions_and_keeps_the_mean_length() -> None:
    rng = np.random.default_rng(5)
    rows = (rng.normal(size=(4000, 4)) * [4, 2, 1, 0.5] + 7).astype(np.float32)
    metric = image_metric(rows)
    x = (rows - metric.centre) @ metric.map
    spread = x.std(axis=0)
    assert (x**2).sum() == pytest.approx(((rows - rows.mean(axis=0)) ** 2).sum(), rel=1e-3)
    np.testing.assert_allclose(spread / spread[0], np.sqrt([1, 1 / 2, 1 / 4, 1 / 8]), rtol=0.05)
    assert metric.typical == pytest.approx((spread**4).sum() / (spread**2).sum(), rel=0.02)


def test_the_weight_of_the_words_is_the_likeliest() -> None:
    rng = np.random.default_rng(6)
    logits = (6 * rng.normal(size=(500, 5))).astype(np.float32)
    sharp = np.exp(0.4 * logits)
    labels = [rng.choice(5, p=row / row.sum()) for row in sharp.astype(np.float64)]
    z = np.eye(5, dtype=np.float32)[labels]
    grid = np.linspace(0.05, 2, 400)
    likelihoods = [(np.log((p := np.exp(w * logits)) / p.sum(axis=1, keepdims=True)) * z).sum() for w in grid]
    found = word_weight(logits, z, start=1.0, steps=12)
    assert found == pytest.approx(grid[int(np.argmax(likelihoods))], abs=0.01)


def test_shares_of_next_to_nothing_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts, _ = planted([40, 40, 40], wrong=0.4, spread=0.4)
    flushed = outcome(images, texts)[-1]
    monkeypatch.setattr(joint_images, "NO_SHARE", 0)
    whole = outcome(images, texts)[-1]
    np.testing.assert_array_equal(flushed.labels, whole.labels)
    np.testing.assert_allclose(flushed.sample, whole.sample, atol=1e-5)


def test_few_images_of_a_class_are_trusted_little() -> None:
    even = np.full(4, 0.25)
    assert abundance(class_size(even, 20)) == pytest.approx(0.5)
    assert abundance(class_size(even, 8)) < 0.3 < 0.9 < abundance(class_size(np.array([1.0, 0, 0, 0]), 400))


def test_neighbours_of_other_classes_are_not_pure() -> None:
    shares = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]

    def pure(graph: Wide) -> float:
        images = JointImages(np.eye(4, dtype=np.float32), csr_array(graph), np.arange(4))
        return images.purity(Chances(shares.argmax(axis=1), shares.max(axis=1), shares, None), shares, 2)

    same, other = np.eye(4)[[1, 0, 3, 2]], np.eye(4)[[2, 3, 0, 1]]
    assert pure(same) == pytest.approx(1)
    assert pure(other) == pytest.approx(0)
    assert pure(same / 2 + other / 2) == pytest.approx(0.5)


def test_words_decide_where_images_form_no_classes() -> None:
    rng = np.random.default_rng(8)
    images, texts = unit(rng.normal(size=(300, 24))), unit(rng.normal(size=(30, 24)))
    passes = outcome(images, texts)
    assert (passes[-1].labels == passes[0].labels).mean() > 0.97
    assert passes[-1].text_weight == pytest.approx(1, abs=0.15)


def test_images_mend_wrong_words() -> None:
    images, texts, labels = planted([60] * 5, wrong=1.6, spread=0.7, d=64)
    passes = outcome(images, texts)
    before, after = (float((p.labels == labels).mean()) for p in (passes[0], passes[-1]))
    assert before < 0.9
    assert after > 0.98


def test_right_words_stay_right_where_classes_are_uneven_or_absent() -> None:
    images, texts, labels = planted([150, 20, 8, 0, 0, 0], wrong=0.5, spread=1.0, seed=3)
    passes = outcome(images, texts)
    before, after = (float((p.labels == labels).mean()) for p in (passes[0], passes[-1]))
    assert after >= before - 0.01
    assert after > 0.95


def test_knowing_that_classes_are_balanced_mends_more() -> None:
    """Words so poor that a class is lost, unless it is known to be as large as the others."""
    images, texts, labels = planted([60] * 5, wrong=1.6, spread=0.7, d=16, seed=1)
    graph, everyone = neighbour_graph(*nearest_neighbours(images, 5)), np.arange(len(images))
    free, even = (
        [*transduce(images, texts, graph, everyone, logit_scale=30.0, iterations=15, balanced=balanced)][-1]
        for balanced in (False, True)
    )
    assert (even.labels == labels).mean() > max(0.95, (free.labels == labels).mean())
    np.testing.assert_allclose(np.bincount(even.labels, minlength=5) / len(labels), 0.2, atol=0.02)


def test_names_that_no_image_bears_let_go_of_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [planted([60] * 3 + [0] * 27, wrong=0.9, spread=1.0, d=64, seed=seed) for seed in range(4)]

    def accuracy() -> float:
        return float(np.mean([(outcome(x, t)[-1].labels == labels).mean() for x, t, labels in scenes]))

    held = accuracy()
    assert held > np.mean([((x @ t.T).argmax(axis=1) == labels).mean() for x, t, labels in scenes]) + 0.2
    with monkeypatch.context() as changed:
        changed.setattr(transduction, "ABSENT", 0.0)
        assert accuracy() < held
    monkeypatch.setattr(transduction, "SHARPNESS", 10 * transduction.SHARPNESS)  # as if all thirty were in use
    assert accuracy() < held - 0.1


def test_wrong_words_lose_weight() -> None:
    right, wrong = (outcome(*planted([60] * 5, wrong=w, seed=1)[:2])[-1].text_weight for w in (0.2, 1.4))
    assert right is not None
    assert wrong is not None
    assert wrong < right


def test_the_order_of_the_images_does_not_matter() -> None:
    images, texts, _ = planted([40, 30, 20], wrong=0.8)
    order = np.random.default_rng(0).permutation(len(images))
    straight, shuffled = outcome(images, texts)[-1], outcome(images[order], texts)[-1]
    np.testing.assert_array_equal(straight.labels[order], shuffled.labels)
    np.testing.assert_allclose(straight.sample[order], shuffled.sample, atol=1e-4)


def test_it_stops_when_hardly_an_image_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts, _ = planted([40, 40], wrong=0.0, spread=0.1)
    assert len(outcome(images, texts)) == 2 + transduction.FEWEST_PASSES
    monkeypatch.setattr(transduction, "SETTLED", -1.0)
    assert len(outcome(images, texts)) == 16


@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_images_and_one_class_are_no_trouble(n: int) -> None:
    images, texts, _ = planted([n, 0], wrong=0.1)
    for k in (1, 2):
        last = outcome(images, texts[:k])[-1]
        assert np.isfinite(last.sample).all()
        np.testing.assert_allclose(np.linalg.norm(last.prototypes, axis=1), 1, atol=1e-5)


def test_a_word_that_lies_near_every_image_takes_none_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub: one class's words are drawn toward where all images lie."""
    scenes = []
    for seed in range(6):
        images, texts, labels = planted([50] * 8, wrong=1.1, spread=1.0, d=48, seed=seed)
        texts[0] = unit(texts[0] + 0.3 * unit(images.mean(axis=0)))
        scenes.append((images, texts, labels))

    def accuracy() -> float:
        return float(np.mean([(outcome(x, t)[-1].labels == labels).mean() for x, t, labels in scenes]))

    held, by_words = accuracy(), np.mean([((x @ t.T).argmax(axis=1) == labels).mean() for x, t, labels in scenes])
    assert by_words < 0.7
    assert held > 0.9
    monkeypatch.setattr(transduction, "hubness", lambda texts, totals: np.zeros(len(texts)))
    monkeypatch.setattr(transduction, "word_bias", lambda *args, start, **kwargs: np.zeros(len(start)))
    assert accuracy() < held - 0.04


def test_the_likeliest_bias_is_that_of_a_grid() -> None:
    rng = np.random.default_rng(7)
    logits = (3 * rng.normal(size=(400, 2))).astype(np.float32)
    true = logits - np.array([1.5, 0], np.float32)
    z = np.eye(2, dtype=np.float32)[(rng.uniform(size=400) > probabilities(true, 1.0)[:, 0]).astype(int)]
    found = word_bias(logits, z, 1.0, start=np.zeros(2), steps=60)
    steps = np.linspace(-3, 3, 121)

    def likelihood(a: float, b: float) -> float:
        p = probabilities(logits - np.array([a, b], np.float32), 1.0)
        return float((np.log(p) * z).sum()) - (a * a + b * b) / 2

    best = max(((a, b) for a in steps for b in steps), key=lambda bias: likelihood(*bias))
    np.testing.assert_allclose(found, best, atol=0.06)
