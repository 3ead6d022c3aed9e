"""What our decoding changes: cosine of the embeddings of our crop and of a plain one, on photos of many kinds.

Ours decodes a large JPEG at a fraction of its size and resizes with PyTorch's kernel; the plain way decodes all of it
with Pillow, turns it as EXIF says, and resizes with Pillow's bicubic. Both crops go through `tiny` in float32. The
photos are collages with natural statistics of the small real photos in --data (benchmarks/collages.py says how), or of
synthetic ones where these are not there; "falls as 1/f^..." is the median of the spectra of those that are large.

    python -m benchmarks.fidelity [--photos 2000] [--data ../shared/data]

Exits with 1 where the median is below 0.999 or the worst below 0.995.
"""

from __future__ import annotations

import argparse
import io
import itertools
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from annotate import encoders
from annotate.encoders import cores, one_thread
from annotate.images import own_pixel_budget, read_image
from annotate.settings.declared import EmbedSettings
from benchmarks import plain
from benchmarks.collages import Photo, photos, steepness, zips_in
from benchmarks.machine import described

LEAST_MEDIAN, LEAST = 0.999, 0.995
BLOCK = 64  # photos in memory at once
CLASSES = ((0, 256), (256, 512), (512, 1024), (1024, 2048), (2048, 1 << 20))  # pixels of the long side
SPECTRUM = 1024  # pixels of a short side from which a spectrum is taken

Pixels = npt.NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    encoder = encoders.load(encoders.find_weights("tiny"), device="cpu", precision="float32")
    groups: dict[str, list[float]] = defaultdict(list)
    slopes: list[float] = []
    # Pools of threads: what makes, decodes and resizes photos lets the interpreter go.
    with own_pixel_budget(), ThreadPoolExecutor(cores(), initializer=one_thread) as pool:
        remaining = photos(options.photos, options.data)
        while block := list(itertools.islice(remaining, BLOCK)):
            made = list(pool.map(lambda make: make(), block))
            crops = list(pool.map(lambda photo: both_crops(photo, encoder.resolution), made))
            ours, expected = (encoder.encode_images(np.stack(side)) for side in zip(*crops, strict=True))
            for photo, cosine in zip(made, (ours * expected).sum(axis=1).tolist(), strict=True):
                for name in ("all", size_class(photo.size), photo.kind):
                    groups[name].append(cosine)
            slopes += spectra(made)
    source = "collages of real photos" if zips_in(options.data) else "synthetic collages"
    slope = f", their spectra fall as 1/f^{np.median(slopes):.2f}" if slopes else ""
    print(f"{options.photos:,} {source}, sides of 64 to 4500 pixels{slope}")
    print(f"tiny, float32, crops of {encoder.resolution} pixels; {described()}")
    show(groups)
    met = bool(np.median(groups["all"]) >= LEAST_MEDIAN and min(groups["all"]) >= LEAST)
    print(f"bars: median {LEAST_MEDIAN}, least {LEAST}: {'met' if met else 'MISSED'}")
    sys.exit(not met)


def both_crops(photo: Photo, resolution: int) -> tuple[Pixels, Pixels]:
    ours = read_image(photo.content, resolution=resolution, max_megapixels=EmbedSettings().max_megapixels)
    return ours.pixels, plain.read(photo.content, resolution, turned=True)


def size_class(size: tuple[int, int]) -> str:
    low, high = next(bounds for bounds in CLASSES if bounds[0] <= max(size) < bounds[1])
    return f"{low or 64} to {min(high, 4501) - 1} px"


def spectra(made: Iterable[Photo]) -> list[float]:
    """Of the colour photos that are large enough and not yet smoothed by compression."""
    large = (photo for photo in made if min(photo.size) >= SPECTRUM and photo.kind in ("JPEG 4:4:4", "PNG"))
    return [steepness(np.asarray(Image.open(io.BytesIO(photo.content)))) for photo in itertools.islice(large, 1)]


def show(groups: dict[str, list[float]]) -> None:
    order: Sequence[str] = ["all", *(size_class((low, low)) for low, _ in CLASSES)]
    print(f"{'':18} {'photos':>7} {'median':>9} {'1 in 100':>9} {'least':>9}")
    for name in [*order, *(name for name in groups if name not in order)]:
        if cosines := groups.get(name):
            low = np.quantile(cosines, 0.01)
            print(f"{name:18} {len(cosines):7,} {np.median(cosines):9.5f} {low:9.5f} {min(cosines):9.5f}")


if __name__ == "__main__":
    main()
