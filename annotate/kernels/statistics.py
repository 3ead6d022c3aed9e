"""Statistics of confidences, the same in reports, pages and metadata."""

from __future__ import annotations

from typing import Any

import numpy as np

from annotate.kernels.vectors import Floats

HISTOGRAM_BINS = 20  # of 5 % each
SURE, DOUBTFUL = 0.9, 0.5  # confidence at which a label is called sure, and below which it is called doubtful


def statistics(confidences: Floats) -> dict[str, Any]:
    """Mean, spread, percentiles, shares and a histogram; null for what does not exist where there is no image."""
    histogram, _ = np.histogram(np.clip(confidences, 0, 1), HISTOGRAM_BINS, (0, 1))
    wide = confidences.astype(np.float64)
    some = len(wide) > 0
    return {
        "mean": float(wide.mean()) if some else None,
        "std": float(wide.std()) if some else None,
        **percentiles(confidences),
        "share_at_least_0.9": float((confidences >= np.float32(SURE)).mean()) if some else None,
        "share_below_0.5": float((confidences < DOUBTFUL).mean()) if some else None,
        "histogram": histogram.tolist(),
    }


def percentiles(confidences: Floats) -> dict[str, float | None]:
    """Least, percentiles and most; null where there is no image."""
    keys = ("min", "p10", "p25", "median", "p75", "p90", "max")
    if not len(confidences):
        return dict.fromkeys(keys)
    values = np.percentile(confidences.astype(np.float64), [0, 10, 25, 50, 75, 90, 100])
    return dict(zip(keys, values.tolist(), strict=True))
