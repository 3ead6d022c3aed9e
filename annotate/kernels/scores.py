"""How many labels are right, class by class, where the true classes are known. K classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Ints


def confusion(truth: Ints, labels: Ints, k: int) -> npt.NDArray[np.int64]:
    """(K, K) counts: row true class, column label."""
    return np.bincount(truth * k + labels, minlength=k * k).reshape(k, k)


def precision_recall(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Precision and recall of each class, (K,) each; nan where no image has the label, or none is of the class."""
    right = np.diag(counts).astype(np.float64)
    with np.errstate(invalid="ignore"):
        return right / counts.sum(axis=0), right / counts.sum(axis=1)
