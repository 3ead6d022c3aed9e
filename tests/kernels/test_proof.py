"""What names without proof pay, against its equations written out, and where it must not be seen."""

from __future__ import annotations

import math

import numpy as np
import pytest

from annotate.kernels import blocks, joint_images, proof, transduction
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.transduction import JointPass, transduce
from annotate.kernels.vectors import Floats, Ints
from tests.kernels.test_transduction import outcome, planted


def written_out(z: list[list[float]]) -> list[list[float]]:
    """What each image's logit of each name loses, image by image."""
    n, k = len(z), len(z[0])
    e = [[-math.log(max(1 - share, 1e-9)) for share in row] for row in z]
    proven = [sum(e[i][c] for i in range(n)) for c in range(k)]
    u = k * min(max(sum(1 - math.exp(-p) for p in proven) / k, 1e-6), 0.999)
    return [
        [math.log(1 + ((k - u) / u) ** 1.5 * math.exp(-2 * (proven[c] - e[i][c]))) for c in range(k)] for i in range(n)
    ]


def shares_of(n: int, k: int, seed: int) -> Floats:
    return np.random.default_rng(seed).dirichlet(np.full(k, 0.05), n).astype(np.float32)


def paid(z: Floats) -> Floats:
    logits = np.zeros_like(z)
    proof.pay(logits, z, proof.proof(z).sum(axis=0, dtype=np.float64))
    return -logits


@pytest.mark.parametrize(("n", "k"), [(3, 12), (40, 8), (9, 200)])
def test_each_name_pays_what_the_equations_say(n: int, k: int) -> None:
    z = shares_of(n, k, seed=n)
    np.testing.assert_allclose(paid(z), written_out(z.tolist()), rtol=2e-4, atol=1e-5)


def test_names_that_images_bear_surely_pay_nothing_however_few_those_are() -> None:
    z = np.full((30, 100), 0.001, np.float32)
    z[:28, 0], z[28:, 1] = 0.9, 0.9
    assert paid(z)[:, 0].max() < 1e-6
    assert paid(z)[:28, 1].max() < 0.2  # by two images
    assert paid(z)[:, 2:].min() > 3


def test_an_image_does_not_prove_its_own_name() -> None:
    z = np.full((10, 50), 0.001, np.float32)
    z[0, 7] = 1
    assert paid(z)[0, 7] == pytest.approx(paid(z)[1, 8], rel=0.01)
    assert paid(z)[1, 7] < 1e-9


def test_where_all_names_are_in_use_next_to_nothing_is_paid() -> None:
    z = np.eye(6, dtype=np.float32)[np.repeat(np.arange(6), 2)]
    assert paid(z).max() < 1e-4


def few_of_many(seed: int) -> tuple[Floats, Floats, Ints]:
    """Six images each of eight things, and a hundred names."""
    return planted([6] * 8 + [0] * 92, wrong=0.9, spread=0.9, d=48, seed=seed)


def free_of_payment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transduction, "pay", lambda logits, shares, proven: None)


def test_few_photos_among_many_names_find_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [few_of_many(seed) for seed in range(4)]

    def accuracy() -> float:
        return float(np.mean([(outcome(x, t)[-1].labels == labels).mean() for x, t, labels in scenes]))

    found = accuracy()
    free_of_payment(monkeypatch)
    assert found > accuracy() + 0.03


def passes(images: Floats, texts: Floats, *, balanced: bool = False, kept: int | None = None) -> list[JointPass]:
    graph, everyone = neighbour_graph(*nearest_neighbours(images, 5)), np.arange(len(images))
    asked = transduce(images, texts, graph, everyone, logit_scale=30.0, iterations=6, balanced=balanced, kept=kept)
    return list(asked)


def test_where_classes_are_known_to_be_balanced_nothing_is_paid(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts, _ = few_of_many(1)
    before = passes(images, texts, balanced=True)[-1]
    free_of_payment(monkeypatch)
    np.testing.assert_array_equal(before.sample, passes(images, texts, balanced=True)[-1].sample)


def test_the_largest_shares_alone_prove_as_much() -> None:
    images, texts, _ = few_of_many(2)
    whole, largest = passes(images, texts)[-1], passes(images, texts, kept=60)[-1]
    np.testing.assert_array_equal(whole.labels, largest.labels)


def test_blocks_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    images, texts, _ = planted([90] * 6 + [3, 2] + [0] * 40, wrong=0.9, spread=0.9, d=48, seed=3)
    at_once = passes(images, texts)[-1]
    for module in (joint_images, blocks):
        monkeypatch.setattr(module, "BLOCK", 256)
    monkeypatch.setattr(blocks, "cores", lambda: 3)
    np.testing.assert_array_equal(at_once.sample, passes(images, texts)[-1].sample)
