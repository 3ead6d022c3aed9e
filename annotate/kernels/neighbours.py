"""Find the nearest neighbours of every image, and the graph that they make.

Up to 100,000 images every image is compared with every other. Beyond, with those of the cells of a k-means (faiss,
Johnson et al. 2019) that lie nearest to its own: an inverted file (Jégou et al. 2011), searched cell by cell so that
a matrix product does the work. How many of the true neighbours that finds is measured on a sample.

N images, D dimensions, k neighbours, C cells.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import BLOCK, Advance, across, cached, evenly_spaced, products, single, slices
from annotate.kernels.chances import largest
from annotate.kernels.kmeans import k_means
from annotate.kernels.vectors import Floats, Ints, Rows, unit

NeighbourRows = npt.NDArray[np.int32]

COMPARE_ALL_UP_TO = 100_000  # images; the time to compare all with all grows with the square
HELD_AT_ONCE = 1 << 24  # similarities that a thread holds at a time, 64 MB
CELLS_PER_ROOT = 2.0  # cells per square root of N
PROBED = 16  # cells in which an image's neighbours are looked for, of about 2 √N
SAMPLED, ITERATIONS = 16, 5  # images per cell that k-means looks at, and how often
RECALL_SAMPLE = 256  # images on which recall is measured


def neighbour_graph(nearest: NeighbourRows, cosines: Floats) -> Any:
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
    embeddings: Rows, k: int, advance: Advance = lambda count: None, *, exact: bool | None = None
) -> tuple[NeighbourRows, Floats]:
    """Indices (N, k) and cosines (N, k) of each row's most similar other rows, the most similar first.

    embeddings  (N, D) float16 or float32 unit rows, in memory or mapped
    advance     is called with how many more rows are done
    exact       compare all with all; None does so up to 100,000 rows
    k is at most N - 1. Of equally similar rows the first are taken. Where cells hold fewer than k others, a row stands
    for itself with cosine 0.
    """
    n = len(embeddings)
    k = min(k, n - 1)
    nearest, cosines = np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    whole = n <= COMPARE_ALL_UP_TO if exact is None else exact
    found = across(lambda rows: among_all(embeddings, rows, k), slices(n, max(1, HELD_AT_ONCE // n)))
    for rows, best, values in found if whole else in_cells(embeddings, k):
        nearest[rows], cosines[rows] = best, values
        advance(len(best))
    return nearest, cosines


def among_all(embeddings: Rows, rows: slice, k: int) -> tuple[slice, Ints, Floats]:
    """The nearest of some rows among all."""
    n = len(embeddings)
    mine = single(embeddings[rows])
    similarity = np.empty((len(mine), n), np.float32)
    for block in slices(n, BLOCK):
        similarity[:, block] = products(mine, single(embeddings[block]))
    itself = np.arange(rows.start, rows.stop)
    similarity[itself - rows.start, itself] = -np.inf
    best = largest(similarity, k) if k else np.empty((len(mine), 0), np.int64)
    return rows, best, np.take_along_axis(similarity, best, axis=1)


def in_cells(embeddings: Rows, k: int) -> Any:
    """The nearest of all rows among those of the cells nearest to their own, cell by cell."""
    centroids = cell_centroids(embeddings, int(CELLS_PER_ROOT * len(embeddings) ** 0.5))

    def nearest_cells(block: slice) -> Ints:
        parts = cached(block, len(centroids))
        return np.concatenate([products(single(embeddings[part]), centroids).argmax(axis=1) for part in parts])

    cell = np.concatenate([*across(nearest_cells, slices(len(embeddings), BLOCK))])
    order = np.argsort(cell, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(cell, minlength=len(centroids)))[:-1])
    near = largest(products(centroids, centroids), min(PROBED, len(centroids)))

    def nearest_in_cell(c: int) -> list[tuple[Ints, Ints, Floats]]:
        others = np.concatenate([members[other] for other in near[c].tolist()])
        theirs = single(embeddings[others])
        found = []
        for part in slices(len(members[c]), max(1, HELD_AT_ONCE // len(others))):
            rows = members[c][part]
            similarity = products(single(embeddings[rows]), theirs)
            similarity[rows[:, None] == others] = -np.inf
            best = largest(similarity, min(k, len(others)))
            values = np.take_along_axis(similarity, best, axis=1)
            there = np.isfinite(values)
            padding = ((0, 0), (0, k - best.shape[1]))
            index = np.pad(np.where(there, others[best], rows[:, None]), padding, constant_values=-1)
            found.append((rows, np.where(index < 0, rows[:, None], index), np.pad(np.where(there, values, 0), padding)))
        return found

    filled = [c for c, rows in enumerate(members) if len(rows)]
    return (part for parts in across(nearest_in_cell, filled) for part in parts)


def cell_centroids(embeddings: Rows, count: int) -> Floats:
    """C unit centroids of a sample's k-means."""
    sample = single(embeddings[evenly_spaced(len(embeddings), SAMPLED * count)])
    return unit(k_means(sample, count, iterations=ITERATIONS, most=SAMPLED, spherical=True))


def recall(embeddings: Rows, nearest: NeighbourRows) -> float:
    """Share of the true nearest neighbours that were found, on a sample of the images."""
    n, k = nearest.shape
    sample = evenly_spaced(n, RECALL_SAMPLE)
    mine = single(embeddings[sample])

    def nearest_in_block(block: slice) -> tuple[Ints, Floats]:
        similarity = products(mine, single(embeddings[block]))
        inside = np.flatnonzero((sample >= block.start) & (sample < block.stop))
        similarity[inside, sample[inside] - block.start] = -np.inf
        best = largest(similarity, min(k, similarity.shape[1]))
        return best + block.start, np.take_along_axis(similarity, best, axis=1)

    columns, values = (
        np.concatenate(parts, axis=1) for parts in zip(*across(nearest_in_block, slices(n, BLOCK)), strict=True)
    )
    true = np.take_along_axis(columns, largest(values, k), axis=1)
    hits = (true[:, :, None] == nearest[sample][:, None, :]).any(axis=2)
    return float(hits.mean())
