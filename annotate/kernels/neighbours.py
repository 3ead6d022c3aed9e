"""The nearest neighbours of every image, and the graph that they make.

N images, D dimensions, k neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats

Neighbours = npt.NDArray[np.int32]

BLOCK = 1 << 26  # similarities held at a time, 256 MB, and their order, 512 MB


def neighbour_graph(nearest: Neighbours, cosines: Floats) -> Any:
    """The graph of nearest neighbours: an edge where either is among the nearest of the other.

    nearest  (N, k) of `nearest_neighbours`, and their cosines (N, k)
    returns  (N, N) scipy.sparse.csr_array, symmetric similarities of neighbours, rows divided by their sums
    """
    from scipy.sparse import csr_array

    n = len(nearest)
    edges = np.maximum(cosines, 0).ravel(), (np.repeat(np.arange(n), nearest.shape[1]), nearest.ravel())
    one_way = csr_array(edges, shape=(n, n))
    both = csr_array(one_way.maximum(one_way.T))
    both.sort_indices()
    sums = np.asarray(both.sum(axis=1)).ravel()
    both.data /= np.repeat(np.where(sums > 0, sums, 1), np.diff(both.indptr))
    return both


def nearest_neighbours(
    embeddings: Floats, k: int, advance: Callable[[int], None] = lambda count: None
) -> tuple[Neighbours, Floats]:
    """Indices (N, k) and cosines (N, k) of each row's most similar other rows, the most similar first. Exact.

    embeddings  (N, D) unit rows
    advance     told how many more rows are done
    k is at most N - 1; the work grows with N². Of equally similar rows any may be taken.
    """
    n = len(embeddings)
    k = min(k, n - 1)
    nearest, cosines = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    height = max(1, min(1024, BLOCK // n))
    for start in range(0, n, height):
        rows = slice(start, min(start + height, n))
        similarity = embeddings[rows] @ embeddings.T
        itself = np.arange(rows.stop - rows.start)
        distance = np.negative(similarity, out=similarity)
        distance[itself, itself + start] = np.inf
        # argpartition finds the k best in linear time; sorting those puts equals in the order of the rows.
        best = np.sort(np.argpartition(distance, max(k - 1, 0), axis=1)[:, :k], axis=1)
        values = -np.take_along_axis(distance, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        nearest[rows] = np.take_along_axis(best, order, axis=1)
        cosines[rows] = np.take_along_axis(values, order, axis=1)
        advance(len(itself))
    return nearest, cosines
