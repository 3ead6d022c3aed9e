"""Find bursts: photos that one camera took within seconds, or neighbours in number that look alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import slices
from annotate.kernels.copies import BLOCK, NOISE, Looks, Pairs, as_a_whole, fine, normal
from annotate.kernels.vectors import Ints

SECONDS = 2.0  # between two photos of a burst
APART = 2  # numbers between two photos of a burst
BROAD, FINE = 0.9, 0.35  # agreement of neighbours in number, as they are; measured by benchmarks/copies.py
NUMBER = re.compile(r"^(.*?)(\d+)(\D*)$", re.S)


def find_bursts(paths: Sequence[str], cameras: Sequence[str], seconds: npt.NDArray[np.float64], looks: Looks) -> Pairs:
    """Pairs of images of one burst, with the agreement of their fine structure.

    paths    N
    cameras  N, empty where nobody knows
    seconds  (N,) NaN where nobody knows
    looks    (N, S, S) uint8
    """
    taken, numbered = by_time(cameras, seconds), by_number(paths)
    first, second = np.concatenate([taken, numbered], axis=1)
    timed = taken.shape[1]
    broad, fine_now = as_they_are(looks, first, second)
    burst = (np.arange(len(first)) < timed) | ((broad >= BROAD) & (fine_now >= FINE))
    low, high = np.minimum(first, second)[burst], np.maximum(first, second)[burst]
    return Pairs(low, high, fine_now[burst].astype(np.float32))


def by_time(cameras: Sequence[str], seconds: npt.NDArray[np.float64]) -> Ints:
    """(2, P) neighbours in time of one camera, within seconds."""
    known = [i for i in np.flatnonzero(np.isfinite(seconds)).tolist() if cameras[i]]
    order = sorted(known, key=lambda i: (cameras[i], seconds[i], i))
    pairs = [(i, j) for i, j in pairwise(order) if cameras[i] == cameras[j] and seconds[j] - seconds[i] <= SECONDS]
    return np.array(pairs, np.int64).reshape(-1, 2).T


def by_number(paths: Sequence[str]) -> Ints:
    """(2, P) neighbours in number within a folder, of names that are otherwise the same."""
    numbered = []
    for row, path in enumerate(paths):
        folder, _, name = path.rpartition("/")
        found = NUMBER.match(name.rpartition(".")[0] or name)
        if found and len(found[2]) < 16:
            numbered.append(((folder, found[1], found[3]), int(found[2]), row))
    numbered.sort()
    pairs = [
        (one[2], other[2]) for one, other in pairwise(numbered) if one[0] == other[0] and other[1] - one[1] <= APART
    ]
    return np.array(pairs, np.int64).reshape(-1, 2).T


def as_they_are(looks: Looks, first: Ints, second: Ints) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """How well whole looks agree, in their greys and in their fine structure."""
    found = [np.empty((2, 0), np.float32)]
    for block in slices(len(first), BLOCK):
        one, other = (as_a_whole(looks[rows[block]]) for rows in (first, second))
        broad = (normal(one, NOISE[0]) * normal(other, NOISE[0])).sum(axis=1)
        found.append(np.stack([broad, (normal(fine(one), NOISE[1]) * normal(fine(other), NOISE[1])).sum(axis=1)]))
    broad, both = np.concatenate(found, axis=1)
    return broad, both
