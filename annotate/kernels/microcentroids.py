"""Clusters of very many images: k-means makes micro-centroids, HDBSCAN clusters those with their sizes.

k-means (faiss, Johnson et al. 2019) cuts the images into many more groups than there are clusters. What HDBSCAN needs
to know of two images is how far apart they are; of two groups it is how far apart their images are,

    |x - y|² = |c_i - c_j|² + s_i² + s_j²      in the mean over images x of group i and y of group j,

c the means of the groups and s² the mean squared distance of a group's images to it. So a group is not a point: its own
images are √2 s from one another, and no group is denser than that.

N images, M micro-centroids, P dimensions of the points.
"""

from __future__ import annotations

import math

import numpy as np

from annotate.kernels.blocks import (
    BLOCK,
    Advance,
    across,
    cached,
    evenly_spaced,
    one_thread_per_product,
    products,
    slices,
)
from annotate.kernels.condensed import condense, densest, most_stable
from annotate.kernels.kmeans import k_means
from annotate.kernels.vectors import Doubles, Floats, Ints, group_sums

CENTROIDS_PER_ROOT = 2.0  # micro-centroids per square root of N, more where clusters may be small
MOST_CENTROIDS = 4096  # micro-centroids; all their distances are held at once, 67 MB
SAMPLED, ITERATIONS = 128, 10  # images per micro-centroid that k-means looks at, and how often


def how_many(n: int, min_cluster_size: int) -> int:
    """2 √N micro-centroids, or as many as let one hold no more than a cluster needs."""
    return min(n, MOST_CENTROIDS, math.ceil(max(CENTROIDS_PER_ROOT * math.sqrt(n), n / min_cluster_size)))


def micro_centroid_clusters(
    points: Floats,
    *,
    min_cluster_size: int,
    min_samples: int,
    advance: Advance = lambda count: None,
) -> tuple[Ints, Floats]:
    """Assignments (N,), -1 for noise, and strengths (N,) in [0, 1]: images follow their micro-centroid.

    points   (N, P) float32
    advance  is called with how many more images have been assigned

    An image is a member at level 1 / max(distance at which its group joins, √(r² + s²)), r its distance to the group's
    mean; its strength is that level as a share of the cluster's densest.
    """
    nearest = nearest_centroids(points, how_many(len(points), min_cluster_size), advance)
    sizes = np.bincount(nearest).astype(np.float64)
    centroids = group_sums(points, nearest, len(sizes)) / sizes[:, None]
    squares = squared_distances_to_own(points, centroids, nearest)
    scatter = np.bincount(nearest, squares) / sizes  # s², (M,)
    if len(sizes) == 1:
        return np.zeros(len(points), np.int64), np.ones(len(points), np.float32)
    cores = core_distances(centroids, scatter, sizes, min_samples)
    tree = condense(linkage_tree(centroids, scatter, cores), sizes, cores, min_cluster_size)
    cluster = most_stable(tree, sizes)
    levels = 1 / np.maximum(1 / tree.leaves[nearest], np.sqrt(squares + scatter[nearest]))
    top = np.where(cluster >= 0, densest(tree)[cluster], np.inf)[nearest]
    return cluster[nearest], np.minimum(levels / top, 1).astype(np.float32)


def nearest_centroids(points: Floats, count: int, advance: Advance) -> Ints:
    """The micro-centroid of each point, (N,), numbered without gaps."""
    n = len(points)
    sample = points[evenly_spaced(n, SAMPLED * count)]
    centroids = k_means(
        sample,
        count,
        iterations=1,
        rounds=ITERATIONS,
        most=max(SAMPLED, -(-len(sample) // count)),
        passed=lambda: advance(n // ITERATIONS),
    )
    lengths = (centroids.astype(np.float64) ** 2).sum(axis=1).astype(np.float32)

    def nearest(rows: slice) -> Ints:
        return np.concatenate(
            [(lengths - 2 * products(points[part], centroids)).argmin(axis=1) for part in cached(rows, count)]
        )

    found = []
    with one_thread_per_product():
        for block in across(nearest, slices(n, BLOCK)):
            found.append(block)
            advance(len(block))
    return np.unique(np.concatenate(found), return_inverse=True)[1]


def squared_distances_to_own(points: Floats, centroids: Doubles, nearest: Ints) -> Doubles:
    """|x - c|² of each point and its group's mean, (N,)."""
    return np.concatenate(
        [((points[rows] - centroids[nearest[rows]]) ** 2).sum(axis=1) for rows in slices(len(points), BLOCK)]
    )


def core_distances(centroids: Doubles, scatter: Doubles, sizes: Doubles, min_samples: int) -> Doubles:
    """Distance from the images of each group to their min_samples-th nearest other image, (M,)."""
    from scipy.spatial.distance import cdist

    cores = []
    for rows in slices(len(centroids), 512):
        distances = np.sqrt(cdist(centroids[rows], centroids, "sqeuclidean") + scatter[rows, None] + scatter)
        order = np.argsort(distances, axis=1, kind="stable")
        enough = np.cumsum(sizes[order], axis=1) > min_samples  # itself is not counted
        last = np.where(enough.any(axis=1), enough.argmax(axis=1), len(centroids) - 1)
        cores.append(distances[np.arange(len(order)), order[np.arange(len(order)), last]])
    return np.concatenate(cores)


def linkage_tree(centroids: Doubles, scatter: Doubles, cores: Doubles) -> Doubles:
    """Single linkage of the groups at their mutual reachability: no nearer than either is dense, (M - 1, 4)."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import pdist

    m = len(centroids)
    distances = pdist(centroids, "sqeuclidean")
    start = 0
    for i in range(m - 1):
        row = distances[start : start + m - 1 - i]
        row += scatter[i] + scatter[i + 1 :]
        np.sqrt(row, out=row)
        np.maximum(row, np.maximum(cores[i], cores[i + 1 :]), out=row)
        start += len(row)
    return np.asarray(linkage(distances, "single"))
