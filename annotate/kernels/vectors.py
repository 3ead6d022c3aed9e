"""Unit vectors: normalising rows, and means of groups of rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]


def unit(rows: npt.NDArray[np.floating]) -> Floats:
    """Rows scaled to length one, float32; a row of zeros stays zero."""
    wide = rows.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=-1, keepdims=True)
    return (wide / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def group_sums(rows: Floats, groups: Ints, count: int) -> npt.NDArray[np.float64]:
    """Sum of the rows of each group, (count, D) float64; rows of group -1 belong to none."""
    from scipy.sparse import csr_array

    inside = np.flatnonzero(groups >= 0)
    shape = (count, len(rows))
    member = csr_array((np.ones(len(inside)), (groups[inside], inside)), shape=shape)
    # A sparse product adds in row order at double precision, whatever the number of threads.
    return np.asarray(member @ rows.astype(np.float64))


def group_means(rows: Floats, groups: Ints, count: int) -> Floats:
    """Unit mean of each group's rows, (count, D); zero where a group is empty."""
    return unit(group_sums(rows, groups, count))
