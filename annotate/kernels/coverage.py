"""Choosing images that lie well apart, in the midst of many, or so that most others are near one of them.

Images are (n, D) float32 unit rows from their mean; `known` are the rows that are answered.
"""

from __future__ import annotations

import numpy as np

from annotate.kernels.blocks import evenly_spaced, products, slices
from annotate.kernels.kmeans import k_means
from annotate.kernels.neighbours import nearest_neighbours
from annotate.kernels.vectors import Floats, Ints

MOST_CLUSTERS, SMALLEST_CLUSTER, NEIGHBOURS = 500, 5, 20  # of TypiClust
PURE = 0.95  # of balls: share whose other images all bear the label of the middle
RADII = np.arange(0.2, 1.41, 0.1)
PASSES, POINTS = 20, 256  # of k-means
MOST_COVERED = 20_000  # images whose balls are looked at; others stand behind these


def k_center(images: Floats, known: Ints, count: int) -> Ints:
    """The image farthest from all that are answered or chosen, again and again (Sener and Savarese 2018).

    Without an answer the first is the one in the middle of all.
    """
    nearest = np.full(len(images), -1.0, np.float32)  # cosine to the nearest of them
    chosen: list[int] = []
    if not len(known):
        chosen.append(int((images @ images.mean(axis=0)).argmax()))
    for rows in slices(len(known), 1024):
        np.maximum(nearest, products(images, images[known[rows]]).max(axis=1), out=nearest)
    nearest[known] = np.inf
    while len(chosen) < min(count, len(images) - len(known)):
        if chosen:
            np.maximum(nearest, images @ images[chosen[-1]], out=nearest)
            nearest[chosen[-1]] = np.inf
        chosen.append(int(nearest.argmin()))
    return np.array(chosen, np.int64)


def clusters(images: Floats, known: Ints, count: int) -> Ints:
    """The image nearest to the middle of each cluster that holds no answer; large clusters first."""
    return from_clusters(images, known, count, most=len(images), fewest=0, central=True)


def typical(images: Floats, known: Ints, count: int) -> Ints:
    """TypiClust (Hacohen et al. 2022): of large clusters with few answers the image in the densest place."""
    return from_clusters(images, known, count, most=MOST_CLUSTERS, fewest=SMALLEST_CLUSTER, central=False)


def from_clusters(images: Floats, known: Ints, count: int, *, most: int, fewest: int, central: bool) -> Ints:
    """An image of each cluster in turn: those with the fewest answers first, of these the largest.

    most     clusters
    fewest   images of a cluster that counts
    central  whether the image nearest to the centroid is taken, else the one with the nearest neighbours
    """
    parts = max(1, min(len(known) + count, most, len(images)))
    centroids = k_means(images, parts, iterations=PASSES, most=POINTS, spherical=True)
    cosines = [products(images[rows], centroids) for rows in slices(len(images), 8192)]
    cluster = np.concatenate([block.argmax(axis=1) for block in cosines])
    near = np.concatenate([block.max(axis=1) for block in cosines])
    if not central:
        near = nearest_neighbours(images, min(NEIGHBOURS, len(images) - 1))[1].mean(axis=1)
    sizes, answers = np.bincount(cluster, minlength=parts), np.bincount(cluster[known], minlength=parts)
    near = near.copy()
    near[known] = -np.inf
    free = sizes - answers
    order = np.argsort(-near, kind="stable")
    members = {c: order[cluster[order] == c].tolist() for c in range(parts)} if parts <= MOST_CLUSTERS else {}
    if not members:
        for row in order.tolist():
            members.setdefault(int(cluster[row]), []).append(row)
    chosen: list[int] = []
    taken = np.zeros(parts, np.int64)
    while len(chosen) < min(count, len(images) - len(known)):
        counted = (free > taken) & (sizes > fewest)
        if not counted.any():
            counted = free > taken
        c = int(np.lexsort((-sizes, answers + taken, ~counted))[0])
        chosen.append(members[c][taken[c]])
        taken[c] += 1
    return np.array(chosen, np.int64)


def cover(images: Floats, labels: Ints, known: Ints, count: int, radius: float | None = None) -> Ints:
    """ProbCover (Yehuda et al. 2022): balls about the chosen hold as many images as they can.

    radius  of a ball; without it the widest at which nearly all balls hold one label alone
    """
    some = evenly_spaced(len(images), MOST_COVERED)
    x = images[some]
    wide = pure_radius(x, labels[some]) if radius is None else radius
    within = 1 - wide**2 / 2  # cosine
    pairs = [np.argwhere(products(x[rows], x) >= within) + np.array([rows.start, 0]) for rows in slices(len(x), 1024)]
    pair = np.concatenate(pairs)
    from scipy.sparse import csr_matrix

    balls = csr_matrix((np.ones(len(pair), np.int32), (pair[:, 0], pair[:, 1])), shape=(len(x), len(x)))
    worth = np.asarray(balls.sum(axis=1)).ravel().astype(np.int64)
    covered = np.zeros(len(x), np.bool_)
    is_known = np.isin(some, known)

    def take(row: int) -> None:
        inside = balls[row].indices
        fresh = inside[~covered[inside]]
        covered[fresh] = True
        for other in fresh.tolist():
            worth[balls[other].indices] -= 1

    for row in np.flatnonzero(is_known).tolist():
        take(row)
    chosen: list[int] = []
    left = worth.copy()
    free = ~is_known
    while len(chosen) < min(count, int((~is_known).sum())):
        left = np.where(free, worth, -1)
        row = int(left.argmax())
        chosen.append(row)
        free[row] = False
        take(row)
    return some[np.array(chosen, np.int64)]


def pure_radius(images: Floats, labels: Ints) -> float:
    """The widest of RADII at which PURE of the balls hold one label alone; the narrowest where none does."""
    some = evenly_spaced(len(images), 1024)
    cosines = products(images[some], images)
    other = labels[some][:, None] != labels
    nearest = np.where(other, cosines, -1).max(axis=1)  # the nearest image of another label
    pure = [radius for radius in RADII if (nearest < 1 - radius**2 / 2).mean() >= PURE]
    return float(max(pure, default=RADII[0]))
