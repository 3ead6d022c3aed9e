"""Find copies among looks at images: cropped, mirrored, re-encoded, lighter, darker, of another size.

A look is a small grey picture. Candidates are found by a hash of 63 bits, the signs of the low frequencies of a cosine
transform (pHash, Zauner 2010), of the whole look, of its mirror image, and of the parts that a crop would leave.
Each candidate is then confirmed by the pixels: the part is moved until it fits the other look best, and the two must
agree in their broad greys and in their fine structure. Different pictures of one scene do not agree in the latter.

N looks of S by S pixels, V parts, P pairs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import Advance, slices
from annotate.kernels.groups import by_first_row
from annotate.kernels.vectors import Floats, Ints

Looks = npt.NDArray[np.uint8]  # (N, S, S)

FREQUENCIES = 8  # in either direction
CELLS = 16  # of a part in either direction, over which pixels are averaged
NEAR_BITS = 14  # of 63 that candidates may differ in
NEAREST = 4  # candidates of a look for each part
SIMILAR = 0.75  # cosine of the low frequencies that a candidate has at least
COMPARE_ALL_UP_TO = 150_000  # looks; among more, only those with nearly the same sixteenth bits are compared
GRID = 20  # pixels of a part in either direction when it is confirmed
BLUR = 5  # pixels of the grid over which the broad greys are averaged
STEPS = (0.04, 0.02, 0.01)  # of a side by which a part is moved to fit
HOPELESS = (0.25, 0.45, 0.65)  # fine agreement below which a pair is given up before each of the steps
FITS = 0.97  # fine agreement that is not worth bettering
ROUGH = 0.5  # broad agreement that a pair has at least before anything is moved
BROAD, FINE = 0.80, 0.90  # agreement of copies; measured by benchmarks/copies.py
NOISE = (4.0, 1.5)  # grey levels of deviation below which a part says nothing, broad and fine
BLOCK = 2048  # pairs that are confirmed at once


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows that show the same picture, (P,) each, the earlier row first, and how well their pixels agree."""

    first: Ints
    second: Ints
    agreement: Floats


@dataclass(frozen=True)
class Part:
    """A part of a look, by its edges as shares of the sides, as it is or mirrored."""

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0
    mirrored: bool = False

    @property
    def edges(self) -> tuple[float, float, float, float]:
        return self.top, self.bottom, self.left, self.right


def parts() -> list[Part]:
    """The whole, as it is and mirrored, and nine parts of 84 % of the sides: a crop to 80 % is near one of these."""
    crops = [Part(y, y + 0.84, x, x + 0.84) for y in (0.0, 0.08, 0.16) for x in (0.0, 0.08, 0.16)]
    return [Part(), Part(mirrored=True), *crops]


def find_copies(looks: Looks, advance: Advance = lambda count: None) -> Pairs:
    """All pairs of looks that show one picture.

    looks    (N, S, S) uint8
    advance  is called with how many looks more have been searched for, of N times the parts
    """
    if len(looks) < 2:
        nothing = np.empty(0, np.int64)
        return Pairs(nothing, nothing, np.empty(0, np.float32))
    first, second, edges, mirrored = candidates(looks, advance)
    kept, agreement = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
    for block in slices(len(first), BLOCK):
        alike, how = confirmed(looks, first[block], second[block], edges[block], mirrored[block])
        kept.append(block.start + alike)
        agreement.append(how)
    rows = np.concatenate(kept)
    low, high = np.minimum(first[rows], second[rows]), np.maximum(first[rows], second[rows])
    return one_each(low, high, np.concatenate(agreement))


def one_each(first: Ints, second: Ints, agreement: Floats) -> Pairs:
    """Each pair once, in order, with its best agreement."""
    order = np.lexsort((-agreement, second, first))
    first, second, agreement = first[order], second[order], agreement[order]
    new = np.ones(len(first), np.bool_)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return Pairs(first[new], second[new], agreement[new])


def groups_of(n: int, pairs: Pairs) -> Ints:
    """The group of each row, (N,), numbered by their first rows; -1 for rows in no pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = np.ones(len(pairs.first), np.int8), (pairs.first, pairs.second)
    found = connected_components(coo_array(edges, shape=(n, n)), directed=False)[1]
    alone = np.bincount(found)[found] == 1
    groups = np.full(n, -1, np.int64)
    groups[~alone] = by_first_row(found[~alone]) if not alone.all() else 0
    return groups


# -- candidates ----------------------------------------------------------------------------------------


def candidates(looks: Looks, advance: Advance) -> tuple[Ints, Ints, Floats, npt.NDArray[np.bool_]]:
    """Pairs whose hashes are near: row whose part is meant, row that is meant whole, edges (P, 4), whether mirrored.

    Of a pair that several parts find, the part counts whose low frequencies are the most similar.
    """
    whole = low_frequencies(looks, Part())
    index = index_of(signs(whole), len(looks))
    whole_units = units(whole)
    found: list[tuple[Ints, Ints, Floats, Ints]] = []
    variants = parts()
    for number, part in enumerate(variants):
        own = low_frequencies(looks, part)
        own_units = units(own)
        for rows in slices(len(looks), 8192):
            distances, nearest = index.search(signs(own[rows]), min(NEAREST + 1, len(looks)))
            query, place = np.nonzero((distances <= NEAR_BITS) & (nearest >= 0))
            mine, other = query + rows.start, nearest[query, place].astype(np.int64)
            cosines = (own_units[mine] * whole_units[other]).sum(axis=1)
            good = (mine != other) & (cosines >= SIMILAR)
            found.append((mine[good], other[good], cosines[good], np.full(int(good.sum()), number)))
            advance(len(distances))
    mine, other, cosines, which = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((-cosines, np.maximum(mine, other), np.minimum(mine, other)))
    mine, other, which = mine[order], other[order], which[order]
    low, high = np.minimum(mine, other), np.maximum(mine, other)
    best = np.ones(len(low), np.bool_)
    best[1:] = (low[1:] != low[:-1]) | (high[1:] != high[:-1])
    edges = np.array([part.edges for part in variants], np.float32)
    turned = np.array([part.mirrored for part in variants])
    return mine[best], other[best], edges[which[best]], turned[which[best]]


def low_frequencies(looks: Looks, part: Part) -> Floats:
    """(N, 63) cosine transform of a part of each look, without its mean."""
    side = looks.shape[1]
    wave = np.cos(np.pi * np.outer(np.arange(FREQUENCIES), (np.arange(CELLS) + 0.5) / CELLS))
    down = (wave @ cells(part.top, part.bottom, side)).astype(np.float32)  # (8, S)
    across = (wave @ cells(part.left, part.right, side)).astype(np.float32)
    if part.mirrored:
        across[1::2] *= -1
    both = np.kron(down, across)[1:]  # (63, S * S)
    found = np.empty((len(looks), len(both)), np.float32)
    for rows in slices(len(looks), 8192):
        found[rows] = looks[rows].reshape(-1, side * side).astype(np.float32) @ both.T
    return found


def cells(start: float, end: float, side: int) -> npt.NDArray[np.float64]:
    """(CELLS, S) which averages pixels over equal cells between two edges."""
    edges = np.linspace(start, end, CELLS + 1) * side
    pixels = np.arange(side)
    inside = np.minimum(edges[1:, None], pixels + 1) - np.maximum(edges[:-1, None], pixels)
    inside = np.maximum(inside, 0)
    averages: npt.NDArray[np.float64] = inside / inside.sum(axis=1, keepdims=True)
    return averages


def signs(frequencies: Floats) -> Looks:
    """(N, 8) the signs as bits."""
    return np.packbits(frequencies > 0, axis=1)


def units(frequencies: Floats) -> Floats:
    rows: Floats = frequencies / np.maximum(np.linalg.norm(frequencies, axis=1, keepdims=True), 1e-6)
    return rows


def index_of(codes: Looks, n: int) -> Any:
    """What finds the nearest of the codes by the bits in which they differ."""
    import faiss

    if n <= COMPARE_ALL_UP_TO:
        index: Any = faiss.IndexBinaryFlat(64)
    else:
        index = faiss.IndexBinaryMultiHash(64, 4, 16)
        index.nflip = 1
    index.add(codes)
    return index


# -- confirmation --------------------------------------------------------------------------------------


def confirmed(
    looks: Looks, first: Ints, second: Ints, edges: Floats, mirrored: npt.NDArray[np.bool_]
) -> tuple[Ints, Floats]:
    """Which of the pairs show one picture, and how well their fine structure agrees.

    edges  (P, 4) of the part of the first look that the second may be, moved here until it fits
    """
    whole = as_a_whole(looks[second])
    right = normal(whole, NOISE[0]), normal(fine(whole), NOISE[1])
    broad_now, fine_now = agreement(looks, first, edges, mirrored, right)
    live = np.flatnonzero(broad_now >= ROUGH)
    for step, least in zip(STEPS, HOPELESS, strict=True):
        live = live[(fine_now[live] >= least) & (fine_now[live] < FITS)]
        for move in moves():
            moved = np.clip(edges[live] + step * move, 0, 1)
            chosen = right[0][live], right[1][live]
            broad_then, fine_then = agreement(looks, first[live], moved, mirrored[live], chosen)
            better = fine_then + broad_then / 2 > fine_now[live] + broad_now[live] / 2
            rows = live[better]
            edges[rows], broad_now[rows], fine_now[rows] = moved[better], broad_then[better], fine_then[better]
    alike = np.flatnonzero((broad_now >= BROAD) & (fine_now >= FINE))
    return alike, fine_now[alike].astype(np.float32)


def moves() -> Iterator[Floats]:
    """Shifts and changes of size, twice each, as changes of top, bottom, left and right."""
    down, across = (np.array(sides, np.float32) for sides in ((1, 1, 0, 0), (0, 0, 1, 1)))
    taller, wider = (np.array(sides, np.float32) for sides in ((-1, 1, 0, 0), (0, 0, -1, 1)))
    for _ in range(2):
        for move in (down, across, taller + wider, taller, wider):
            yield from (move, -move)


def agreement(
    looks: Looks, rows: Ints, edges: Floats, mirrored: npt.NDArray[np.bool_], right: tuple[Floats, Floats]
) -> tuple[Floats, Floats]:
    """Correlation of a part of each look with what it may be a copy of: of the greys, and of their fine structure."""
    part = cut(looks[rows], edges, mirrored)
    broad = (normal(part, NOISE[0]) * right[0]).sum(axis=1)
    return broad, (normal(fine(part), NOISE[1]) * right[1]).sum(axis=1)


def cut(looks: Looks, edges: Floats, mirrored: npt.NDArray[np.bool_]) -> Floats:
    """(P, GRID, GRID) a part of each look, between its pixels by their distance."""
    side = looks.shape[1]
    down, across = between(edges[:, 0], edges[:, 1], side), between(edges[:, 2], edges[:, 3], side)
    part: Floats = down @ looks.astype(np.float32) @ across.transpose(0, 2, 1)
    part[mirrored] = part[mirrored][:, :, ::-1]
    return part


def as_a_whole(looks: Looks) -> Floats:
    """(P, GRID, GRID) the looks, nothing cut off."""
    return cut(looks, np.tile(np.array(Part().edges, np.float32), (len(looks), 1)), np.zeros(len(looks), np.bool_))


def between(start: Floats, end: Floats, side: int) -> Floats:
    """(P, GRID, S) weights of pixels at evenly spaced places between two edges."""
    places = (start[:, None] + (end - start)[:, None] * ((np.arange(GRID) + 0.5) / GRID)) * side - 0.5
    away = np.abs(places[:, :, None] - np.arange(side))
    weights: Floats = np.maximum(1 - away, 0).astype(np.float32)
    return weights


def fine(part: Floats) -> Floats:
    """What is left of pictures without their broad greys: each pixel less the mean around it."""
    margin = BLUR // 2
    padded = np.pad(part, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    sums = np.cumsum(np.cumsum(np.pad(padded, ((0, 0), (1, 0), (1, 0))), axis=1), axis=2)
    box = sums[:, BLUR:, BLUR:] - sums[:, :-BLUR, BLUR:] - sums[:, BLUR:, :-BLUR] + sums[:, :-BLUR, :-BLUR]
    rest: Floats = (part - box / BLUR**2).astype(np.float32, copy=False)
    return rest


def normal(part: Floats, noise: float) -> Floats:
    """(P, GRID * GRID) rows of mean 0 and length 1; shorter where there is little but noise."""
    flat = part.reshape(len(part), GRID * GRID)
    flat = flat - flat.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(flat, axis=1, keepdims=True)
    rows: Floats = (flat / np.maximum(lengths, noise * GRID)).astype(np.float32, copy=False)
    return rows
