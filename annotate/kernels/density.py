"""Clusters: HDBSCAN for groups of images that look alike, then groups of those groups.

HDBSCAN (Campello et al. 2013; McInnes et al. 2017) is quadratic in high dimensions, so it looks for density
on the first principal components, and beyond 20,000 images at micro-centroids in their place; centroids are means in
the full space. Everything is computed in an order that the images' own bytes decide, so that the order in which they
are listed changes nothing, not even a last bit.

N images, C micro-clusters, M meta-clusters, D dimensions.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import Advance, across, one_thread_per_product, single, slices
from annotate.kernels.microcentroids import micro_centroid_clusters
from annotate.kernels.vectors import ROWS_AT_ONCE, Floats, Ints, Rows, group_means

MIN_CLUSTER_SIZE, MIN_SAMPLES = 5, 3  # images; below this a cluster is a coincidence
MANY_SAMPLES = 50  # images; where there are many, more neighbours hide small clusters (docs/clusters.md)
EXACT_UP_TO = 20_000  # images; exact HDBSCAN takes half a minute for as many, four times that for twice as many
PASSES = 5  # how often micro_clusters goes through the images


def cluster_sizes(n: int, k: int | None) -> tuple[int, int]:
    """min_cluster_size and min_samples for n images of k classes.

    N // 20 caps the number of clusters at 20, so with k classes it is at most N / 3k.
    """
    size = max(MIN_CLUSTER_SIZE, n // 20 if not k else min(n // 20, n // (3 * k)))
    return size, max(MIN_SAMPLES, n // 50) if n <= EXACT_UP_TO else min(MANY_SAMPLES, size)


def micro_clusters(
    embeddings: Rows,
    *,
    min_cluster_size: int,
    min_samples: int,
    pca_dimensions: int,
    exact_up_to: int = EXACT_UP_TO,
    advance: Advance = lambda count: None,
) -> tuple[Ints, Floats]:
    """Assignments (N,), -1 for noise, and strengths (N,) in [0, 1] of each image's membership.

    embeddings   (N, D) float16 or float32 unit rows, in memory or mapped
    exact_up_to  images that exact HDBSCAN clusters; more go by way of micro-centroids
    advance      is called with how many more images have been gone through, PASSES times N in all

    Clusters are numbered by their first image. Fewer images than a cluster needs are all one cluster.
    """
    n = len(embeddings)
    if n <= max(min_cluster_size, min_samples):
        return np.zeros(n, np.int64), np.ones(n, np.float32)
    order, first = by_content(embeddings, advance)
    points = principal_components(embeddings, pca_dimensions, order, advance)
    method = exact_clusters if n <= exact_up_to else micro_centroid_clusters
    found, strong = method(points, min_cluster_size=min_cluster_size, min_samples=min_samples, advance=advance)
    assignments, strengths = np.empty(n, np.int64), np.empty(n, np.float32)
    assignments[order], strengths[order] = found[first], strong[first]
    return renumber(assignments), strengths


def exact_clusters(points: Floats, *, min_cluster_size: int, min_samples: int, advance: Advance) -> tuple[Ints, Floats]:
    """HDBSCAN of every point, as its reference implementation has it."""
    from hdbscan import HDBSCAN

    model = HDBSCAN(
        min_cluster_size=min_cluster_size, min_samples=min_samples, approx_min_span_tree=False, core_dist_n_jobs=1
    ).fit(points.astype(np.float64))
    advance(2 * len(points))
    return np.asarray(model.labels_, np.int64), np.nan_to_num(model.probabilities_).astype(np.float32)


def by_content(embeddings: Rows, advance: Advance = lambda count: None) -> tuple[Ints, Ints]:
    """An order of the rows that their bytes alone decide, and for each place in it the first of equal bytes, (N,) each.

    The order is that of two random sums of a row's numbers, 128 bits: rows that differ have the same by less than one
    chance in 10^20, also among a million.
    """
    n, d = embeddings.shape
    factors = 2 * np.random.default_rng(0).integers(2**63, size=(d, 2), dtype=np.uint64) + np.uint64(1)

    def sums(rows: slice) -> npt.NDArray[np.uint64]:
        block = np.ascontiguousarray(embeddings[rows])
        return block.view(f"u{block.itemsize}").astype(np.uint64) @ factors

    keys = np.empty((n, 2), np.uint64)
    blocks = slices(n, ROWS_AT_ONCE)
    for rows, block in zip(blocks, across(sums, blocks), strict=True):
        keys[rows] = block
        advance(len(block))
    order = np.lexsort(keys.T)
    new = np.r_[True, (keys[order[1:]] != keys[order[:-1]]).any(axis=1)]
    return order, np.maximum.accumulate(np.where(new, np.arange(n), 0))


def principal_components(
    embeddings: Rows, dimensions: int, order: Ints | None = None, advance: Advance = lambda count: None
) -> Floats:
    """The embeddings on their first principal components, (N, at most `dimensions`), in the order given.

    The covariance is summed in double precision, a block of rows at a time, and so are the rows projected: neither is
    ever held whole.
    """
    from scipy.linalg import eigh

    n, d = embeddings.shape
    order = np.arange(n) if order is None else order
    keep = min(dimensions, n, d)
    if keep >= d:
        advance(2 * n)
        return single(embeddings[order])
    blocks = slices(n, ROWS_AT_ONCE)

    def wide(rows: slice) -> npt.NDArray[np.float64]:
        return single(embeddings[order[rows]]).astype(np.float64)

    def moments(rows: slice) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        block = wide(rows)
        return block.sum(axis=0), block.T @ block

    total, products = np.zeros(d), np.zeros((d, d))
    points = np.empty((n, keep), np.float32)
    with one_thread_per_product():
        for rows, (block_total, block_products) in zip(blocks, across(moments, blocks), strict=True):
            total += block_total
            products += block_products
            advance(rows.stop - rows.start)
        mean = total / n
        _, axes = eigh(products / n - np.outer(mean, mean), subset_by_index=(d - keep, d - 1))
        for rows, block in zip(blocks, across(lambda rows: (wide(rows) - mean) @ axes, blocks), strict=True):
            points[rows] = block
            advance(len(block))
    return points


def renumber(assignments: np.ndarray) -> Ints:
    """Number the groups 0, 1, 2 … by their first member; -1 stays."""
    found, first, inverse = np.unique(assignments, return_index=True, return_inverse=True)
    order = np.empty(len(found), np.int64)
    real = np.flatnonzero(found >= 0)
    order[real[np.argsort(first[real])]] = np.arange(len(real))
    order[found < 0] = -1
    return order[inverse]


def meta_clusters(centroids: Floats, count: int) -> Ints:
    """Groups of micro-centroids, (C,): agglomerative, average linkage on cosine distance."""
    c = len(centroids)
    if c <= count or c < 2:
        return np.arange(c, dtype=np.int64)
    from sklearn.cluster import AgglomerativeClustering

    model = AgglomerativeClustering(n_clusters=count, metric="cosine", linkage="average").fit(centroids)
    return renumber(model.labels_)


def cluster_centroids(embeddings: Rows, assignments: Ints) -> Floats:
    """Unit mean of each cluster's images in the full space, (C, D)."""
    return group_means(embeddings, assignments, int(assignments.max(initial=-1)) + 1)
