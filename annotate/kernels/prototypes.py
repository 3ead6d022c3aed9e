"""Dynamic text weighting: each class starts as its words, and moves toward the images that are nearest to it.

For t = 0 … I-1:    y_i = argmax_k x_i · P_k                      every image, every time
                    w_t = w₀ - (w₀ - w₁) · t / I
                    P_k = unit(w_t T_k + (1 - w_t) v_k)           v_k: unit mean of the images of class k
                    P_k = T_k                                     where class k has no image
and a last assignment. With w₀ = 0.95, w₁ = 0.60 and I = 10 the last weight is 0.635.

The labels are exactly those of this loop, for a fraction of its work: an image is looked at again only where its label
can have changed. With Δ_k the shift of prototype k since the pass before, u_l a direction near the images of class l
and a = x_i · u_l, for every rival b of label l

    x_i·Δ_b - x_i·Δ_l  ≤  a u_l·(Δ_b - Δ_l) + √(1 - a²) |(Δ_b - Δ_l) ⊥ u_l|

(Cauchy and Schwarz, on what is left of x_i beside u_l). The image is left alone as long as the largest of these, summed
over the passes, stays below its margin, best minus second similarity. This is the idea of Hamerly's k-means (2010),
whose bound, twice the largest shift, leaves hardly an image alone here: all prototypes shift together, toward the
images. Sums of classes change by the images that moved, exactly (`exact_sums`).

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from annotate.kernels.blocks import (
    across,
    cached,
    column_major,
    products,
    similarities,
    single,
    slices,
)
from annotate.kernels.chances import Chances
from annotate.kernels.labelled_rows import BIN_EDGES, LONGEST_ROW
from annotate.kernels.vectors import ROWS_AT_ONCE, Floats, Ints, Rows, group_means, unit
from annotate.kernels.zeroshot import assign


@dataclass(frozen=True)
class Pass:
    """One assignment of all images, each to its nearest prototype.

    prototypes   (K, D) unit rows that gave it
    sample       (S, K) similarities of a sample of the images
    counts       (K,) images of each class
    moved        images whose label is not that of the pass before
    text_weight  w that made the prototypes; 1 at the start, None where the text has no part in them
    """

    prototypes: Floats
    sample: Floats
    counts: Ints
    moved: int
    text_weight: float | None

    def labels(self, embeddings: Rows) -> Ints:
        """The label of each image, (N,)."""

        def label(block: slice) -> Ints:
            return assign(products(single(embeddings[block]), self.prototypes))

        return np.concatenate([*across(label, slices(len(embeddings), ROWS_AT_ONCE))])


class Workers(Protocol):
    """All images, shared among workers: cores of this process, or of a Ray cluster."""

    def ask(self, task: str, *args: Any) -> Iterator[Any]:
        """Call this method of every `LabelledRows`; the answers in the order of the images."""
        ...

    def chances(self, prototypes: Floats, temperature: float, kept: int | None) -> Iterator[Chances]:
        """`LabelledRows.chances` of all images, in blocks that come in their order."""
        ...


def refine_dynamic(
    workers: Workers,
    texts: Floats,
    sample: Floats,
    *,
    iterations: int,
    start: float,
    end: float,
    directions: Floats | None = None,
) -> Iterator[Pass]:
    """Yield the zero-shot pass, then one pass per iteration; the last is the outcome.

    workers      have the images, (N, D)
    texts        (K, D) float32 unit rows
    sample       (S, D) float32 unit rows, some of the images
    start, end   w₀ and w₁ in [0, 1]
    directions   (K, D) of `class_directions`, of the sample unless given: the better they fit the classes, the fewer
                 images are looked at again
    """
    sums, counts = np.zeros(texts.shape), np.zeros(len(texts), np.int64)
    directions = class_directions(sample, texts) if directions is None else directions
    prototypes, weight = column_major(texts), 1.0
    answers = workers.ask("start", prototypes, directions)
    for t in range(iterations + 1):
        moved = 0
        for answer in answers:
            np.add.at(counts, answer.classes, answer.counts)
            for k, more in zip(answer.classes.tolist(), answer.sums, strict=True):
                sums[k] += more
            moved += answer.moved
        yield Pass(prototypes, similarities(sample, prototypes), counts.copy(), moved if t else 0, weight)
        if t == iterations:
            return
        weight = start - (start - end) * t / iterations
        means = np.where(counts[:, None] > 0, unit(sums), texts)
        before, prototypes = prototypes, column_major(blend(texts, means, text_weight=weight))
        answers = workers.ask("step", prototypes, directions, shift_bounds(before, prototypes, directions))


def assigned(workers: Workers, prototypes: Floats, sample: Floats, text_weight: float | None) -> Pass:
    """One assignment of all images to their nearest prototypes."""
    counts, moved = np.zeros(len(prototypes), np.int64), 0
    for more, others in workers.ask("place", prototypes):
        counts += more
        moved += others
    return Pass(prototypes, similarities(sample, prototypes), counts, moved, text_weight)


def class_directions(sample: Floats, texts: Floats) -> Floats:
    """A direction near the images of each class: u (K, D).

    It is the unit mean of the sample's images of the class, or of the whole sample where these are fewer than three.
    """
    parts = cached(slice(0, len(sample)), len(texts))
    labels = np.concatenate([*across(lambda part: assign(products(sample[part], texts)), parts)])
    many = np.bincount(labels, minlength=len(texts)) >= 3
    return np.where(many[:, None], group_means(sample, labels, len(texts)), group_means(sample, labels * 0, 1))


def shift_bounds(before: Floats, after: Floats, directions: Floats) -> Floats:
    """How much nearer another class may have come to an image of class k, (K, bins): the bound above for each bin."""
    shift = after.astype(np.float64) - before
    length = (shift**2).sum(axis=1)
    low, high = BIN_EDGES[:-1], BIN_EDGES[1:]
    nearest = np.where(low * high <= 0, 0, np.minimum(np.abs(low), np.abs(high)))
    beside = np.sqrt(LONGEST_ROW**2 - nearest**2)

    def worst_gains(classes: slice) -> Floats:
        u, own = directions[classes].astype(np.float64), shift[classes]
        gain = u @ shift.T - np.einsum("kd,kd->k", u, own)[:, None]
        apart = np.maximum(length + length[classes][:, None] - 2 * (own @ shift.T) - gain**2, 0) + 1e-12
        gain, rest = gain.astype(np.float32), np.sqrt(apart).astype(np.float32)
        itself = np.arange(len(own)), np.arange(classes.start, classes.stop)
        worst = np.empty((len(own), len(low)), np.float32)
        for j in range(len(low)):
            rivals = np.maximum(low[j] * gain, high[j] * gain) + beside[j] * rest
            rivals[itself] = -np.inf
            worst[:, j] = rivals.max(axis=1)
        return worst

    return np.concatenate([*across(worst_gains, slices(len(after), 128))])


def blend(texts: Floats, visual: Floats, *, text_weight: float) -> Floats:
    """Pull each prototype from its words toward its pictures: unit(w T + (1 - w) V), (K, D)."""
    return unit(text_weight * texts.astype(np.float64) + (1 - text_weight) * visual)
