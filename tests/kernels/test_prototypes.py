from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from annotate.engines.local import Local
from annotate.kernels.prototypes import blend, refine_dynamic
from annotate.kernels.vectors import unit

Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def plain(x: np.ndarray, t: np.ndarray, iterations: int, start: float, end: float) -> tuple[np.ndarray, np.ndarray]:
    """The formula as it stands in the docstring, class by class with boolean masks."""
    x, t = x.astype(np.float64), t.astype(np.float64)
    p = t.copy()
    for step in range(iterations):
        labels = (x @ p.T).argmax(1)
        w = start - (start - end) * step / iterations
        for k in range(len(t)):
            mine = x[labels == k]
            if len(mine):
                v = mine.mean(0)
                v /= np.linalg.norm(v)
                p[k] = w * t[k] + (1 - w) * v
                p[k] /= np.linalg.norm(p[k])
            else:
                p[k] = t[k]
    return (x @ p.T).argmax(1), p


@pytest.mark.parametrize("seed", range(3))
def test_dynamic_equals_the_formula_written_as_a_loop(blobs: Blobs, seed: int) -> None:
    x, t, _ = blobs(n=200, k=7, spread=0.3, blur=0.3, seed=seed)
    *_, last = refine_dynamic(Local(x), t, x, iterations=10, start=0.95, end=0.60)
    labels, prototypes = plain(x, t, 10, 0.95, 0.60)
    np.testing.assert_array_equal(last.labels(x), labels)
    np.testing.assert_allclose(last.prototypes, prototypes, atol=1e-5)


def test_the_last_weight_of_the_default_schedule_is_0635(blobs: Blobs) -> None:
    x, t, _ = blobs()
    weights = [step.text_weight for step in refine_dynamic(Local(x), t, x, iterations=10, start=0.95, end=0.60)]
    assert weights == pytest.approx([1.0, 0.95, 0.915, 0.88, 0.845, 0.81, 0.775, 0.74, 0.705, 0.67, 0.635])


def test_images_repair_blurred_words(blobs: Blobs) -> None:
    x, t, truth = blobs(n=500, k=5, spread=0.12, blur=0.35, seed=3)
    first, *_, last = refine_dynamic(Local(x), t, x, iterations=10, start=0.95, end=0.60)
    assert (last.labels(x) == truth).mean() > (first.labels(x) == truth).mean()


def test_a_class_without_images_falls_back_to_its_text() -> None:
    x = unit(np.array([[1, 0.1, 0], [1, 0, 0.1]]))
    t = unit(np.array([[1, 0, 0], [0, 0, 1.0]]))
    *_, last = refine_dynamic(Local(x), t, x, iterations=3, start=0.9, end=0.5)
    assert set(last.labels(x)) == {0}
    np.testing.assert_allclose(last.prototypes[1], t[1])


def test_the_order_of_images_does_not_matter(blobs: Blobs) -> None:
    x, t, _ = blobs(spread=0.3)
    order = np.random.default_rng(1).permutation(len(x))
    *_, last = refine_dynamic(Local(x), t, x, iterations=5, start=0.95, end=0.6)
    *_, shuffled = refine_dynamic(Local(x[order]), t, x, iterations=5, start=0.95, end=0.6)
    np.testing.assert_array_equal(shuffled.labels(x[order]), last.labels(x)[order])


def test_a_full_text_weight_keeps_the_words(blobs: Blobs) -> None:
    _, t, _ = blobs()
    np.testing.assert_allclose(blend(t, -t, text_weight=1.0), t, atol=1e-7)
