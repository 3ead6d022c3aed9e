"""Find, decode, orient and crop images, within what an image may cost.

An image is decoded to upright 8-bit RGB as a person would see it on white paper, then cut to the square
that CLIP looks at: bicubic to the short side, centre crop (the preprocessing of Radford et al. 2021).
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from annotate.errors import InputError, printable
from annotate.images import own
from annotate.images.allowance import MOST_MEMORY, MOST_SECONDS, PIXEL_MEMORY, TimedReader, TooSlow, share
from annotate.images.formats import FoundImages, Sieve, first_bytes, is_tga, reads_heic
from annotate.images.formats import is_image as is_image
from annotate.images.greys import Greys, black_and_white, eight_bit
from annotate.images.mending import comes_in_scans, count_scans, mended
from annotate.records import SkippedFile

if TYPE_CHECKING:
    from PIL import Image

PILLOW_FORMATS = ("HEIF", "JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "AVIF", "PPM", "ICO", "DIB", "TGA")
ORIENTATION_TAG = 0x0112
BITS_PER_SAMPLE, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF, and what they may say
PNG_DEPTH = 24  # where a PNG says how many bits a sample has
WHITE_IS_ZERO, BLACK_IS_ZERO = 0, 1
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
NATIVE = {"I;16BS": "I;16NS", "I;32BS": "I;32NS", "F;32BF": "F;32NF", "F;64BF": "F;64NF"}
JPEGS = ("JPEG", "MPO")  # MPO: what phones write, a JPEG with further pictures behind it
SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"II*\0": "TIFF", b"MM\0*": "TIFF"}
ICON, ICON_ENTRY = b"\0\0\1\0", 16  # how an icon begins, and bytes of an entry in its list of pictures
LARGEST_ICON = 4 << 20  # pixels; twice those of the picture where its mask is counted
DRAFT_MARGIN = 2  # a large JPEG is decoded to at least this many times the crop, so that bicubic still averages
ROUND_UP = 1e-6  # of a pixel, so that a size which is divided and multiplied again is not one less
STRIP = 1 << 20  # pixels converted at once
STRIP_BYTES = 48  # for each of them, in the copies on the way from one kind of pixel to another
# Bytes a pixel at the peak, measured; other formats are decoded in little more than their pixels.
WHILE_DECODING = {"WEBP": 16, "AVIF": 16, "HEIF": 16, "GIF": 8, "TGA": 8, "PPM": 12}
COEFFICIENT = 2  # bytes; a JPEG in scans keeps one for each pixel and component
# Seconds a scan of a JPEG takes: 1.1 ns a pixel at worst, measured on a Xeon of 2023, doubled for slower machines.
SCAN_PIXEL, SCAN = 2e-9, 5e-6
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


def find_images(folder: Path, leave_out: Path | None = None) -> FoundImages:
    """The images below a folder, recursively, and what could not be read.

    A file whose name does not tell what it is counts as an image where its first bytes are those of one. Hidden files
    and folders are passed over, and the bins and previews of systems. Links are followed, each real folder is entered
    once. Datasets and reports that annotate made are passed over, and named among what could not be read.

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
            entries: Sequence[os.DirEntry[str]] = sorted(os.scandir(here), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if here == top:
                raise InputError(f"{printable(folder)}: {error.strerror}", hint="check its permissions") from error
            closed.append({"path": str(here), "reason": f"folder cannot be read: {error.strerror}"})
            continue
        entries, of_annotate = own.to_search(here, entries, asked=here == top)
        closed += [of_annotate] if of_annotate else []
        for entry in entries:
            if is_folder(entry):
                if sieve.enters(entry.path.removeprefix(f"{top}/")):
                    (linked if entry.is_symlink() else real).append(Path(entry.path))
            elif sieve.takes(entry.name, entry.path, partial(first_bytes, entry.path)):
                found.append(entry.path)
    found.sort(key=os.fsencode)
    return FoundImages(found, [*closed, *sieve.passed_over], sieve.folders)


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
    with decoded_picture(content, side=resolution, max_megapixels=max_megapixels) as whole:
        width, height = whole.size
        crop = square(whole.pixels, resolution, whole=(height, width), orientation=whole.turn)
        if whole.turn >= 5:
            width, height = height, width
        return Decoded(np.array(crop), whole.orientation, width, height)


def thumbnail(content: bytes, *, side: int, max_megapixels: float) -> Image.Image:
    """The whole image of a file's bytes, upright on white, at most `side` pixels on its longer side.

    raises  Unreadable with the reason
    """
    from PIL.Image import fromarray

    with decoded_picture(content, side=side, max_megapixels=max_megapixels) as whole:
        picture = fromarray(np.ascontiguousarray(upright(whole.pixels, whole.turn)))
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


def refusal(error: Exception, content: bytes) -> Unreadable:
    """Why an image is not used, as its row in skipped.json says it."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Unreadable):
        return error
    if isinstance(error, TooSlow):
        return Unreadable("decoding takes too long: an image larger or more complex than it looks")
    if isinstance(error, MemoryError):
        return Unavailable("not enough memory to decode it")
    if is_of_the_machine(error):
        return Unavailable(f"cannot be decoded now: {' '.join(str(error).split())}")
    if isinstance(error, Image.DecompressionBombError):
        return Unreadable("too many pixels to decode safely")
    if isinstance(error, UnidentifiedImageError):
        kind = next((kind for start, kind in SIGNATURES.items() if content.startswith(start)), None)
        return Unreadable(f"broken image, or a rare kind of {kind}: convert it" if kind else "not an image")
    return Unreadable(f"broken image: {' '.join(str(error).split()) or type(error).__name__}")


def is_final(error: Exception) -> bool:
    """Whether mending would be for nothing: the file is not at fault, or would cost too much."""
    return isinstance(error, (Unreadable, TooSlow, MemoryError)) or is_of_the_machine(error)


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


# -- what it costs -------------------------------------------------------------------------------------


def check_megapixels(size: tuple[int, int], max_megapixels: float) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        raise Unreadable(f"{megapixels:.0f} megapixels, the budget is {max_megapixels:g} (embed.max_megapixels)")


def check_scans(content: bytes, size: tuple[int, int], seconds: float) -> None:
    """A scan may be a few bytes and yet goes over all pixels, within one call that cannot be interrupted."""
    most = int(seconds / (SCAN_PIXEL * size[0] * size[1] + SCAN))
    if count_scans(content, most) > most:
        raise Unreadable(f"a JPEG of more than {most:,} scans: decoding it takes too long")


def check_memory(need: int, max_megapixels: float) -> None:
    most = MOST_MEMORY * share(max_megapixels)
    if need > most:
        raise Unreadable(
            f"decoding it takes {need / 1e9:.1f} GB of memory, the budget is {most / 1e9:.1f} GB (embed.max_megapixels)"
        )


def memory_for(image: Image.Image, content: bytes) -> int:
    """Bytes that its pixels take at the peak, besides the file."""
    width, height = image.size
    kept = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    while_decoding = WHILE_DECODING.get(image.format or "", kept)
    if image.format in JPEGS and comes_in_scans(content):
        while_decoding += COEFFICIENT * len(image.getbands())
    if image.format == "TIFF":  # a strip may be the whole picture, and turning it makes another
        while_decoding += kept * (2 if exif_orientation(image) > 1 else 1)
    return width * height * max(while_decoding, kept + 3) + min(width * height, STRIP) * STRIP_BYTES


def check_icon(content: bytes) -> None:
    """Pillow decodes an icon while it opens it, at the size of the picture within, whatever the icon's header says."""
    for place in range(6, 6 + ICON_ENTRY * int.from_bytes(content[4:6], "little"), ICON_ENTRY):
        start = int.from_bytes(content[place + 12 : place + 16], "little")
        picture, order = content[start : start + 24], "little"
        sides: tuple[bytes, bytes] = (picture[4:8], picture[8:12])
        if picture.startswith(b"\x89PNG"):
            sides, order = (picture[16:20], picture[20:24]), "big"
        width, height = (abs(int.from_bytes(side, order, signed=True)) for side in sides)  # type: ignore[arg-type]
        if width * height > LARGEST_ICON:
            raise Unreadable(f"an icon of {width * height / 1e6:,.0f} megapixels: convert it to PNG")


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
        scale = (new_h + ROUND_UP) / true_h, (new_w + ROUND_UP) / true_w
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
