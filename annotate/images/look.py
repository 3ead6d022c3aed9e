"""A small grey look at a whole image: what copies of it have in common, and what is wrong with it.

The look leaves out plain borders, so that a frame does not hide a copy.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotate.images import decoded_picture

if TYPE_CHECKING:
    pass

Bytes = npt.NDArray[np.uint8]

SIDE = 32  # pixels of the look
WORKING = 128  # pixels of the shorter side at which an image is judged, where it has them
PLAIN = 10  # grey levels: the pixels of a border differ by no more
LARGEST_BORDER = 0.3  # of a side
MAKE, MODEL, TIME, DETAILS, SERIAL, TAKEN = 271, 272, 306, 0x8769, 0xA431, 0x9003  # tags of EXIF


@dataclass(frozen=True)
class Look:
    """What a pass over the files finds out about one of them.

    grey        (SIDE, SIDE) of the picture without its plain borders
    brightness  mean grey, 0 black to 1 white; the darkest and the lightest twentieth
    sharpness   how strongly neighbouring pixels differ where they differ most, 0 to 1
    detail      bits that a pixel says, 0 for one colour
    filled      part of the picture that is not its background
    """

    grey: Bytes
    brightness: tuple[float, float, float]
    sharpness: float
    detail: float
    filled: float


def look_at(content: bytes, *, max_megapixels: float) -> Look:
    """raises  Unreadable with the reason"""
    from PIL import Image

    with decoded_picture(content, side=WORKING // 2, max_megapixels=max_megapixels) as whole:
        picture = Image.fromarray(np.ascontiguousarray(whole.upright)).convert("L")
    width, height = picture.size
    if min(width, height) > WORKING:
        scale = WORKING / min(width, height)
        picture = picture.resize((round(width * scale), round(height * scale)), Image.Resampling.BOX)
    grey = np.asarray(picture)
    top, bottom, left, right = without_borders(grey)
    small = picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(left, top, right, bottom), reducing_gap=None)
    return Look(np.asarray(small), brightness(grey), sharpness(grey), detail(grey), filled(grey))


def without_borders(grey: Bytes) -> tuple[int, int, int, int]:
    """Top, bottom, left and right of what is left when plain rows and columns at the edges are taken away."""
    height, width = grey.shape
    top, bottom = plain_edges(grey)
    left, right = plain_edges(grey[top : height - bottom].T)
    return top, height - bottom, left, width - right


def plain_edges(grey: Bytes) -> tuple[int, int]:
    """How many rows at either end are of one grey, the same in all of them."""
    rows = grey.astype(np.int16)
    low, high = np.sort(rows, axis=1)[:, [len(rows[0]) // 50, -1 - len(rows[0]) // 50]].T
    most = int(LARGEST_BORDER * len(rows))

    def count(low: Any, high: Any) -> int:
        plain = (np.maximum.accumulate(high[:most]) - np.minimum.accumulate(low[:most])) <= PLAIN
        if plain.all():  # no border, but a plain picture
            return 0
        border = int(np.argmin(plain))
        return border + (border > 0)  # where it meets the picture, a row is of both

    return count(low, high), count(low[::-1], high[::-1])


def brightness(grey: Bytes) -> tuple[float, float, float]:
    dark, light = np.percentile(grey, (5, 95)) / 255
    return float(grey.mean() / 255), float(dark), float(light)


def sharpness(grey: Bytes) -> float:
    """The largest hundredth of steps between neighbours, against the range of greys."""
    levels = grey.astype(np.float32)
    inner = levels[1:-1, 1:-1]
    if not inner.size:
        return 0.0
    bends = np.abs(4 * inner - levels[:-2, 1:-1] - levels[2:, 1:-1] - levels[1:-1, :-2] - levels[1:-1, 2:])
    spread = float(np.percentile(levels, 98) - np.percentile(levels, 2))
    return float(np.percentile(bends, 98) / max(spread, 8.0))


def detail(grey: Bytes) -> float:
    """The entropy of its greys in bits."""
    parts = np.bincount(grey.ravel() >> 2, minlength=64) / grey.size
    parts = parts[parts > 0]
    return float(-(parts * np.log2(parts)).sum())


def filled(grey: Bytes) -> float:
    """Part of the pixels whose grey differs from that of the edge, where the edge is plain; else 1."""
    edge = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]]).astype(np.int16)
    background = int(np.median(edge))
    if (np.abs(edge - background) > 2 * PLAIN).mean() > 0.1:
        return 1.0
    return float((np.abs(grey.astype(np.int16) - background) > 2 * PLAIN).mean())


# -- what the camera wrote -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Shot:
    """Which camera took a photo, and when, in seconds of its own clock; nothing where EXIF does not say."""

    camera: str = ""
    seconds: float | None = None


def shot_of(content: bytes) -> Shot:
    """From the EXIF of a file's bytes; nothing is decoded."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["JPEG", "MPO", "TIFF", "WEBP", "PNG"]) as image:
            if "exif" not in image.info:
                return Shot()
            tags = image.getexif()
            further = tags.get_ifd(DETAILS)
        camera = " ".join(
            str(tag).strip("\0 ") for tag in (tags.get(MAKE), tags.get(MODEL), further.get(SERIAL)) if tag
        )
        return Shot(camera, seconds_of(str(further.get(TAKEN) or tags.get(TIME) or "")))
    except Exception:  # broken EXIF raises as many ways as there are fields; the picture may still be whole
        return Shot()


def seconds_of(text: str) -> float | None:
    try:
        return (datetime.strptime(text.strip("\0 "), "%Y:%m:%d %H:%M:%S") - datetime(1970, 1, 1)).total_seconds()
    except ValueError:
        return None
