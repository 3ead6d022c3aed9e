"""Which way up a photo is: what EXIF says, and turning the picture so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

ORIENTATION_TAG = 0x0112
Pixels = npt.NDArray[np.uint8]


def exif_orientation(image: Image.Image) -> int:
    """1 to 8 as EXIF defines them; 1, upright, where it says nothing sensible."""
    try:
        value = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # broken EXIF raises as many ways as there are fields; the picture may still be whole
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """The picture as it is to be seen: a view, turned and mirrored as EXIF's `orientation` says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
