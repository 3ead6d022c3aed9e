"""The map of a report: embeddings on a plane, where images that look alike lie together.

t-SNE (van der Maaten and Hinton 2008; Barnes-Hut 2014) of the first principal components, started from the
first two of them so that the large layout means something (Kobak and Berens 2019). With few images those two
are all there is to show.

N images, D dimensions.
"""

from __future__ import annotations

import numpy as np

from annotate.kernels.density import principal_components
from annotate.kernels.vectors import Floats, Ints

PCA_DIMENSIONS = 50
FEWEST_FOR_TSNE = 31  # images; below this neighbourhoods are too small for t-SNE to mean anything
PERPLEXITY = 20.0  # about how many neighbours count
# 250 passes of early exaggeration and as many to settle. On 2,000 embeddings of 25 breeds the nearest
# neighbours on the map were as pure after 500 passes as after 1,000, and as pure at angle 0.8 as at 0.5.
PASSES, ANGLE = 500, 0.8
START = 1e-4  # standard deviation of the start


def sample(n: int, most: int) -> Ints:
    """At most `most` of n rows, in order; the same ones every time."""
    if n <= most:
        return np.arange(n, dtype=np.int64)
    return np.sort(np.random.default_rng(0).choice(n, most, replace=False)).astype(np.int64)


def project(embeddings: Floats) -> Floats:
    """Places on the plane, (N, 2), the same on every run.

    embeddings  (N, D) float32
    """
    if len(embeddings) < FEWEST_FOR_TSNE:
        return principal_plane(embeddings)
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # threads add in any order, and t-SNE makes much of the last bits
        points = principal_components(embeddings, PCA_DIMENSIONS)
        plane = principal_plane(points)
        spread = float(plane[:, 0].std())
        if not spread > 0:
            return plane
        model = TSNE(
            init=plane / spread * START,
            perplexity=min(PERPLEXITY, (len(points) - 1) / 3),
            max_iter=PASSES,
            angle=ANGLE,
            random_state=0,
            n_jobs=1,
        )
        return np.asarray(model.fit_transform(points), np.float32)


def principal_plane(points: Floats) -> Floats:
    """The points on their first two principal components, (N, 2); zeros where they have none."""
    centred = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)  # (min(N, D), D), most variance first
    axes = axes[:2]
    largest = np.abs(axes).argmax(axis=1, keepdims=True)
    axes = axes * np.sign(np.take_along_axis(axes, largest, axis=1))  # an axis has no sign of its own
    plane = np.zeros((len(points), 2), np.float32)
    plane[:, : len(axes)] = centred @ axes.T
    return plane
