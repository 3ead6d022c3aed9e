"""What decoding an image will cost, told from its header, and refused where that is too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from annotate.images.allowance import MOST_MEMORY, share
from annotate.images.colours import STRIP
from annotate.images.mending import comes_in_scans, count_scans
from annotate.images.orientation import exif_orientation
from annotate.images.refusal import Unreadable

if TYPE_CHECKING:
    from PIL import Image

JPEGS = ("JPEG", "MPO")  # MPO: what phones write, a JPEG with further pictures behind it
ICON, ICON_ENTRY = b"\0\0\1\0", 16  # how an icon begins, and bytes of an entry in its list of pictures
LARGEST_ICON = 4 << 20  # pixels; twice those of the picture where its mask is counted
STRIP_BYTES = 48  # for each of them, in the copies on the way from one kind of pixel to another
# Bytes a pixel at the peak, measured; other formats are decoded in little more than their pixels.
WHILE_DECODING = {"WEBP": 16, "AVIF": 16, "HEIF": 16, "GIF": 8, "TGA": 8, "PPM": 12}
COEFFICIENT = 2  # bytes; a JPEG in scans keeps one for each pixel and component
# Seconds a scan of a JPEG takes: 1.1 ns a pixel at worst, measured on a Xeon of 2023, doubled for slower machines.
SCAN_PIXEL, SCAN = 2e-9, 5e-6


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
