"""Confidence: making it mean something, and measuring whether it does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats
from annotate.kernels.zeroshot import mean_confidence

COLDEST, HOTTEST = 1e-4, 1e2  # bounds of the search for a temperature
HALVINGS = 30


def matching_temperature(similarity: Floats, target: float) -> float:
    """The temperature at which the mean confidence is `target`, by bisection on its logarithm.

    Refined prototypes separate images more widely than the words they came from, so the model's own
    temperature would overstate what is known. Zero-shot probabilities at the model's scale are nearly
    calibrated; their mean confidence is therefore the target.

    similarity  (N, K) cosines to the refined prototypes
    """
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if mean_confidence(similarity, float(np.exp(middle))) > target:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in equal-width bins; empty bins are left out.

    confidence, accuracy, share  (bins,) mean confidence, share right, share of all images
    """

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean gap between confidence and accuracy, by share."""
        return float((self.share * np.abs(self.confidence - self.accuracy)).sum())


def reliability(confidences: npt.NDArray[np.floating], right: npt.NDArray[np.bool_], bins: int = 15) -> Reliability:
    """How often images of each confidence are right."""
    bin_of = np.minimum((confidences * bins).astype(int), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    used = counts > 0
    confidence = np.bincount(bin_of, weights=confidences, minlength=bins)[used] / counts[used]
    accuracy = np.bincount(bin_of, weights=right.astype(float), minlength=bins)[used] / counts[used]
    return Reliability(confidence, accuracy, counts[used] / max(1, len(confidences)))
