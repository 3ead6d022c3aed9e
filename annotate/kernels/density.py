"""Clusters: HDBSCAN for groups of images that look alike, then groups of those groups.

HDBSCAN (Campello et al. 2013; McInnes et al. 2017) is quadratic in high dimensions, so it looks for density
on the first principal components; centroids are means in the full space.

N images, C micro-clusters, M meta-clusters, D dimensions.
"""

from __future__ import annotations

import numpy as np

from annotate.kernels.vectors import Floats, Ints, group_means

MIN_CLUSTER_SIZE, MIN_SAMPLES = 5, 3  # images; below this a cluster is a coincidence


def cluster_sizes(n: int, k: int | None) -> tuple[int, int]:
    """min_cluster_size and min_samples for n images of k classes.

    N // 20 caps the number of clusters at 20, so with k classes it is at most N / 3k.
    """
    size = n // 20 if not k else min(n // 20, n // (3 * k))
    return max(MIN_CLUSTER_SIZE, size), max(MIN_SAMPLES, n // 50)


def principal_components(embeddings: Floats, dimensions: int) -> Floats:
    """The embeddings on their first principal components, (N, at most `dimensions`)."""
    from sklearn.decomposition import PCA

    n, d = embeddings.shape
    keep = min(dimensions, n, d)
    if keep >= d:
        return embeddings
    return np.asarray(
        PCA(keep, svd_solver="covariance_eigh" if d <= 4096 else "full").fit_transform(embeddings), np.float32
    )


def micro_clusters(
    embeddings: Floats, *, min_cluster_size: int, min_samples: int, pca_dimensions: int
) -> tuple[Ints, Floats]:
    """Assignments (N,), -1 for noise, and strengths (N,) in [0, 1] of each image's membership.

    Clusters are numbered by their first image. Fewer images than a cluster needs are all one cluster.
    """
    n = len(embeddings)
    if n <= max(min_cluster_size, min_samples):
        return np.zeros(n, np.int64), np.ones(n, np.float32)
    from hdbscan import HDBSCAN

    points = principal_components(embeddings, pca_dimensions)
    model = HDBSCAN(
        min_cluster_size=min_cluster_size, min_samples=min_samples, approx_min_span_tree=False, core_dist_n_jobs=1
    ).fit(points.astype(np.float64))
    return renumber(model.labels_), np.nan_to_num(model.probabilities_).astype(np.float32)


def renumber(assignments: np.ndarray) -> Ints:
    """The same groups, numbered 0, 1, 2 … by their first member; -1 stays."""
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


def centroids_of(embeddings: Floats, assignments: Ints) -> Floats:
    """Unit mean of each cluster's images in the full space, (C, D)."""
    return group_means(embeddings, assignments, int(assignments.max(initial=-1)) + 1)
