"""Herding: images that, once answered, say most about the others (MaxHerding and UHerding, Bae et al. 2024, 2025).

    x̂ = unit(x - mean)          k(x, x') = exp(-|x̂ - x̂'|² / σ²)
    choose argmax_x  mean_x' U(x') max(0, k(x, x') - max over chosen and answered a of k(a, x'))

U is how unsure an image is: 1 minus its margin; all alike it is MaxHerding. σ is the least distance between two
answered images, rounded to fifths, within 0.4 and 1.2, so that it narrows as answers come closer; 1 before there are
two. The gain of an image only falls as others are chosen, so that most need not be computed again (lazy greedy;
Minoux 1978).

n images of the pool, T targets, C candidates, A answered.
"""

from __future__ import annotations

import heapq

import numpy as np

from annotate.kernels.blocks import BLOCK, across, products, slices
from annotate.kernels.vectors import Doubles, Floats, Ints

NARROWEST, WIDEST, FIRST_WIDTH, STEP = 0.4, 1.2, 1.0, 0.2  # of σ
MOST_KERNEL = 1 << 26  # entries of the kernel that are held: 268 MB
FEWEST_TARGETS = 4096  # images that stand for all, where these are too many
NEAR_ENOUGH = 1 << 22  # pairs of answered images in which the least distance is looked for


def width(answered: Floats) -> float:
    """σ by the answered images, (A, D) unit rows."""
    if len(answered) < 2:
        return FIRST_WIDTH
    some = answered[: int(NEAR_ENOUGH**0.5)]
    cosines = products(some, some)
    np.fill_diagonal(cosines, -1)
    least = float(np.sqrt(max(0.0, 2 - 2 * float(cosines.max()))))
    return float(np.clip(round(least / STEP) * STEP, NARROWEST, WIDEST))


def herd(images: Floats, unsure: Doubles, answered: Ints, free: Ints, count: int, *, sigma: float) -> Ints:
    """Images to ask about, the most telling first, (count,) or as many as say anything.

    images    (n, D) float32 unit rows, from their mean
    unsure    (n,) U, 0 to 1
    answered  rows that are answered
    free      rows that may be chosen
    """
    targets = stand_for_all(len(images), len(free))
    candidates = free if len(free) * len(targets) <= MOST_KERNEL else likeliest(unsure, free, len(targets))
    weights = np.asarray(unsure[targets], np.float32)
    kernel = kernel_of(images[candidates], images[targets], sigma)
    covered = np.zeros(len(targets), np.float32)
    for rows in slices(len(answered), 1024):
        near = kernel_of(images[answered[rows]], images[targets], sigma)
        np.maximum(covered, near.max(axis=0), out=covered)

    def gain(place: int) -> float:
        return float(np.maximum(kernel[place] - covered, 0) @ weights)

    first = np.concatenate(
        [*across(lambda rows: np.maximum(kernel[rows] - covered, 0) @ weights, slices(len(candidates), 512))]
    )
    waiting = [(-float(worth), place) for place, worth in enumerate(first)]
    heapq.heapify(waiting)
    chosen: list[int] = []
    while waiting and len(chosen) < count:
        _, place = heapq.heappop(waiting)
        worth = gain(place)
        if waiting and worth < -waiting[0][0]:
            heapq.heappush(waiting, (-worth, place))
            continue
        chosen.append(place)
        np.maximum(covered, kernel[place], out=covered)
    return candidates[np.array(chosen, np.int64)]


def stand_for_all(n: int, candidates: int) -> Ints:
    """Images whose gain is counted: all, or evenly spaced ones where the kernel would be too large."""
    most = max(FEWEST_TARGETS, MOST_KERNEL // max(1, candidates))
    return np.arange(n) if n <= most else (np.arange(most, dtype=np.int64) * n) // most


def likeliest(unsure: Doubles, free: Ints, targets: int) -> Ints:
    """Candidates where all are too many: half of them the least sure, half evenly spaced."""
    most = MOST_KERNEL // targets
    order = free[np.argsort(-unsure[free], kind="stable")]
    doubtful = order[: most // 2]
    rest = np.setdiff1d(free, doubtful)
    even = rest[(np.arange(most - len(doubtful), dtype=np.int64) * len(rest)) // max(1, most - len(doubtful))]
    return np.union1d(doubtful, even)


def kernel_of(rows: Floats, columns: Floats, sigma: float) -> Floats:
    """exp(-|x̂ - x̂'|² / σ²), (n, T)."""
    kernel = np.empty((len(rows), len(columns)), np.float32)

    def fill(part: slice) -> None:
        cosines = products(rows[part], columns)
        cosines -= 1
        cosines *= np.float32(2 / sigma**2)
        np.exp(cosines, out=kernel[part])

    for _ in across(fill, slices(len(rows), min(BLOCK, 1024))):
        pass
    return kernel
