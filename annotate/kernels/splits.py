"""Stratified train/val/test splits that depend on the images alone.

Within a class, images are ranked by a hash of the seed and of what they are (the digest of their bytes),
and the ranks are cut at the percentages. So the split of an image is the same on every machine and in
every order of listing, and identical files always lie in the same split, also where they bear different labels: then
in that of the copy whose class comes first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from annotate.kernels.vectors import Ints

SPLITS = ("train", "val", "test")


def split(keys: Sequence[str], labels: Ints, percentages: Sequence[int], seed: int) -> Ints:
    """The split of each image, (N,): 0 train, 1 val, 2 test.

    keys         N strings, equal for identical images
    labels       (N,) the class to stratify by
    percentages  of train, val and test; they sum to 100
    """
    chosen = np.empty(len(keys), np.int64)
    ranks = [hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).digest() for key in keys]
    for label in np.unique(labels):
        members = sorted(np.flatnonzero(labels == label).tolist(), key=lambda i: ranks[i])
        ends = np.cumsum(quotas(len(members), percentages))
        start_of_copies = 0
        for position, i in enumerate(members):
            if position and ranks[i] != ranks[members[position - 1]]:
                start_of_copies = position
            chosen[i] = np.searchsorted(ends, start_of_copies, side="right")
    first: dict[bytes, int] = {}
    for i in np.argsort(labels, kind="stable").tolist():
        chosen[i] = chosen[first.setdefault(ranks[i], i)]
    return chosen


def quotas(n: int, percentages: Sequence[int]) -> list[int]:
    """n in whole parts by percentages, largest remainders first; of equal remainders the earlier split gains."""
    exact = [n * percentage / 100 for percentage in percentages]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_remainder[: n - sum(parts)]:
        parts[i] += 1
    return parts
