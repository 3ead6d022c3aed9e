"""The plain way to CLIP's crop, as the original pipeline and most tools go: Pillow decodes all of it, then resizes."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

Pixels = npt.NDArray[np.uint8]


def read(content: bytes, resolution: int, *, turned: bool = False) -> Pixels:
    """Bytes of a file to (R, R, 3) uint8: bicubic to the short side, then the centre.

    turned  as EXIF says; the plain way is not to look
    """
    with Image.open(io.BytesIO(content)) as opened:
        image = (ImageOps.exif_transpose(opened) if turned else opened).convert("RGB")
    width, height = image.size
    short = min(width, height)
    new_w, new_h = int(resolution * width / short), int(resolution * height / short)
    image = image.resize((new_w, new_h), Image.Resampling.BICUBIC)
    left, top = round((new_w - resolution) / 2), round((new_h - resolution) / 2)
    return np.asarray(image.crop((left, top, left + resolution, top + resolution)))


def read_files(paths: Sequence[str], resolution: int) -> Pixels:
    """(B, R, R, 3), one file after another."""
    contents = []
    for path in paths:
        with open(path, "rb") as file:
            contents.append(file.read())
    return np.stack([read(content, resolution) for content in contents])
