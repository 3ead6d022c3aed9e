from __future__ import annotations

import numpy as np

from annotate.kernels.vectors import group_means, group_sums, unit


def test_rows_become_unit_and_zero_stays_zero() -> None:
    rows = np.array([[3, 4], [0, 0], [1e-30, 0]], np.float32)
    np.testing.assert_allclose(unit(rows), np.array([[0.6, 0.8], [0, 0], [1, 0]]), rtol=1e-6)


def test_group_sums_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    rows, groups = rng.normal(size=(200, 7)).astype(np.float32), rng.integers(-1, 5, 200)
    expected = np.array([rows[groups == g].astype(np.float64).sum(axis=0) for g in range(6)])
    np.testing.assert_allclose(group_sums(rows, groups, 6), expected, atol=1e-12)
    assert not group_means(rows, groups, 6)[5].any()
