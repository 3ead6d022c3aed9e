"""Share images among train, val and test so that no image ever moves, and what belongs together lies together.

The split of a group of images is drawn by a hash of the seed and of what the group is: the digest of an image, the name
of a folder. Nothing else is looked at, neither other images nor labels. So it is the same on every machine and in every
order, and further images move none. The price is that the shares of a class come out as by drawing lots: near the
percentages for many images, further off for few.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from annotate.kernels.groups import joined, numbers_of
from annotate.kernels.vectors import Ints

SPLITS = ("train", "val", "test")
TOO_FEW = 2  # images of a class that has none to spare: a model must see them


def choose_splits(
    keys: Sequence[str], labels: Ints, percentages: Sequence[int], seed: int, together: Sequence[Ints] = ()
) -> Ints:
    """The split of each image, (N,): 0 train, 1 val, 2 test.

    A class of one or two images is in train, with all that belongs to them, where train is used at all.

    keys         N strings, what an image is; images with equal ones lie together
    labels       (N,) their classes
    percentages  of train, val and test; they sum to 100
    together     groupings, (N,) each: images with one number lie together, -1 for those of which it says nothing
    """
    groups = joined([numbers_of(keys), *together])
    chosen = drawn(keys, groups, percentages, seed)
    if percentages[0]:
        few = np.isin(labels, np.flatnonzero(np.bincount(labels) <= TOO_FEW))
        chosen[np.isin(groups, groups[few])] = 0
    return chosen


def drawn(keys: Sequence[str], groups: Ints, percentages: Sequence[int], seed: int) -> Ints:
    """The split of each image by the lot of its group: that of the key whose hash is the smallest.

    The first half of the hash decides which key that is, the second which split: else large groups would go to train.
    """
    hashes = [hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).digest() for key in keys]
    first: dict[int, bytes] = {}
    for group, found in zip(groups.tolist(), hashes, strict=True):
        first[group] = min(found, first.get(group, found))
    lots = np.array([int.from_bytes(first[group][16:24]) / 2**64 for group in range(len(first))])
    ends = np.cumsum(percentages) / 100
    split: Ints = np.minimum(np.searchsorted(ends, lots, side="right"), np.flatnonzero(percentages)[-1])
    return split[groups]


def shares(splits: Ints, labels: Ints, at_least: int) -> dict[int, tuple[float, float]]:
    """The smallest and the largest part of a class that lies in each split, among classes with enough images.

    splits    (N,) of those in a split
    at_least  images, for a class to count
    returns   by split; nothing where no class has enough
    """
    table = np.zeros((len(SPLITS), int(labels.max(initial=-1)) + 1), np.int64)
    np.add.at(table, (splits, labels), 1)
    enough = table[:, table.sum(axis=0) >= at_least]
    if not enough.size:
        return {}
    parts = enough / enough.sum(axis=0)
    return {s: (float(parts[s].min()), float(parts[s].max())) for s in range(len(SPLITS))}
