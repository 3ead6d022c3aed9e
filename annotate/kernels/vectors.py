"""Unit vectors: normalising rows, and means of groups of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.floating]  # float16 or float32 unit rows, in memory or mapped

GRID = 1.5 * 2.0 ** (52 - 26)  # added and taken away again, leaves multiples of 2^-26
CHUNK = 4_096  # rows held in double precision at a time
STEPS = 2.0**26  # of the grid, in one
TOGETHER = 256  # rows that stay in a core's cache, 0.5 MB


def unit(rows: npt.NDArray[np.floating]) -> Floats:
    """Rows scaled to length one, float32; a row of zeros stays zero."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    return (wide / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def group_sums(rows: Rows, groups: Ints, count: int) -> npt.NDArray[np.float64]:
    """Sum of the rows of each group, (count, D) float64; rows of group -1 belong to none."""
    sums = np.zeros((count, rows.shape[1]))
    for start in range(0, len(rows), CHUNK):
        found, parts = exact_sums(rows[start : start + CHUNK], groups[start : start + CHUNK])
        sums[found[found >= 0]] += parts[found >= 0]
    return sums


def exact_sums(rows: Rows, groups: npt.NDArray[np.integer]) -> tuple[Ints, npt.NDArray[np.float64]]:
    """The groups that occur, (g,), and the sum of the rows of each, (g, D), without any rounding.

    Components are taken as multiples of 2^-26, finer than single precision where it matters, so that sums below 2^27
    are exact in double precision: no order of adding and no way of sharing out the work changes a bit, and what was
    added can be taken away again.
    """
    order = np.argsort(groups, kind="stable")
    found, counts = np.unique(groups[order], return_counts=True)
    ends = np.cumsum(counts).tolist()
    sums = np.zeros((len(found), rows.shape[1]))
    g = 0
    for first in range(0, len(order), TOGETHER):
        steps = rows[order[first : first + TOGETHER]].astype(np.result_type(rows, np.float32), copy=False)
        steps *= STEPS
        np.rint(steps, out=steps)
        start, last = first, first + len(steps)
        while start < last:
            end = min(ends[g], last)
            sums[g] += np.add.reduce(steps[start - first : end - first], axis=0, dtype=np.float64)
            g += end == ends[g]
            start = end
    sums /= STEPS
    return found.astype(np.int64), sums


def on_grid(numbers: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The nearest multiples of 2^-26, in double precision."""
    wide = numbers.astype(np.float64)
    wide += GRID
    wide -= GRID
    return wide


def group_means(rows: Rows, groups: Ints, count: int) -> Floats:
    """Unit mean of each group's rows, (count, D); zero where a group is empty."""
    return unit(group_sums(rows, groups, count))
