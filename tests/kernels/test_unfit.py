from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels import unfit
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.transduction import transduce
from annotate.kernels.unfit import Unfit, unfit_groups
from annotate.kernels.vectors import Floats, Ints, unit

D = 128
SCALE = 20.0  # at which words are as unsure of strange images as CLIP is


def scene(sizes: list[int], named: int, seed: int = 0) -> tuple[Floats, Floats, Ints]:
    """Images of as many kinds as there are sizes, and texts for the first `named` of them."""
    rng = np.random.default_rng(seed)
    cone, other = unit(rng.normal(size=(2, D)))
    meaning = unit(rng.normal(size=(len(sizes), D)))
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = unit(cone + 0.7 * meaning[labels] + 0.35 * unit(rng.normal(size=(len(labels), D))))
    texts = unit(other + 0.5 * meaning[:named] + 0.15 * unit(rng.normal(size=(named, D))))
    return images, texts, labels


def found(images: Floats, texts: Floats) -> list[Unfit]:
    graph = neighbour_graph(*nearest_neighbours(images, 5))
    *_, last = transduce(images, texts, graph, np.arange(len(images)), logit_scale=SCALE, iterations=15)
    return unfit_groups(images, texts, last.labels, graph, logit_scale=SCALE)


@pytest.mark.parametrize("seed", range(4))
def test_a_kind_that_nobody_named_is_told(seed: int) -> None:
    images, texts, labels = scene([80] * 10 + [57], named=10, seed=seed)
    groups = found(images, texts)
    assert groups
    rows = np.concatenate([group.rows for group in groups])
    assert (labels[rows] == 10).mean() > 0.95
    assert (labels[rows] == 10).sum() > 40


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sizes", [[80] * 10, [200, 100, 50, 25, 12, 6, 0, 0, 0, 0], [30, 30]])
def test_kinds_that_are_named_are_left_alone(sizes: list[int], seed: int) -> None:
    images, texts, _ = scene(sizes, named=len(sizes), seed=seed)
    assert found(images, texts) == []


def test_a_kind_between_two_names_is_not_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nines that look like threes, in a hand of their own."""
    images, texts, labels = scene([80] * 10, named=10, seed=2)
    rng = np.random.default_rng(3)
    cone, three, nine = images.mean(axis=0), images[labels == 3].mean(axis=0), images[labels == 9].mean(axis=0)
    hand = 0.7 * unit(rng.normal(size=D))
    odd = unit(three + nine - cone + hand + 0.3 * unit(rng.normal(size=(30, D))))
    both = np.concatenate([images, odd])
    assert found(both, texts) == []
    monkeypatch.setattr(unfit, "PAIR", 9.0)
    assert [len(group.rows) for group in found(both, texts)] == [30]


def test_with_two_names_a_third_kind_is_told_too() -> None:
    images, texts, labels = scene([200, 200, 57], named=2, seed=0)
    groups = found(images, texts)
    assert (labels[np.concatenate([group.rows for group in groups])] == 2).mean() > 0.9


def test_a_handful_of_images_is_no_trouble() -> None:
    images, texts, _ = scene([2, 1], named=2)
    assert found(images, texts) == []
