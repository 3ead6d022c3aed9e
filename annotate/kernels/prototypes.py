"""Dynamic text weighting: prototypes that start as words and learn from the images they attract.

For t = 0 … I-1:    y_i = argmax_k x_i · P_k                      every image, every time
                    w_t = w₀ - (w₀ - w₁) · t / I
                    P_k = unit(w_t T_k + (1 - w_t) v_k)           v_k: unit mean of the images of class k
                    P_k = T_k                                     where class k has no image
and a last assignment. With w₀ = 0.95, w₁ = 0.60 and I = 10 the last weight is 0.635.

The labels are those of the plain loop, for a fraction of its work. An image is looked at again only where its label
can have changed. With Δ_k the shift of prototype k since the pass before, u_l a direction near the images of class l
and a = x_i · u_l, for every rival b of label l

    x_i·Δ_b - x_i·Δ_l  ≤  a u_l·(Δ_b - Δ_l) + √(1 - a²) |(Δ_b - Δ_l) ⊥ u_l|

(Cauchy and Schwarz, on what is left of x_i beside u_l). The image rests as long as the largest of these, summed over
the passes, stays below its margin, best minus second similarity. This is the idea of Hamerly's k-means (2010), whose
bound, twice the largest shift, lets hardly an image rest here: all prototypes shift together, toward the images. Sums
of classes change by the images that moved, exactly (`exact_sums`).

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import (
    BLOCK,
    TILE,
    across,
    cached,
    products,
    room_for,
    similarities,
    single,
    slices,
    standing,
)
from annotate.kernels.chances import Chances, chances_of
from annotate.kernels.vectors import CHUNK, Floats, Ints, Rows, exact_sums, group_means, sums_and_lengths, unit
from annotate.kernels.zeroshot import assign, largest_of

# Bounds of the bins of a; an image's bound is the worst of its bin.
LONGEST = 1.001  # of a unit row, as records check them
BINS = np.array([-LONGEST, 0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, LONGEST], np.float32)
ROUNDING = 1e-5  # of a similarity in single precision, generously: a margin above it is one


@dataclass(frozen=True)
class Known:
    """What transduction knows of all images at once.

    labels   (N,) of this pass
    shares   π, (K,) mean of z
    centre   (D,) mean of the embeddings
    kept     share of the labels that are zero-shot's own
    """

    labels: Ints
    shares: npt.NDArray[np.float64]
    centre: npt.NDArray[np.float64]
    kept: float


@dataclass(frozen=True)
class Pass:
    """One assignment of all images.

    prototypes   (K, D) unit rows that gave it; in transduction the class means that it leads to
    sample       (S, K) similarities of a sample of the images; in transduction log-probabilities over the logit scale
    counts       (K,) images of each class
    moved        images whose label is not that of the pass before
    text_weight  w that made the prototypes; 1 at the start, None where a method has none
    similarity   that of any images, where it is more than their cosines to the prototypes
    known        of all images at once, in transduction
    """

    prototypes: Floats
    sample: Floats
    counts: Ints
    moved: int
    text_weight: float | None
    similarity: Callable[[slice], Floats] | None = None
    known: Known | None = None

    def labels(self, embeddings: Rows) -> Ints:
        """The label of each image, (N,)."""

        def of(block: slice) -> Ints:
            if self.similarity is not None:
                return assign(self.similarity(block))
            return assign(products(single(embeddings[block]), self.prototypes))

        return np.concatenate([*across(of, slices(len(embeddings), CHUNK))])


class Crew(Protocol):
    """Who holds the images: all shards of them, in this process or in others."""

    def ask(self, task: str, *args: Any) -> Iterator[Any]:
        """Call this method of every `Shard`; the answers in the order of the shards."""
        ...

    def chances(self, prototypes: Floats, temperature: float, kept: int | None) -> Iterator[Chances]:
        """`Shard.chances` of all images, in blocks that come in their order."""
        ...


@dataclass(frozen=True)
class Change:
    """What an assignment changed in a shard.

    classes  (g,) classes that won or lost images, and what to add to their sums (g, D) and counts (g,); a class may
             stand there more than once
    moved    images that have another label now
    """

    classes: Ints
    sums: npt.NDArray[np.float64]
    counts: Ints
    moved: int


class Shard:
    """Some of the images, and what is known of each: label, margin, how far it lies along its class's direction.

    rows  (n, D) float16 or float32 unit rows, in memory or mapped
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        n = len(rows)
        self.labels = np.full(n, -1, np.int32)
        self.margins = np.zeros(n, np.float32)
        self.bins = np.zeros(n, np.uint8)

    def start(self, prototypes: Floats, directions: Floats) -> Change:
        """Assign every image; the change is that from no labels at all."""
        columns, k = standing(prototypes), len(prototypes)
        sums = np.zeros(prototypes.shape)
        for block in slices(len(self.rows), BLOCK):
            rows, labels, margins = single(self.rows[block]), self.labels[block], self.margins[block]
            parts = cached(slice(0, len(rows)), k)
            room = room_for(parts, k)
            for part in parts:
                labels[part], margins[part] = nearest_and_margin(products(rows[part], columns, room))
            found, more, along = sums_and_lengths(rows, labels, directions)
            sums[found] += more
            self.bins[block] = bin_of(along)
        counts = np.bincount(self.labels, minlength=k)
        classes = np.flatnonzero(counts)
        return Change(classes, sums[classes], counts[classes], len(self.rows))

    def step(self, prototypes: Floats, directions: Floats, bounds: Floats) -> Change:
        """Assign again those whose label can have changed.

        bounds  (K, bins) of `shift_bounds`
        """
        self.margins -= bounds.take(self.labels * bounds.shape[1] + self.bins)
        return self._look(prototypes, directions, np.flatnonzero(self.margins <= ROUNDING))

    def place(self, prototypes: Floats) -> tuple[Ints, int]:
        """Assign every image; the images of each class, and how many moved."""
        moved = 0
        for chunk in slices(len(self.rows), CHUNK):
            labels = np.concatenate(
                [assign(products(single(self.rows[part]), prototypes)) for part in cached(chunk, len(prototypes))]
            )
            moved += int((labels != self.labels[chunk]).sum())
            self.labels[chunk] = labels
        return np.bincount(self.labels, minlength=len(prototypes)), moved

    def chances(self, prototypes: Floats, temperature: float, kept: int | None) -> Chances:
        """What the outcome says of every image."""
        (n, k), columns = (len(self.rows), len(prototypes)), standing(prototypes)
        parts = cached(slice(0, n), k)
        if kept is None:  # each part is computed where it stays
            room = room_for([slice(0, n)], k)
            tiles = [room[part.start // TILE : -(-part.stop // TILE)] for part in parts]
        else:
            tiles = [room_for(parts, k)] * len(parts)

        def of(part: slice, tiles: Floats) -> Chances:
            similarity = products(single(self.rows[part]), columns, tiles)
            return chances_of(similarity, temperature, kept, out=similarity)

        made = map(of, parts, tiles)
        if kept is not None:
            return Chances.joined(n, made)
        labels, confidences = (
            np.concatenate(rows) for rows in zip(*((c.labels, c.confidences) for c in made), strict=True)
        )
        return Chances(labels, confidences, room.reshape(-1, k)[:n], None)

    def _look(self, prototypes: Floats, directions: Floats, images: Ints) -> Change:
        columns = standing(prototypes)
        some = slices(len(images), BLOCK) or [slice(0, 0)]
        changes = [self._assign(columns, directions, images[part]) for part in some]
        classes, sums, counts = (
            np.concatenate(rows) for rows in zip(*((c.classes, c.sums, c.counts) for c in changes), strict=True)
        )
        return Change(classes, sums, counts, sum(c.moved for c in changes))

    def _assign(self, columns: Floats, directions: Floats, images: Ints) -> Change:
        before = self.labels[images]
        rows = single(self.rows[images])
        parts = cached(slice(0, len(images)), len(columns))
        room = room_for(parts, len(columns))
        for part in parts:
            here = images[part]
            labels, self.margins[here] = nearest_and_margin(products(rows[part], columns, room))
            self.labels[here], self.bins[here] = labels, bin_of(lengths_along(rows[part], directions, labels))
        after = self.labels[images]
        moved = np.flatnonzero(after != before)
        return change(rows[moved], before[moved], after[moved])


def change(rows: Floats, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer]) -> Change:
    """What classes win and lose when images go from one to another."""
    won, sums = exact_sums(rows, after)
    lost, taken = exact_sums(rows, before)
    counts = np.bincount(after)[won], -np.bincount(before)[lost]
    return Change(np.concatenate([won, lost]), np.concatenate([sums, -taken]), np.concatenate(counts), len(rows))


def bin_of(along: Floats) -> Ints:
    """The bin of BINS in which each length lies."""
    return np.searchsorted(BINS[1:-1], along, side="right")


def lengths_along(rows: Floats, directions: Floats, labels: Ints) -> Floats:
    """How far each image lies along its class's direction, (n,)."""
    tiles = [np.vecdot(rows[tile], directions[labels[tile]]) for tile in slices(len(rows), TILE)]
    return np.concatenate(tiles)


def nearest_and_margin(similarity: Floats) -> tuple[Ints, Floats]:
    """The nearest class of each image and by how much it is nearer than the second; changes `similarity`."""
    labels = assign(similarity)
    best = largest_of(similarity, labels)
    similarity[np.arange(len(labels)), labels] = -np.inf
    return labels, (best - largest_of(similarity))[:, 0]


def refine_dynamic(
    crew: Crew,
    texts: Floats,
    sample: Floats,
    *,
    iterations: int,
    start: float,
    end: float,
    directions: Floats | None = None,
) -> Iterator[Pass]:
    """Yield the zero-shot pass, then one pass per iteration; the last is the outcome.

    crew         has the images, (N, D)
    texts        (K, D) float32 unit rows
    sample       (S, D) float32 unit rows, some of the images
    start, end   w₀ and w₁ in [0, 1]
    directions   (K, D) of `class_directions`, of the sample unless given: the nearer to the classes, the more images
                 rest
    """
    sums, counts = np.zeros(texts.shape), np.zeros(len(texts), np.int64)
    directions = class_directions(sample, texts) if directions is None else directions
    prototypes, weight = standing(texts), 1.0
    answers = crew.ask("start", prototypes, directions)
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
        before, prototypes = prototypes, standing(blend(texts, means, text_weight=weight))
        answers = crew.ask("step", prototypes, directions, shift_bounds(before, prototypes, directions))


def assigned(crew: Crew, prototypes: Floats, sample: Floats, text_weight: float | None) -> Pass:
    """One assignment of all images to their nearest prototypes."""
    counts, moved = np.zeros(len(prototypes), np.int64), 0
    for more, others in crew.ask("place", prototypes):
        counts += more
        moved += others
    return Pass(prototypes, similarities(sample, prototypes), counts, moved, text_weight)


def class_directions(sample: Floats, texts: Floats) -> Floats:
    """u (K, D): the unit mean of the sample's images of each class, of the whole sample where it has under three."""
    parts = cached(slice(0, len(sample)), len(texts))
    labels = np.concatenate([*across(lambda part: assign(products(sample[part], texts)), parts)])
    many = np.bincount(labels, minlength=len(texts)) >= 3
    return np.where(many[:, None], group_means(sample, labels, len(texts)), group_means(sample, labels * 0, 1))


def shift_bounds(before: Floats, after: Floats, directions: Floats) -> Floats:
    """How much a rival may have gained on a class's image, (K, bins): the bound above at its worst in each bin."""
    shift = after.astype(np.float64) - before
    length = (shift**2).sum(axis=1)
    low, high = BINS[:-1], BINS[1:]
    nearest = np.where(low * high <= 0, 0, np.minimum(np.abs(low), np.abs(high)))
    beside = np.sqrt(LONGEST**2 - nearest**2)

    def of(classes: slice) -> Floats:
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

    return np.concatenate([*across(of, slices(len(after), 128))])


def blend(texts: Floats, visual: Floats, *, text_weight: float) -> Floats:
    """Pull each prototype from its words toward its pictures: unit(w T + (1 - w) V), (K, D)."""
    return unit(text_weight * texts.astype(np.float64) + (1 - text_weight) * visual)
