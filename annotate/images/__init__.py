"""Decode images, upright, within what an image may cost.

An image is decoded to upright 8-bit RGB as a person would see it on white paper, then cut to the square
that CLIP looks at: bicubic to the short side, centre crop (the preprocessing of Radford et al. 2021).
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from annotate.images.allowance import MOST_SECONDS, PIXEL_MEMORY, TimedReader, share
from annotate.images.colours import know_more_greys, rgb_on_white, scale_key_colour, set_byte_order
from annotate.images.costs import ICON, JPEGS, check_icon, check_megapixels, check_memory, check_scans, memory_for
from annotate.images.crop import square
from annotate.images.formats import is_image as is_image
from annotate.images.formats import is_tga, reads_heic
from annotate.images.mending import mended
from annotate.images.orientation import Pixels, exif_orientation, upright
from annotate.images.refusal import Unavailable as Unavailable
from annotate.images.refusal import Unreadable as Unreadable
from annotate.images.refusal import is_final, refusal

if TYPE_CHECKING:
    from PIL import Image

PILLOW_FORMATS = ("HEIF", "JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "PPM", "ICO", "DIB", "TGA")
PNG_DEPTH = 24  # where a PNG says how many bits a sample has
DRAFT_MARGIN = 2  # a large JPEG is decoded to at least this many times the crop, so that bicubic still averages


@dataclass(frozen=True)
class Decoded:
    """One square of an image for the encoder, and what is known of the whole, whatever is cut from it.

    pixels         (R, R, 3) uint8
    orientation    EXIF's, which was applied
    width, height  of the upright whole, in pixels: what boxes are measured in
    """

    pixels: Pixels
    orientation: int
    width: int
    height: int


def read_image(content: bytes, *, resolution: int, max_megapixels: float) -> Decoded:
    """The crop that the encoder sees, of the bytes of a file, and what is known of the picture.

    resolution      R, side of the crop in pixels
    max_megapixels  of the whole image, by its header
    raises          Unreadable with the reason
    """
    if not content:
        raise Unreadable("empty file")
    with decoded_picture(content, side=resolution, max_megapixels=max_megapixels) as whole:
        width, height = whole.size
        crop = square(whole.pixels, resolution, whole=(height, width), orientation=whole.turn)
        return Decoded(np.array(crop), whole.orientation, *whole.upright_size)


def thumbnail(content: bytes, *, side: int, max_megapixels: float) -> Image.Image:
    """The whole image of a file's bytes, upright on white, at most `side` pixels on its longer side.

    raises  Unreadable with the reason
    """
    from PIL.Image import fromarray

    with decoded_picture(content, side=side, max_megapixels=max_megapixels) as whole:
        picture = fromarray(np.ascontiguousarray(whole.upright))
        picture.thumbnail((side, side))
        return picture


@dataclass(frozen=True)
class Whole:
    """The image as decoded, (H, W, 3) uint8 RGB on white, and the full size of it in this position.

    orientation  what EXIF says of the file
    turn         what of that is still to be applied; the decoders of some formats turn by themselves
    """

    pixels: Pixels
    size: tuple[int, int]
    orientation: int
    turn: int

    @property
    def upright(self) -> Pixels:
        """As it is to be seen; any part of it may be cut."""
        return upright(self.pixels, self.turn)

    @property
    def upright_size(self) -> tuple[int, int]:
        """Width and height of the image as it is to be seen, decoded in full."""
        width, height = self.size
        return (height, width) if self.turn >= 5 else (width, height)


@contextlib.contextmanager
def decoded_picture(content: bytes, *, side: int, max_megapixels: float) -> Iterator[Whole]:
    """The whole image, within what an image and all of them together may take; it counts until it is left.

    side    pixels that matter: a JPEG of twice that or more is decoded at a fraction of its size, H and W are smaller
    raises  Unreadable with the reason
    """
    with contextlib.ExitStack() as taken:
        try:
            whole = decode(content, side, max_megapixels, taken)
        except Exception as error:  # decoders pass on whatever their libraries raise; one file must not end the run
            taken.close()
            try:
                better = None if is_final(error) else mended(content)
                if better is None:
                    raise error
                whole = decode(better, side, max_megapixels, taken, copied=len(better))
            except Exception as again:
                raise refusal(again if is_final(again) else error, content) from None
        yield whole


def decode(content: bytes, side: int, max_megapixels: float, taken: contextlib.ExitStack, *, copied: int = 0) -> Whole:
    """What it takes of all images' memory is given back when `taken` is closed.

    copied  bytes of the file that are held a second time
    raises  whatever the decoders raise, Unreadable where it would cost too much
    """
    from PIL import Image

    seconds = MOST_SECONDS * share(max_megapixels)
    if content.startswith(ICON):
        check_icon(content)
    with Image.open(TimedReader(content, seconds), formats=formats_to_try(content)) as image:
        check_megapixels(image.size, max_megapixels)
        if image.format in JPEGS:
            check_scans(content, image.size, seconds)
        need = copied + memory_for(image, content)
        check_memory(len(content) + need, max_megapixels)
        taken.enter_context(PIXEL_MEMORY.taken(need))
        is_jpeg, is_tiff = image.format in JPEGS, image.format == "TIFF"
        # Asked for its orientation, a PNG is decoded, and that it is broken would be lost.
        orientation = exif_orientation(image) if is_jpeg or is_tiff else 1
        pixels = jpeg_pixels(content, side) if is_jpeg and image.mode in ("RGB", "L") else None
        if pixels is not None:
            return Whole(pixels, image.size, orientation, orientation)
        size = image.size
        if is_tiff:
            set_byte_order(image)
        image.draft(None, (DRAFT_MARGIN * side, DRAFT_MARGIN * side))
        image.load()
        if image.format == "PNG":
            scale_key_colour(image, depth=content[PNG_DEPTH])
        if not is_jpeg:  # which alone comes smaller; a TIFF comes turned
            size = image.size
        turn = exif_orientation(image)
        return Whole(rgb_on_white(image), size, orientation if is_tiff else turn, turn)


def formats_to_try(content: bytes) -> list[str]:
    """TGA only where it is one: Pillow takes many a broken file for it."""
    return [name for name in readable_formats() if name != "TGA" or is_tga(content)]


def jpeg_pixels(content: bytes, side: int) -> Pixels | None:
    """A JPEG through libjpeg-turbo, at the eighths of its size that still leave twice `side`; None leaves it to Pillow.

    The same library as Pillow's, asked for finer steps than halves, and without Pillow's copies.
    """
    import simplejpeg

    try:
        pixels: Pixels = simplejpeg.decode_jpeg(
            content, "RGB", min_height=DRAFT_MARGIN * side, min_width=DRAFT_MARGIN * side
        )
    except ValueError:  # broken, or merely odd: Pillow tells which
        return None
    return pixels


# -- decoders ------------------------------------------------------------------------------------------


@lru_cache
def readable_formats() -> list[str]:
    """The formats that this Pillow can read; old builds lack AVIF, and HEIC is an extra."""
    from PIL import Image

    if reads_heic():
        import pi_heif

        pi_heif.register_heif_opener()
    Image.init()
    know_more_greys()
    return [name for name in PILLOW_FORMATS if name in Image.OPEN]


@contextlib.contextmanager
def own_pixel_budget() -> Iterator[None]:
    """Let our budget, not Pillow's global one, decide which images are too large; its warnings become our rows."""
    from PIL import Image

    before, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"PIL\.")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
