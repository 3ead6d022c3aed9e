"""Unit vectors: normalising rows, and means of groups of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.floating]  # float16 or float32 unit rows, in memory or mapped

ROUND_TO_GRID = 1.5 * 2.0 ** (52 - 26)  # added to a double and taken away again, it leaves multiples of 2^-26
ROWS_AT_ONCE = 4_096  # rows held in double precision at a time: 17 MB of 512 dimensions
STEPS_PER_UNIT = 2.0**26  # multiples of 2^-26 in one
ROWS_IN_CACHE = 512  # rows that stay in a core's cache: 1 MB of 512 dimensions


def unit(rows: npt.NDArray[np.floating]) -> Floats:
    """Rows scaled to length one, float32; a row of zeros stays zero."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    return (wide / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def group_sums(rows: Rows, groups: Ints, count: int) -> npt.NDArray[np.float64]:
    """Sum of the rows of each group, (count, D) float64; rows of group -1 belong to none."""
    sums = np.zeros((count, rows.shape[1]))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        found, parts = exact_sums(rows[start : start + ROWS_AT_ONCE], groups[start : start + ROWS_AT_ONCE])
        sums[found[found >= 0]] += parts[found >= 0]
    return sums


def exact_sums(rows: Rows, groups: npt.NDArray[np.integer]) -> tuple[Ints, npt.NDArray[np.float64]]:
    """The groups that occur, (g,), and the sum of the rows of each, (g, D), without any rounding.

    Components are taken as multiples of 2^-26, finer than single precision where it matters, so that sums below 2^27
    are exact in double precision: no order of adding and no way of sharing out the work changes a bit, and what was
    added can be taken away again.
    """
    found, sums, _ = sums_and_lengths(rows, groups)
    return found, sums


def sums_and_lengths(
    rows: Rows, groups: npt.NDArray[np.integer], directions: Floats | None = None
) -> tuple[Ints, npt.NDArray[np.float64], Floats]:
    """`exact_sums`, and how far each row lies along its group's direction, (n,), in one sweep over the rows.

    directions  (groups, D), one for every group from 0 on; lengths are zero without them
    """
    order = np.argsort(sortable(groups), kind="stable")
    ordered = groups[order]
    starts = np.flatnonzero(np.r_[len(order) > 0, ordered[1:] != ordered[:-1]])
    found, ends = ordered[starts].astype(np.int64), [*starts[1:].tolist(), len(order)]
    sums = np.zeros((len(found), rows.shape[1]))
    lengths = np.zeros(len(rows), np.float32)
    kind = np.result_type(rows, np.float32)
    held = np.empty((min(ROWS_IN_CACHE, len(order)), rows.shape[1]), kind)
    along = np.empty(len(held), np.float32)
    g = 0
    for first in range(0, len(order), ROWS_IN_CACHE):
        here = order[first : first + ROWS_IN_CACHE]
        steps = held[: len(here)]
        if rows.dtype == kind:
            np.take(rows, here, axis=0, out=steps, mode="clip")
        else:
            steps[:] = rows[here]
        pieces = []
        start, last = first, first + len(here)
        while start < last:
            end = min(ends[g], last)
            pieces.append((g, start - first, end - first))
            g += end == ends[g]
            start = end
        if directions is not None:
            for group, start, end in pieces:
                np.matmul(steps[start:end], directions[found[group]], out=along[start:end])
            lengths[here] = along[: len(here)]
        steps *= STEPS_PER_UNIT
        np.rint(steps, out=steps)
        for group, start, end in pieces:
            sums[group] += np.add.reduce(steps[start:end], axis=0, dtype=np.float64)
    sums /= STEPS_PER_UNIT
    return found, sums, lengths


def sortable(groups: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
    """The same numbers in 16 bits, where these suffice: they are sorted many times as fast as 64."""
    few = len(groups) and np.iinfo(np.int16).min <= groups.min() and groups.max() <= np.iinfo(np.int16).max
    return groups.astype(np.int16) if few else groups


def on_grid(numbers: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """The nearest multiples of 2^-26, in double precision."""
    wide = numbers.astype(np.float64)
    wide += ROUND_TO_GRID
    wide -= ROUND_TO_GRID
    return wide


def group_means(rows: Rows, groups: Ints, count: int) -> Floats:
    """Unit mean of each group's rows, (count, D); zero where a group is empty."""
    return unit(group_sums(rows, groups, count))
