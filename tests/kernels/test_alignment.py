from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from annotate.engines.local import Local
from annotate.kernels.alignment import Groups, align, alignment, refine_soft
from annotate.kernels.vectors import unit

Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def test_one_update_equals_the_formula_written_as_a_loop(blobs: Blobs) -> None:
    rng = np.random.default_rng(0)
    c, p = unit(rng.normal(size=(9, 16))), unit(rng.normal(size=(4, 16)))
    n = rng.integers(1, 50, 9).astype(float)
    tau = 0.1
    gamma = np.exp(c.astype(float) @ p.T / tau)
    gamma /= gamma.sum(1, keepdims=True)
    expected = np.zeros_like(p, dtype=float)
    for k in range(4):
        top = sum(n[i] * gamma[i, k] * c[i].astype(float) for i in range(9))
        expected[k] = top / np.linalg.norm(top)
    np.testing.assert_allclose(align(p, Groups(c, n), temperature=tau), expected, atol=1e-6)
    np.testing.assert_allclose(alignment(p, c, temperature=tau), gamma, atol=1e-5)


def test_prototypes_find_the_clusters_that_lie_nearest(blobs: Blobs) -> None:
    x, t, truth = blobs(n=300, k=5, spread=0.1, blur=0.2)
    centroids = unit(np.array([x[truth == k].mean(0) for k in range(5)]))
    groups = Groups(centroids, np.ones(5))
    *_, last = refine_soft(Local(x), t, x, [groups, groups], iterations=5, temperature=0.01)
    assert (last.labels(x) == truth).mean() == 1
    np.testing.assert_allclose(last.prototypes, centroids, atol=1e-3)


def test_a_warm_alignment_makes_all_prototypes_one(blobs: Blobs) -> None:
    """What METHODS calls the trap: at temperature 10 responsibilities are equal, so prototypes are."""
    x, t, _ = blobs()
    groups = Groups(x, np.ones(len(x)))
    *_, last = refine_soft(Local(x), t, x, [groups], iterations=5, temperature=10.0)
    assert (last.prototypes @ last.prototypes.T).min() > 0.999


def test_a_class_to_which_no_cluster_answers_keeps_its_prototype() -> None:
    t = unit(np.array([[1.0, 0], [0, 1.0]]))
    groups = Groups(unit(np.array([[1.0, 0.0]])), np.ones(1))
    with np.errstate(under="ignore"):
        moved = align(t, groups, temperature=1e-3)
    np.testing.assert_array_equal(moved[1], t[1])


@pytest.mark.parametrize("iterations", [1, 5])
def test_there_is_a_pass_per_iteration_and_a_start(blobs: Blobs, iterations: int) -> None:
    x, t, _ = blobs()
    steps = list(refine_soft(Local(x), t, x, [Groups(x, np.ones(len(x)))], iterations=iterations, temperature=0.01))
    assert [step.text_weight for step in steps] == [1.0] + [None] * iterations
