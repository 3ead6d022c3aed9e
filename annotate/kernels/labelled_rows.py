"""Some of the images and their labels: the part of dynamic text weighting (prototypes.py) that looks at images.

For each image are kept its label, its margin, and how far it lies along the direction of its class. All images are in
one such part or in several, in this process or in others; what they return adds up to the same bits either way.

K classes, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import BLOCK, TILE, cached, column_major, products, room_for, single, slices
from annotate.kernels.chances import Chances, softmax_chances
from annotate.kernels.vectors import ROWS_AT_ONCE, Floats, Ints, Rows, exact_sums, sums_and_lengths
from annotate.kernels.zeroshot import assign, row_maximum

# Bounds of the bins of a; an image's bound is the worst of its bin.
LONGEST_ROW = 1.001  # length of a unit row at most, as records check it
BIN_EDGES = np.array([-LONGEST_ROW, 0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, LONGEST_ROW], np.float32)
ROUNDING = 1e-5  # error of a similarity in single precision, generously; only a larger margin is certain


@dataclass(frozen=True)
class Change:
    """What an assignment changed in some of the images.

    classes  (g,) classes that won or lost images, and what to add to their sums (g, D) and counts (g,); a class may
             stand there more than once
    moved    images that have another label now
    """

    classes: Ints
    sums: npt.NDArray[np.float64]
    counts: Ints
    moved: int


class LabelledRows:
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
        columns, k = column_major(prototypes), len(prototypes)
        sums = np.zeros(prototypes.shape)
        for block in slices(len(self.rows), BLOCK):
            rows, labels, margins = single(self.rows[block]), self.labels[block], self.margins[block]
            parts = cached(slice(0, len(rows)), k)
            room = room_for(parts, k)
            for part in parts:
                labels[part], margins[part] = nearest_and_margin(products(rows[part], columns, room))
            found, more, along = sums_and_lengths(rows, labels, directions)
            sums[found] += more
            self.bins[block] = find_bins(along)
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
        """Assign every image; return how many images each class has, and how many changed their label."""
        moved = 0
        for chunk in slices(len(self.rows), ROWS_AT_ONCE):
            labels = np.concatenate(
                [assign(products(single(self.rows[part]), prototypes)) for part in cached(chunk, len(prototypes))]
            )
            moved += int((labels != self.labels[chunk]).sum())
            self.labels[chunk] = labels
        return np.bincount(self.labels, minlength=len(prototypes)), moved

    def chances(self, prototypes: Floats, temperature: float, kept: int | None) -> Chances:
        """Labels and probabilities of every image by these prototypes."""
        (n, k), columns = (len(self.rows), len(prototypes)), column_major(prototypes)
        parts = cached(slice(0, n), k)
        if kept is None:  # each part is computed where it stays
            room = room_for([slice(0, n)], k)
            tiles = [room[part.start // TILE : -(-part.stop // TILE)] for part in parts]
        else:
            tiles = [room_for(parts, k)] * len(parts)

        def chances(part: slice, tiles: Floats) -> Chances:
            similarity = products(single(self.rows[part]), columns, tiles)
            return softmax_chances(similarity, temperature, kept, out=similarity)

        made = map(chances, parts, tiles)
        if kept is not None:
            return Chances.joined(n, made)
        labels, confidences = (
            np.concatenate(rows) for rows in zip(*((c.labels, c.confidences) for c in made), strict=True)
        )
        return Chances(labels, confidences, room.reshape(-1, k)[:n], None)

    def _look(self, prototypes: Floats, directions: Floats, images: Ints) -> Change:
        columns = column_major(prototypes)
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
            self.labels[here], self.bins[here] = labels, find_bins(lengths_along(rows[part], directions, labels))
        after = self.labels[images]
        moved = np.flatnonzero(after != before)
        return change(rows[moved], before[moved], after[moved])


def change(rows: Floats, before: npt.NDArray[np.integer], after: npt.NDArray[np.integer]) -> Change:
    """What classes gain and lose when images go from one to another."""
    won, sums = exact_sums(rows, after)
    lost, taken = exact_sums(rows, before)
    counts = np.bincount(after)[won], -np.bincount(before)[lost]
    return Change(np.concatenate([won, lost]), np.concatenate([sums, -taken]), np.concatenate(counts), len(rows))


def find_bins(along: Floats) -> Ints:
    """The bin of BINS in which each length lies."""
    return np.searchsorted(BIN_EDGES[1:-1], along, side="right")


def lengths_along(rows: Floats, directions: Floats, labels: Ints) -> Floats:
    """How far each image lies along its class's direction, (n,)."""
    tiles = [np.vecdot(rows[tile], directions[labels[tile]]) for tile in slices(len(rows), TILE)]
    return np.concatenate(tiles)


def nearest_and_margin(similarity: Floats) -> tuple[Ints, Floats]:
    """The nearest class of each image and by how much it is nearer than the second; changes `similarity`."""
    labels = assign(similarity)
    best = row_maximum(similarity, labels)
    similarity[np.arange(len(labels)), labels] = -np.inf
    return labels, (best - row_maximum(similarity))[:, 0]
