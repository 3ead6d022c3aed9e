"""Share images among train, val and test: every class in the same proportions, and an image always alike.

Within a class, images are ranked by a hash of the seed and of what they are (the digest of their bytes),
and the ranks are cut at the percentages. So the split of an image is the same on every machine and in
every order of listing, and identical files always lie in the same split, whatever their labels.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from annotate.kernels.vectors import Ints

SPLITS = ("train", "val", "test")


def choose_splits(keys: Sequence[str], labels: Ints, percentages: Sequence[int], seed: int) -> Ints:
    """The split of each image, (N,): 0 train, 1 val, 2 test.

    A class with enough different images has some in every split whose percentage is not zero.

    keys         N strings, equal for identical images
    labels       (N,) the class to stratify by; of copies with several labels the one that most have counts
    percentages  of train, val and test; they sum to 100
    """
    chosen = np.empty(len(keys), np.int64)
    ranks = [hashlib.sha256(f"{seed}:{key}".encode("utf-8", "surrogateescape")).digest() for key in keys]
    stratum = labels_of_copies(ranks, labels)
    by_label = np.argsort(stratum, kind="stable")
    for group in np.split(by_label, np.flatnonzero(np.diff(stratum[by_label])) + 1):
        members = sorted(group.tolist(), key=lambda i: ranks[i])
        starts = [at for at, i in enumerate(members) if not at or ranks[i] != ranks[members[at - 1]]]
        ends = np.cumsum(quotas(len(members), percentages))
        of_copies = nowhere_empty(np.searchsorted(ends, starts, side="right"), percentages)
        chosen[members] = np.repeat(of_copies, np.diff([*starts, len(members)]))
    return chosen


def labels_of_copies(keys: Sequence[bytes], labels: Ints) -> Ints:
    """Each image's label, (N,); copies whose labels differ get the one that most of them have, of equals the first."""
    _, image = np.unique(np.array(keys), return_inverse=True)
    pairs, counts = np.unique(np.stack([image, labels], axis=1), axis=0, return_counts=True)  # (P, 2) image and label
    order = np.lexsort((pairs[:, 1], -counts, pairs[:, 0]))
    _, first = np.unique(pairs[order, 0], return_index=True)
    most: Ints = pairs[order][first, 1]
    return most[image]


def nowhere_empty(chosen: Ints, percentages: Sequence[int]) -> Ints:
    """Give every split in use an image of the class, if there are enough: from the split that has most.

    chosen  (J,) the split of each different image of a class, in the order of their ranks
    """
    used = [s for s, percentage in enumerate(percentages) if percentage]
    chosen = chosen.copy()
    if len(chosen) < len(used):
        return chosen
    for empty in [s for s in used if not (chosen == s).any()]:
        richest = np.bincount(chosen).argmax()
        chosen[np.flatnonzero(chosen == richest)[-1]] = empty
    return chosen


def quotas(n: int, percentages: Sequence[int]) -> list[int]:
    """n in whole parts by percentages, largest remainders first; of equal remainders the earlier split gains."""
    exact = [n * percentage / 100 for percentage in percentages]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (parts[i] - exact[i], i))
    for i in by_remainder[: n - sum(parts)]:
        parts[i] += 1
    return parts
