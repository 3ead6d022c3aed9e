"""Find, decode, orient and crop images; the pixel budget.

An image is decoded to upright 8-bit RGB as a person would see it on white paper, then cut to the square
that CLIP looks at: bicubic to the short side, centre crop (the preprocessing of Radford et al. 2021).
"""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from annotate.errors import InputError, printable
from annotate.formats import Found, Sieve, first_bytes, is_tga, reads_heic
from annotate.formats import is_image as is_image
from annotate.records import SkippedFile

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("HEIF", "JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "PPM", "ICO", "DIB", "TGA")
ORIENTATION_TAG = 0x0112
JPEGS = ("JPEG", "MPO")  # MPO: what phones write, a JPEG with further pictures behind it
DRAFT_MARGIN = 2  # a large JPEG is decoded to at least this many times the crop, so that bicubic still averages
TINY = 1e-6  # of a pixel, so that a size which is divided and multiplied again is not one less
MAX_ASPECT = 16  # beyond this the long side is cut before resizing: the crop shows its middle alone


Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Decoded:
    """The crop for the encoder, (R, R, 3) uint8; the EXIF orientation that was applied; size of the upright whole."""

    pixels: Pixels
    orientation: int
    width: int
    height: int


class Unreadable(Exception):
    """This file is not an image that can be used; the message becomes its row in skipped.json."""


class Unavailable(Unreadable):
    """This machine could not read or decode it just now. That is no fact about the file: the next run tries again."""


def find_images(folder: Path, leave_out: Path | None = None) -> Found:
    """The images below a folder, recursively, and what could not be read.

    A file whose name does not tell what it is counts as an image where its first bytes are those of one. Hidden files
    and folders are passed over, and the bins and previews of systems. Links are followed, each real folder is entered
    once.

    leave_out  a folder that is not searched: the workspace, whose figures are images too
    raises  InputError where the folder is missing or not a folder
    """
    if not folder.exists():
        raise InputError(f"no folder {printable(folder)}", hint="check the path; quote it where it has spaces")
    if not folder.is_dir():
        raise InputError(f"{printable(folder)}: a file, not a folder", hint="give the folder that holds the images")
    # A path is named from the root of the disk, so that artifacts keep their meaning wherever they are read.
    top = Path(os.path.abspath(folder))
    found: list[str] = []
    closed: list[SkippedFile] = []
    sieve = Sieve()
    entered: set[tuple[int, int]] = set()
    if leave_out and leave_out.exists():
        status = leave_out.stat()
        entered.add((status.st_dev, status.st_ino))
    real, linked = deque([top]), deque[Path]()
    while real or linked:
        # Real folders before links to them, then by name: which of two ways leads in does not depend on the disk.
        here = (real or linked).popleft()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(here), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if here == top:
                raise InputError(f"{printable(folder)}: {error.strerror}", hint="check its permissions") from error
            closed.append({"path": str(here), "reason": f"folder cannot be read: {error.strerror}"})
            continue
        for entry in entries:
            if is_folder(entry):
                if sieve.enters(entry.path.removeprefix(f"{top}/")):
                    (linked if entry.is_symlink() else real).append(Path(entry.path))
            elif sieve.takes(entry.name, entry.path, partial(first_bytes, entry.path)):
                found.append(entry.path)
    found.sort(key=os.fsencode)
    return Found(found, [*closed, *sieve.passed_over], sieve.folders)


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False


def read_image(content: bytes, *, resolution: int, max_megapixels: float) -> Decoded:
    """The crop that the encoder sees, of the bytes of a file, and what is known of the picture.

    resolution      R, side of the crop in pixels
    max_megapixels  of the whole image, by its header
    raises          Unreadable with the reason
    """
    if not content:
        raise Unreadable("empty file")
    pixels, (width, height), orientation = decode(content, side=resolution, max_megapixels=max_megapixels)
    crop = square(pixels, resolution, whole=(height, width), orientation=orientation)
    if orientation >= 5:
        width, height = height, width
    return Decoded(crop, orientation, width, height)


def thumbnail(content: bytes, *, side: int, max_megapixels: float) -> Image.Image:
    """The whole image of a file's bytes, upright on white, at most `side` pixels on its longer side.

    raises  Unreadable with the reason
    """
    from PIL.Image import fromarray

    pixels, _, orientation = decode(content, side=side, max_megapixels=max_megapixels)
    picture = fromarray(np.ascontiguousarray(upright(pixels, orientation)))
    picture.thumbnail((side, side))
    return picture


def decode(content: bytes, *, side: int, max_megapixels: float) -> tuple[Pixels, tuple[int, int], int]:
    """The image as stored, (H, W, 3) uint8 RGB on white, its full width and height, and its EXIF orientation.

    side    pixels that matter: a JPEG of twice that or more is decoded at a fraction of its size, H and W are smaller
    raises  Unreadable with the reason
    """
    from PIL import Image, UnidentifiedImageError

    formats = readable_formats()
    if not is_tga(content):  # Pillow takes many a broken file for one
        formats = [name for name in formats if name != "TGA"]
    try:
        with Image.open(io.BytesIO(content), formats=formats) as image:
            size = image.size
            check_budget(size, max_megapixels)
            orientation = exif_orientation(image)
            pixels = jpeg_pixels(content, side) if image.format in JPEGS and image.mode in ("RGB", "L") else None
            if pixels is None:
                image.draft(None, (DRAFT_MARGIN * side, DRAFT_MARGIN * side))
                pixels = np.array(rgb_on_white(image))
            return pixels, size, orientation
    except Unreadable:
        raise
    except UnidentifiedImageError:
        raise Unreadable("not an image") from None
    except Image.DecompressionBombError:
        raise Unreadable("too many pixels to decode safely") from None
    except MemoryError:
        raise Unavailable("not enough memory to decode it") from None
    except Exception as error:  # decoders pass on whatever their libraries raise; one file must not end the run
        if is_of_the_machine(error):
            raise Unavailable(f"cannot be decoded now: {' '.join(str(error).split())}") from None
        raise Unreadable(f"broken image: {' '.join(str(error).split()) or type(error).__name__}") from None


def is_of_the_machine(error: Exception) -> bool:
    """Whether a decoder failed for lack of files, memory or a library, rather than for what the file holds."""
    lacks = isinstance(error, OSError) and error.errno is not None
    return lacks or isinstance(error, ImportError) or "out of memory" in str(error)


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


def check_budget(size: tuple[int, int], max_megapixels: float) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        raise Unreadable(f"{megapixels:.0f} megapixels, the budget is {max_megapixels:g} (embed.max_megapixels)")


@lru_cache
def readable_formats() -> list[str]:
    """The formats that this Pillow can read; old builds lack AVIF, and HEIC is an extra."""
    from PIL import Image

    if reads_heic():
        import pi_heif

        pi_heif.register_heif_opener()
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


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


def rgb_on_white(image: Image.Image) -> Image.Image:
    """8-bit RGB of any mode: full-scale 16 bit to 8, transparency laid on white."""
    from PIL.Image import alpha_composite, fromarray, new

    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return fromarray(eight_bit(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        colours = image.convert("RGBA")
        paper = new("RGBA", colours.size, "white")
        return alpha_composite(paper, colours).convert("RGB")
    if image.mode == "LAB":
        from PIL import ImageCms

        to_rgb = ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
        return ImageCms.applyTransform(image, to_rgb) or image
    return image.convert("RGB")


def eight_bit(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Grey values of 16 or 32 bits, or floats, on the scale 0 to 255.

    Whole numbers are taken as 16 bits, or as 32 where they exceed that; floats as 0 to 1, or 0 to 255.
    """
    wide = np.nan_to_num(values.astype(np.float64))
    top = float(wide.max(initial=0.0))
    if values.dtype.kind == "f":
        full = 1.0 if top <= 1 else 255.0 if top <= 255 else top
    else:
        full = 65535.0 if top <= 65535 else float(2**32 - 1) if top > 2**31 - 1 else float(2**31 - 1)
    return np.rint(np.clip(wide / full, 0, 1) * 255).astype(np.uint8)


def square(pixels: Pixels, resolution: int, *, whole: tuple[int, int] | None = None, orientation: int = 1) -> Pixels:
    """CLIP's crop: bicubic to the short side, then the centre. (H, W, 3) to (R, R, 3) uint8.

    Resized by PyTorch's antialiased kernel for bytes, which follows Pillow's to a few levels of 255 at worst and is
    four times as fast; rounding and cropping are torchvision's.

    whole        height and width of the image where `pixels` are a reduced decode of it, by eighths
    orientation  EXIF's, to be applied
    """
    import torch

    height, width, _ = pixels.shape
    full_h, full_w = whole or (height, width)
    # What is left of the last row and column of a reduced decode counts: 206.25 rows come as 207.
    true_h, true_w = full_h * eighths(height, full_h) / 8, full_w * eighths(width, full_w) / 8
    short = min(width, height)
    if max(width, height) > MAX_ASPECT * short:
        keep_w, keep_h = min(width, MAX_ASPECT * short), min(height, MAX_ASPECT * short)
        left, top = (width - keep_w) // 2, (height - keep_h) // 2
        pixels = np.ascontiguousarray(pixels[top : top + keep_h, left : left + keep_w])
        full_h, full_w = height, width = keep_h, keep_w
        true_h, true_w = float(keep_h), float(keep_w)
    if full_w <= full_h:
        new_h, new_w = int(resolution * full_h / full_w), resolution
    else:
        new_h, new_w = resolution, int(resolution * full_w / full_h)
    if (new_h, new_w) != (height, width):
        planes = torch.from_numpy(pixels).permute(2, 0, 1)[None]  # (1, 3, H, W), channels last
        scale = (new_h + TINY) / true_h, (new_w + TINY) / true_w
        resized = torch.nn.functional.interpolate(
            planes, scale_factor=scale, recompute_scale_factor=False, mode="bicubic", antialias=True
        )
        pixels = resized[0].permute(1, 2, 0).numpy()
    pixels = upright(pixels, orientation)
    height, width, _ = pixels.shape
    left, top = round((width - resolution) / 2), round((height - resolution) / 2)
    return pixels[top : top + resolution, left : left + resolution]


def eighths(reduced: int, full: int) -> int:
    """At how many eighths of its side an image was decoded; what is left over was rounded up."""
    return 8 if reduced >= full else 8 * reduced // full
