"""k-means by faiss (Johnson et al. 2019), the same on any number of threads. N points, D dimensions, C centroids."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from annotate.kernels.vectors import Floats


def k_means(
    points: Floats,
    count: int,
    *,
    iterations: int,
    most: int,
    rounds: int = 1,
    spherical: bool = False,
    passed: Callable[[], None] = lambda: None,
) -> Floats:
    """Centroids, (C, D).

    count       C
    iterations  in each round, which starts from the centroids of the one before
    most        points per centroid that are looked at
    spherical   centroids are kept at length one
    passed      called after each round

    On one thread, since several would add in another order every time.
    """
    import faiss
    from threadpoolctl import threadpool_limits

    limits = {"min_points_per_centroid": 1, "max_points_per_centroid": most}
    means = faiss.Kmeans(points.shape[1], count, niter=iterations, seed=1, spherical=spherical, **limits)
    with threadpool_limits(1):
        for _ in range(rounds):
            means.train(points, init_centroids=means.centroids)
            passed()
    return np.asarray(means.centroids, np.float32)
