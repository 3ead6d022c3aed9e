"""8-bit RGB of whatever a file holds: more bits, other kinds of grey, transparency, other colour spaces."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from annotate.images.greys import Greys, black_and_white, eight_bit
from annotate.images.orientation import Pixels

if TYPE_CHECKING:
    from PIL import Image

BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF, and what they may say
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF", "F;64BF": "F;64NF"}
STRIP = 1 << 20  # pixels converted at once


def know_more_greys() -> None:
    """Teach Pillow the grey TIFFs that its decoders can read and its table of kinds lacks.

    16 and 32 bits, with and without sign, in either order of bytes, also where 0 is white; floats of 64 bits.
    """
    from PIL.TiffImagePlugin import II, MM, OPEN_INFO

    for order, mark in ((II, ""), (MM, "B")):
        for photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
            for sample_format, bits, kind in (
                (UNSIGNED, 16, (f"I;16{mark}", f"I;16{mark}")),
                (SIGNED, 16, ("I", f"I;16{mark}S")),
                (UNSIGNED, 32, ("I", f"I;32{mark}S")),
                (SIGNED, 32, ("I", f"I;32{mark}S")),
                (FLOAT, 32, ("F", f"F;32{mark}F")),
                (FLOAT, 64, ("F", f"F;64{mark}F")),
            ):
                OPEN_INFO.setdefault((order, photometric, (sample_format,), 1, (bits,), ()), kind)


def set_byte_order(image: Image.Image) -> None:
    """libtiff hands out values in the order of this machine, which Pillow knows for the commonest kinds alone."""
    for i, tile in enumerate(getattr(image, "tile", ())):
        if tile[0] == "libtiff" and tile[3][0] in NATIVE:
            image.tile[i] = tile._replace(args=(NATIVE[tile[3][0]], *tile[3][1:]))  # type: ignore[attr-defined]


def scale_key_colour(image: Image.Image, depth: int) -> None:
    """The colour that a PNG calls transparent, on the scale of 8 bits to which Pillow has brought the pixels."""
    key = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(key, tuple) and depth == 16:
        image.info["transparency"] = tuple(value >> 8 for value in key)
    elif image.mode == "L" and isinstance(key, int) and depth < 8:
        image.info["transparency"] = key * 255 // ((1 << depth) - 1)


def rgb_on_white(image: Image.Image) -> Pixels:
    """8-bit RGB of any mode, (H, W, 3): greys of more bits become 8, transparency is laid on white.

    Made strip by strip, so that the copies on the way are small.
    """
    width, height = image.size
    convert = grey_converter(image) if image.mode in ("I", "F") or image.mode.startswith("I;") else rgb_pixels
    pixels = np.empty((height, width, 3), np.uint8)
    rows = max(1, STRIP // width)
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows] = convert(strip)
    return pixels


def rgb_pixels(image: Image.Image) -> Pixels:
    from PIL.Image import alpha_composite, new

    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        colours = image.convert("RGBA")
        paper = new("RGBA", colours.size, "white")
        image = alpha_composite(paper, colours)
    elif image.mode == "LAB":
        from PIL import ImageCms

        to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        image = ImageCms.applyTransform(image, to_rgb) or image
    return np.asarray(image.convert("RGB"))


def grey_converter(image: Image.Image) -> Callable[[Image.Image], Pixels]:
    """What turns strips of this image of 16 or more bits into (H, W, 1) uint8."""
    tags = getattr(image, "tag_v2", {})
    unsigned = tags.get(BITS_PER_SAMPLE) == (32,) and tags.get(SAMPLE_FORMAT, (UNSIGNED,)) == (UNSIGNED,)
    white_is_zero = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    transparent = image.info.get("transparency")

    def values(strip: Image.Image) -> Greys:
        greys = np.asarray(strip)
        return greys.view(np.uint32) if unsigned else greys

    black, white = black_and_white(values(sampled(image)))

    def convert(strip: Image.Image) -> Pixels:
        greys = values(strip)
        shades = eight_bit(greys, black, white)
        if white_is_zero:
            shades = 255 - shades
        if transparent is not None:
            shades[greys == transparent] = 255
        return shades[:, :, None]

    return convert


def sampled(image: Image.Image) -> Image.Image:
    """The image, or pixels spread over it where it has more than about a million."""
    from PIL.Image import Resampling

    width, height = image.size
    step = math.sqrt(width * height / STRIP)
    if step <= 1 or image.mode.startswith("I;"):
        return image
    return image.resize((max(1, int(width / step)), max(1, int(height / step))), Resampling.NEAREST)
