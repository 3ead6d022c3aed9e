from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from annotate.kernels.reach import STRANGERS, reach
from annotate.kernels.vectors import unit

Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.mark.parametrize("seed", range(5))
def test_right_words_reach_the_images_and_strange_ones_do_not(blobs: Blobs, seed: int) -> None:
    x, t, _ = blobs(n=300, k=8, d=64, spread=0.1, blur=0.1, seed=seed)
    strange = unit(np.random.default_rng(100 + seed).normal(size=t.shape))
    assert reach(x, t)[1] > 2 * STRANGERS
    assert reach(x, strange)[1] < STRANGERS


def test_random_directions_reach_once_with_the_deviation_that_is_said(blobs: Blobs) -> None:
    x, _, _ = blobs(n=400, k=6, d=48)
    rng = np.random.default_rng(77)
    drawn = np.array([reach(x, unit(rng.normal(size=(9, 48)))) for _ in range(400)])
    assert drawn[:, 0].mean() == pytest.approx(1, abs=0.03)
    assert drawn[:, 1].std() == pytest.approx(1, abs=0.15)


def test_where_nothing_can_be_said_nothing_is(blobs: Blobs) -> None:
    x, t, _ = blobs()
    assert reach(x, t[:1])[1] == np.inf
    assert reach(np.repeat(x[:1], 30, axis=0), t)[1] == np.inf
