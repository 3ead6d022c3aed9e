"""The images as transduction sees them: measured from their mean, with no direction that drowns out the others.

They are worked on block by block, so that they need not be in memory together.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.kernels.blocks import BLOCK, across, cached, products, single, slices, tiled
from annotate.kernels.chances import Chances, chances_with
from annotate.kernels.proof import proof
from annotate.kernels.vectors import ROWS_AT_ONCE, Doubles, Floats, Ints, Rows, on_grid
from annotate.kernels.zeroshot import probabilities

NO_SHARE = 1e-12  # a share below counts as none: no sum sees it, and the products of such, denormal, are slow


@dataclass(frozen=True)
class Metric:
    """How transduction measures images: from their mean, with the directions in which they differ most toned down.

    centre   (D,) mean of the images
    map      (D, D) symmetric; x = (embedding - centre) @ map
    typical  tr(S²) / tr(S) for the covariance S of x: the variance along a direction, weighted by itself
    """

    centre: Doubles
    map: Doubles
    typical: float

    def seen(self, embeddings: Rows) -> Floats:
        """x, (n, D) float32."""
        return products(single(embeddings) - self.centre.astype(np.float32), self.map.astype(np.float32))


def image_metric(embeddings: Rows) -> Metric:
    """The metric of these images: Σ^(-1/4), Σ shrunk by OAS, scaled so that the mean squared length stays the same."""
    n, d = embeddings.shape
    total, moments = np.zeros(d), np.zeros((d, d))

    def sums(chunk: slice) -> tuple[Doubles, Doubles]:
        wide = embeddings[chunk].astype(np.float64)
        return wide.sum(axis=0), wide.T @ wide

    for first, second in across(sums, slices(n, ROWS_AT_ONCE)):
        total += first
        moments += second
    centre = total / n
    moments = moments / n - np.outer(centre, centre)
    trace, squares = float(np.trace(moments)), float((moments**2).sum())
    spread = squares - trace**2 / d
    shrinkage = min(1.0, ((1 - 2 / d) * squares + trace**2) / ((n + 1 - 2 / d) * spread)) if spread > 0 else 1.0
    shrunk = (1 - shrinkage) * moments + shrinkage * trace / d * np.eye(d)
    values, axes = np.linalg.eigh(shrunk)
    values = np.maximum(values, 1e-12 * max(float(values[-1]), 1e-12))
    straight = (axes * values**-0.25) @ axes.T
    seen = straight @ moments @ straight
    length = float(np.trace(seen))
    if length <= 0:  # all images are one
        return Metric(centre, np.eye(d), 1.0)
    return Metric(centre, straight * np.sqrt(trace / length), trace / length**2 * float((seen**2).sum()))


@dataclass(frozen=True)
class Totals:
    """How many images each class has, and their sum, by the shares z.

    counts  n_k = Σ_i z_ik, (K,)
    sums    Σ_i z_ik e_i, (K, D), of the embeddings as they are
    proven  how far all images together prove that each name is in use, (K,)
    """

    counts: Doubles
    sums: Doubles
    proven: Doubles

    def add(self, other: Totals) -> None:
        """Count another block of images in."""
        for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True):
            mine += theirs


class JointImages:
    """The images as transduction sees them: nothing of the size of all of them is made but their lengths.

    embeddings  (N, D) float16 or float32 unit rows, in memory or mapped
    graph       (N, N) sparse, of `neighbour_graph`
    """

    def __init__(self, embeddings: Rows, graph: Any, sample: Ints) -> None:
        self.embeddings, self.graph, self.sample = embeddings, graph, sample
        self.metric = image_metric(embeddings)
        self.blocks = slices(len(embeddings), BLOCK)
        self.lengths = np.concatenate([*across(self._lengths, slices(len(embeddings), ROWS_AT_ONCE))])  # (N,) |x_i|²

    def _lengths(self, rows: slice) -> Floats:
        x = self.metric.seen(self.embeddings[rows])
        squares: Floats = np.einsum("nd,nd->n", x, x)
        return squares

    def place(
        self, similarity: Callable[[slice], Floats], k: int, temperature: float, kept: int | None
    ) -> tuple[Chances, Totals, Floats]:
        """Share all images among the classes: softmax(similarity / temperature).

        Returns these, what each class has by them, and the similarities of the sample.
        """
        d = self.embeddings.shape[1]

        def place_block(block: slice) -> tuple[list[Chances], Totals, list[Floats]]:
            chances, sampled = [], []
            totals = Totals(np.zeros(k), np.zeros((k, d)), np.zeros(k))
            for rows in cached(block, k):
                here = similarity(rows)
                first, last = np.searchsorted(self.sample, (rows.start, rows.stop))
                sampled.append(here[self.sample[first:last] - rows.start])
                shares = probabilities(here, temperature)
                shares[shares < NO_SHARE] = 0
                chances.append(chances_with(here, shares, kept))
                sums = on_grid(tile_sums(shares, single(self.embeddings[rows]))).sum(axis=0)
                totals.add(Totals(on_grid(shares).sum(axis=0), sums, on_grid(proof(shares)).sum(axis=0)))
            return chances, totals, sampled

        parts: list[Chances] = []
        sampled: list[Floats] = []
        totals = Totals(np.zeros(k), np.zeros((k, d)), np.zeros(k))
        for block_chances, block_totals, block_sampled in across(place_block, self.blocks):
            parts += block_chances
            sampled += block_sampled
            totals.add(block_totals)
        return Chances.joined(len(self.embeddings), parts), totals, np.concatenate(sampled)

    def around(self, shares: Any, rows: slice) -> Floats:
        """The mean probabilities of each image's neighbours, (n, K); shares as of `as_matrix`."""
        mean = self.graph[rows] @ shares
        return np.asarray(mean if isinstance(mean, np.ndarray) else mean.toarray(), np.float32)

    def purity(self, chances: Chances, shares: Any, k: int) -> float:
        """How far images and their neighbours have the same classes: p, from 0 to 1."""

        def agreement(block: slice) -> tuple[float, float]:
            agreed, own = 0.0, 0.0
            for rows in cached(block, k):
                theirs, mine = self.around(shares, rows), chances.probabilities[rows]
                if chances.classes is not None:
                    theirs = np.take_along_axis(theirs, chances.classes[rows], axis=1)
                agreed += float(on_grid(np.einsum("nk,nk->n", mine, theirs)).sum())
                own += float(on_grid(np.einsum("nk,nk->n", mine, mine)).sum())
            return agreed, own

        agreed, own = np.sum([*across(agreement, self.blocks)], axis=0)
        return min(1.0, float(agreed / own))


def tile_sums(shares: Floats, rows: Floats) -> Floats:
    """Σ_i z_ik e_i of each tile of images, (tiles, K, D)."""
    sums: Floats = np.matmul(tiled(shares).transpose(0, 2, 1), tiled(rows))
    return sums


def as_matrix(chances: Chances, k: int) -> Any:
    """z (N, K): the array, or a sparse one where only the largest of each row were kept."""
    if chances.classes is None:
        return chances.probabilities
    from scipy.sparse import csr_array

    n, kept = chances.classes.shape
    rows = np.arange(0, n * kept + 1, kept)
    return csr_array((chances.probabilities.ravel(), chances.classes.ravel(), rows), shape=(n, k))
