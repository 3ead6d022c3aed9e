"""Grey values of 16 and more bits as the 8 bits of a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Greys = npt.NDArray[Any]
SHADES = 1 << 16  # that 16 bits can say; for more pixels than that, looking them up in a table is quicker
TAIL = 0.1  # percent of the values at each end that say nothing about where black and white lie


def black_and_white(values: Greys) -> tuple[float, float]:
    """Which values count as black and as white, for (H, W) whole numbers or floats.

    Whole numbers are taken as 16 bits, or as 32 where they exceed that; floats as 0 to 1, or 0 to 255. Where they have
    a scale of their own, below 0 or above 255, it reaches from their lowest to their highest. Single extreme values
    do not count, nor does what is not finite.
    """
    if values.dtype == np.uint16:
        return 0.0, 65535.0
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 1.0
    # The nearest values within, so that the outermost of a small picture is passed over, too.
    ends = (np.percentile(finite, TAIL, method="higher"), np.percentile(finite, 100 - TAIL, method="lower"))
    low, high = float(min(ends)), float(max(ends))
    for white in (1.0, 255.0) if values.dtype.kind == "f" else (65535.0, float(np.iinfo(values.dtype).max)):
        if low >= 0 and high <= white:
            return 0.0, white
    return low, max(high, math.nextafter(low, math.inf))


def eight_bit(values: Greys, black: float, white: float) -> npt.NDArray[np.uint8]:
    """On the scale 0 to 255; what is not a number is black."""
    if values.dtype == np.uint16 and values.size > SHADES:
        return eight_bit(np.arange(SHADES, dtype=np.uint32), black, white)[values]
    scaled = (np.nan_to_num(values.astype(np.float64), nan=black, posinf=white, neginf=black) - black) / (white - black)
    return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
