"""Zero-shot classification: which class's words lie nearest to each image.

N images, K classes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import across, cached
from annotate.kernels.vectors import Floats, Ints

LOWEST = np.float32(
    -60
)  # a logit below the largest: exp(-60) changes no sum, and denormal powers take five times as long


def assign(similarity: Floats) -> Ints:
    """The nearest class of each image, (N,); the first of equals."""
    labels: Ints = similarity.argmax(axis=1).astype(np.int64)
    return labels


def row_maximum(similarity: Floats, labels: Ints | None = None) -> Floats:
    """The largest similarity of each image, (N, 1). It is found by its place, which takes numpy half the time.

    labels  of `assign`, where they are known
    """
    places = similarity.argmax(axis=1) if labels is None else labels
    largest: Floats = similarity[np.arange(len(places)), places][:, None]
    return largest


def probabilities(
    similarity: Floats, temperature: float, out: Floats | None = None, labels: Ints | None = None
) -> Floats:
    """softmax(similarity / temperature), (N, K) float32, rows sum to one.

    CLIP's own temperature is 1 / logit_scale, about 0.01 (Radford et al. 2021).

    out     to compute in
    labels  of `assign`, where they are known
    """
    weights: Floats = np.subtract(similarity, row_maximum(similarity, labels), out=out)
    weights *= np.float32(min(1 / temperature, 1e30))
    np.exp(weights, out=weights)
    weights *= 1 / weights.sum(axis=1, keepdims=True)
    return weights


def mean_confidence(similarity: Floats, temperature: float) -> float:
    """Mean over images of the largest probability."""
    return float(top_probability(similarity, temperature).mean())


def top_probability(similarity: Floats, temperature: float) -> npt.NDArray[np.float64]:
    """The largest probability of each image, without the (N, K) probabilities: 1 / Σ exp((s - max) / temperature)."""

    def largest(part: slice) -> npt.NDArray[np.float64]:
        gaps = similarity[part] - row_maximum(similarity[part])
        gaps *= np.float32(min(1 / temperature, 1e30))
        np.maximum(gaps, LOWEST, out=gaps)
        mass: npt.NDArray[np.float64] = np.exp(gaps, out=gaps).sum(axis=1, dtype=np.float64)
        return 1 / mass

    n, k = similarity.shape
    return np.concatenate([*across(largest, cached(slice(0, n), k))])
