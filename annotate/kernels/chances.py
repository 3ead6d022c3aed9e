"""The outcome of a method for every image: its label, and how probable each class is.

N images, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats, Ints
from annotate.kernels.zeroshot import assign, probabilities

MOST_KEPT = 16  # probabilities of an image that are kept where all would be too many
FOLDED = 64  # columns; with fewer than twice as many, folding takes longer than it saves
MOST_WHOLE = 1 << 25  # probabilities that are kept whole, 128 MB


class RoomForRows(Protocol):
    """A place for n rows that come block by block: memory, or a file."""

    def append(self, rows: npt.NDArray[Any]) -> None: ...

    def whole(self) -> Any:
        """All rows; ValueError where other than n came."""
        ...


class InMemory:
    """Rows in memory."""

    def __init__(self, n: int) -> None:
        self.n, self.filled = n, 0
        self.rows: npt.NDArray[Any] | None = None

    def append(self, rows: npt.NDArray[Any]) -> None:
        if self.rows is None:
            self.rows = np.empty((self.n, *rows.shape[1:]), rows.dtype)
        start, self.filled = self.filled, self.filled + len(rows)
        self.rows[start : self.filled] = rows

    def whole(self) -> Any:
        if self.rows is None or self.filled != self.n:
            raise ValueError(f"{self.filled} of {self.n} images")
        return self.rows


@dataclass(frozen=True)
class Chances:
    """Probabilities, whole or the largest.

    labels         (N,) the likeliest class, the first of equals
    confidences    (N,) its probability
    probabilities  (N, K), rows sum to one; or (N, 16), the largest of each row, the largest first
    classes        None; or (N, 16) int32, the classes of those
    """

    labels: Ints
    confidences: Floats
    probabilities: Floats
    classes: npt.NDArray[np.int32] | None

    @staticmethod
    def joined(n: int, parts: Iterable[Chances], room: Callable[[str], RoomForRows] | None = None) -> Chances:
        """Join blocks, in order, to the outcome for all n images; each block is let go when it has been copied.

        room  for the n rows of a field, by its name; memory unless given
        """
        rooms: dict[str, RoomForRows] = {}
        for part in parts:
            for name, rows in vars(part).items():
                if rows is None:
                    continue
                if name not in rooms:
                    rooms[name] = room(name) if room else InMemory(n)
                rooms[name].append(rows)
        if not rooms:
            raise ValueError(f"0 of {n} images")
        whole = {name: rows.whole() for name, rows in rooms.items()}
        return Chances(whole["labels"], whole["confidences"], whole["probabilities"], whole.get("classes"))


def number_kept(n: int, k: int) -> int | None:
    """How many probabilities of each image are kept; None for all."""
    return MOST_KEPT if n * k > MOST_WHOLE and k > MOST_KEPT else None


def softmax_chances(similarity: Floats, temperature: float, kept: int | None, out: Floats | None = None) -> Chances:
    """Turn the similarities of a block of images into probabilities: softmax(similarity / temperature).

    All of them are kept, or the `kept` largest.

    out  to compute in; the similarities themselves, where nobody needs them any more
    """
    likeliest = ranked(similarity, kept)
    return selected(likeliest, probabilities(similarity, temperature, out, likeliest[:, 0]), kept)


def chances_with(similarity: Floats, chances: Floats, kept: int | None) -> Chances:
    """The outcome for a block whose probabilities are known; they order the classes as the similarities do."""
    return selected(ranked(similarity, kept), chances, kept)


def ranked(similarity: Floats, kept: int | None) -> Ints:
    """The `kept` nearest classes of each image, the nearest first; without `kept` that one, (n, 1)."""
    return assign(similarity)[:, None] if kept is None else largest(similarity, kept)


def selected(likeliest: Ints, chances: Floats, kept: int | None) -> Chances:
    part = np.take_along_axis(chances, likeliest, axis=1)
    labels, confidences = likeliest[:, 0].copy(), part[:, 0].copy()  # a view would keep all of the ranks
    if kept is None:
        return Chances(labels, confidences, chances, None)
    return Chances(labels, confidences, part, likeliest.astype(np.int32))


def largest(rows: Floats, count: int) -> Ints:
    """Columns of the `count` largest of each row, (n, count), the largest first and the first of equals first.

    rows  (n, K) float32, none of them NaN, K at least `count`
    The largest of each of a few groups of columns tell how large a number must be to count: hardly more than `count`
    are, and only those are sorted.
    """
    n, k = rows.shape
    heads = rows
    while heads.shape[1] >= 2 * max(count, FOLDED):
        half = heads.shape[1] // 2
        folded = np.maximum(heads[:, :half], heads[:, half : 2 * half])
        heads = folded if heads.shape[1] == 2 * half else np.concatenate([folded, heads[:, -1:]], axis=1)
    groups = heads.shape[1]
    bound = np.partition(heads, groups - count, axis=1)[:, groups - count]
    chosen = np.flatnonzero(rows >= bound[:, None])
    row, column = np.divmod(chosen, k)
    counts = np.bincount(row, minlength=n)
    place = np.arange(len(chosen)) - np.repeat(np.cumsum(counts) - counts, counts)
    keys = np.full((n, counts.max(initial=count)), np.iinfo(np.int64).max)
    keys[row, place] = falling(rows.ravel()[chosen]) << 32 | column
    keys.sort(axis=1)
    return keys[:, :count] & 0xFFFFFFFF


def falling(numbers: Floats) -> Ints:
    """Integers in the opposite order of the numbers, equal where they are."""
    bits = (numbers + np.float32(0)).view(np.int32)  # -0 becomes 0
    return np.where(bits < 0, bits & 0x7FFFFFFF, ~bits).astype(np.int64)
