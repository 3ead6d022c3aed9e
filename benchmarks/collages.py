"""Photos of any size and format with the statistics of nature, made of small real ones.

No large photos can be had here, and small ones blown up lack what decoding at a fraction of the size could lose: fine
detail. A collage begins with one real photo at about 64 pixels, and is doubled until it is large enough. Every doubling
adds the octave that it lacks: the detail of other real photos, what these lose when halved, side by side. Amplitudes
of natural photos fall about as 1/f (Field 1987), which gives every octave the same variance; those of the small photos
here fall as 1/f^1.28, and so do the collages': each octave is added a little weaker than the one before. Then the
collage is saved as cameras, phones, scanners and web pages do.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

ZIPS = ("tiny-imagenet.zip", "groceries.zip", "scenes.zip")  # of small JPEGs
PHOTOS = 4000  # taken of each zip, evenly
TILE = 64  # pixels: side of a real photo that a collage is made of
FIELD = 48  # tiles in a row of a field of details
SOFTENING = 0.82  # 2^-0.28, an octave's amplitude by that of the one before
ASPECTS = (1.0, 4 / 3, 3 / 2, 16 / 9, 2.4)
SMALLEST, LARGEST = 64, 4500  # pixels of a side
LARGEST_SLOW = 2000  # of PNG and WebP, which take seconds to write
QUALITIES = (60, 97)  # of JPEG and WebP
ORIENTATION = 0x0112

Pixels = npt.NDArray[np.uint8]
Tiles = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Photo:
    """A file's bytes; width and height as stored."""

    content: bytes
    size: tuple[int, int]
    kind: str


def photos(count: int, data: Path) -> Iterator[Callable[[], Photo]]:
    """How to make each photo; each has a seed of its own, so that they may be made in any order."""
    tiles = read_tiles(data)
    fields = [field_of_details(tiles, seed) for seed in range(2)]
    for number in range(count):
        yield lambda number=number: photo(number, tiles, fields)  # type: ignore[misc]


def photo(number: int, tiles: Tiles, fields: list[npt.NDArray[np.int8]]) -> Photo:
    rng = np.random.default_rng(number)
    kind = list(KINDS)[number % len(KINDS)]
    largest = LARGEST_SLOW if kind in ("PNG", "WebP") else LARGEST
    long = round(math.exp(rng.uniform(math.log(SMALLEST), math.log(largest))))
    short = max(SMALLEST, round(long / rng.choice(ASPECTS)))
    size = (long, short) if rng.random() < 0.5 else (short, long)
    collage = Image.fromarray(grown(size, tiles, fields, rng))
    return Photo(KINDS[kind](collage, rng), size, kind)


def grown(size: tuple[int, int], tiles: Tiles, fields: list[npt.NDArray[np.int8]], rng: np.random.Generator) -> Pixels:
    """A collage, (H, W, 3)."""
    width, height = size
    doublings = max(0, math.ceil(math.log2(max(size) / TILE)))
    small = -(-width // 2**doublings), -(-height // 2**doublings)
    pixels = np.asarray(Image.fromarray(tiles[rng.integers(len(tiles))]).resize(small, Image.Resampling.LANCZOS))
    strength = 1.0
    for _ in range(doublings):
        strength *= SOFTENING
        h, w, _ = pixels.shape
        larger = np.asarray(Image.fromarray(pixels).resize((2 * w, 2 * h), Image.Resampling.BICUBIC))
        details = window(fields[rng.integers(len(fields))], 2 * h, 2 * w, rng)
        scaled = np.rint(details * np.float32(strength)).astype(np.int16) if strength < 1 else details
        pixels = np.clip(larger + scaled, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[:height, :width])


def window(field: npt.NDArray[np.int8], height: int, width: int, rng: np.random.Generator) -> npt.NDArray[np.int8]:
    """Somewhere in a field, which goes on at its ends as it began; mirrored or not."""
    top, left = rng.integers(0, len(field), 2)
    rows, columns = (top + np.arange(height)) % len(field), (left + np.arange(width)) % len(field)
    if rng.random() < 0.5:
        columns = columns[::-1]
    chosen: npt.NDArray[np.int8] = field[rows][:, columns]
    return chosen


def field_of_details(tiles: Tiles, seed: int) -> npt.NDArray[np.int8]:
    """Details of many photos side by side: what each loses when it is halved and doubled again."""
    rng = np.random.default_rng(seed)
    field = np.zeros((FIELD * TILE, FIELD * TILE, 3), np.int8)
    for row in range(0, len(field), TILE):
        for column in range(0, len(field), TILE):
            tile = Image.fromarray(tiles[rng.integers(len(tiles))])
            halved = tile.resize((TILE // 2, TILE // 2), Image.Resampling.BOX)
            lost = np.asarray(tile, np.int16) - np.asarray(halved.resize((TILE, TILE), Image.Resampling.BICUBIC))
            field[row : row + TILE, column : column + TILE] = np.clip(lost, -127, 127)
    return field


def read_tiles(data: Path) -> Tiles:
    """(n, 64, 64, 3) of the real photos; where they are not here, of clouds of the same spectrum."""
    found = zips_in(data)
    return np.stack([tile for path in found for tile in tiles_of(path)]) if found else clouds()


def zips_in(data: Path) -> list[Path]:
    return [data / name for name in ZIPS if (data / name).is_file()]


def tiles_of(path: Path) -> Iterator[Pixels]:
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg")))
        for name in names[:: max(1, len(names) // PHOTOS)]:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                whole = image.convert("RGB")
            short = min(whole.size)
            box = ((whole.width - short) // 2, (whole.height - short) // 2)
            square = whole.crop((*box, box[0] + short, box[1] + short))
            yield np.asarray(square.resize((TILE, TILE), Image.Resampling.LANCZOS))


def clouds() -> Tiles:
    """Random pictures whose amplitudes fall as 1/f; channels alike but for a little colour."""
    rng = np.random.default_rng(0)
    frequencies = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    frequencies[0, 0] = 1 / TILE
    noise = rng.normal(size=(500, 1, TILE, TILE)) + 0.3 * rng.normal(size=(500, 3, TILE, TILE))
    pictures = np.fft.irfft2(np.fft.rfft2(noise) / frequencies, s=(TILE, TILE))
    pictures = 128 + 50 * pictures / pictures.std(axis=(1, 2, 3), keepdims=True)
    return np.ascontiguousarray(np.clip(pictures, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1))


def steepness(pixels: Pixels) -> float:
    """The power of 1/f with which amplitudes of a picture's brightness fall, on its middle square; 1 in nature."""
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    grey = pixels[top : top + side, left : left + side].mean(axis=2)
    taper = np.hanning(side)
    power = np.abs(np.fft.rfft2((grey - grey.mean()) * taper[:, None] * taper)) ** 2
    radius = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]) * side
    octaves = np.floor(np.log2(np.maximum(radius, 1e-9))).astype(int)
    last = int(np.log2(side / 2))
    levels = [0.5 * math.log2(power[octaves == octave].mean()) for octave in range(1, last)]
    return -float(np.polyfit(range(len(levels)), levels, 1)[0])


# -- as they are saved ---------------------------------------------------------------------------------


def jpeg(image: Image.Image, rng: np.random.Generator, **options: Any) -> bytes:
    low, high = QUALITIES
    return saved(image, "JPEG", quality=int(rng.integers(low, high + 1)), **options)


def turned_jpeg(image: Image.Image, rng: np.random.Generator) -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = int(rng.integers(2, 9))
    return jpeg(image, rng, subsampling="4:2:0", exif=exif)


def webp(image: Image.Image, rng: np.random.Generator) -> bytes:
    low, high = QUALITIES
    return saved(image, "WEBP", quality=int(rng.integers(low, high + 1)), method=0)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


KINDS: dict[str, Callable[[Image.Image, np.random.Generator], bytes]] = {
    "JPEG 4:2:0": lambda image, rng: jpeg(image, rng, subsampling="4:2:0"),
    "JPEG 4:4:4": lambda image, rng: jpeg(image, rng, subsampling="4:4:4"),
    "JPEG progressive": lambda image, rng: jpeg(image, rng, subsampling="4:2:0", progressive=True),
    "JPEG grey": lambda image, rng: jpeg(image.convert("L"), rng),
    "JPEG turned": turned_jpeg,
    "WebP": webp,
    "PNG": lambda image, rng: saved(image, "PNG", compress_level=1),
}
