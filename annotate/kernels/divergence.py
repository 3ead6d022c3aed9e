"""How near soft labels are to what people said: the data-centric labelling benchmark's own scores.

N images, K classes.
"""

from __future__ import annotations

import numpy as np

from annotate.kernels.vectors import Doubles, Ints

CLIP = 1e-5  # both sides of a divergence lie within this and one less this
BINS = 10  # of the calibration error


def divergences(true: Doubles, said: Doubles) -> Doubles:
    """KL of each image, (N,): Σ_k y ln(y / x), y the truth, both clipped to [1e-5, 1 - 1e-5]."""
    y, x = np.clip(true, CLIP, 1 - CLIP), np.clip(said, CLIP, 1 - CLIP)
    return np.asarray((y * np.log(y / x)).sum(axis=1))


def scores(true: Doubles, said: Doubles) -> dict[str, float]:
    """Clipped KL, macro F1, accuracy averaged over classes, and calibration error, of (N, K) shares."""
    labels, answers = true.argmax(axis=1), said.argmax(axis=1)
    f1, recall = per_class(labels, answers, true.shape[1])
    return {
        "kl": float(divergences(true, said).mean()),
        "f1": float(np.mean(f1)),
        "accuracy": float(np.mean(recall)),
        "ece": calibration_error(said.max(axis=1), labels == answers),
    }


def per_class(labels: Ints, answers: Ints, k: int) -> tuple[list[float], list[float]]:
    """F1 of each class that occurs on either side, and recall of each that occurs in the truth."""
    f1, recall = [], []
    for c in range(k):
        true, said, both = (labels == c).sum(), (answers == c).sum(), ((labels == c) & (answers == c)).sum()
        if true + said:
            f1.append(float(2 * both / (true + said)))
        if true:
            recall.append(float(both / true))
    return f1, recall


def calibration_error(sure: Doubles, right: np.ndarray) -> float:
    """Mean gap between confidence and accuracy over ten equal bins, weighted by images."""
    places = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(places, sure - right, BINS)
    return float(np.abs(gaps).sum() / len(sure))


def kappa(one: Ints, other: Ints, k: int) -> float:
    """Cohen's kappa of two labellings of the same images; -1 is unknown, and such images do not count.

    1 where both agree everywhere, 0 where they agree as chance would.
    """
    both = (one >= 0) & (other >= 0)
    table = np.bincount(one[both] * k + other[both], minlength=k * k).reshape(k, k) / max(1, both.sum())
    agreed, chance = float(np.trace(table)), float(table.sum(axis=1) @ table.sum(axis=0))
    return 1.0 if chance >= 1 else (agreed - chance) / (1 - chance)
