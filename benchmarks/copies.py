"""How many planted copies are found, how many wrong ones, how long it takes, and whether any straddles a split.

    python -m benchmarks.copies found --data ../shared/data         precision and recall on planted copies
    python -m benchmarks.copies speed --images 100000               time of the search alone
    python -m benchmarks.copies run --data ../shared/data           annotate run on 5,000 photos with 500 near-copies

A planted copy is an image cropped to between 80 and 100 % of its sides, cropped to 80 %, re-encoded, mirrored, made
lighter or darker, framed, or resized. A pair is wrong where its two images do not come from one image of the set.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import random
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from annotate.images.look import look_at
from annotate.kernels import copies
from annotate.kernels.bursts import BROAD, FINE, as_they_are
from annotate.kernels.copies import Looks, find_copies

SETS = {"cifar10": "test/", "groceries": "", "scenes": "", "trashnet": "", "clothing": "", "vehicles": ""}
Picture = Image.Image
Change = Callable[[Picture, random.Random], Picture]


# -- planted copies ------------------------------------------------------------------------------------


def cropped(picture: Picture, chance: random.Random, share: float | None = None) -> Picture:
    share = chance.uniform(0.8, 1.0) if share is None else share
    width, height = (round(side * share) for side in picture.size)
    left, top = chance.randint(0, picture.width - width), chance.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def framed(picture: Picture, chance: random.Random) -> Picture:
    width = max(1, round(min(picture.size) * chance.choice([0.05, 0.1, 0.15])))
    return ImageOps.expand(picture, width, fill=chance.choice(["black", "white", "grey"]))


def resized(picture: Picture, chance: random.Random) -> Picture:
    factor = chance.choice([0.5, 0.7, 1.5, 2.0])
    width, height = (max(1, round(side * factor)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC)


BRIGHTNESS = (0.6, 0.75, 1.3, 1.5)
CHANGES: dict[str, Change] = {
    "crop 80-100 %": cropped,
    "crop 80 %": lambda picture, chance: cropped(picture, chance, 0.8),
    "re-encoded": lambda picture, chance: picture,
    "mirrored": lambda picture, chance: ImageOps.mirror(picture),
    "brightness": lambda picture, chance: ImageEnhance.Brightness(picture).enhance(
        chance.choice([0.6, 0.75, 1.3, 1.5])
    ),
    "border": framed,
    "resized": resized,
}


def planted(originals: list[bytes], count: int, seed: int = 1) -> tuple[list[bytes], dict[tuple[int, int], str]]:
    """The originals followed by changed copies of some, and the pairs with the change that was made."""
    chance, images, pairs = random.Random(seed), list(originals), dict[tuple[int, int], str]()
    for number in range(count):
        row, kind = number * len(originals) // count, list(CHANGES)[number % len(CHANGES)]
        picture = CHANGES[kind](Image.open(io.BytesIO(originals[row])).convert("RGB"), chance)
        content = io.BytesIO()
        picture.save(content, "JPEG", quality=chance.choice([30, 50, 70]) if kind == "re-encoded" else 90)
        pairs[row, len(images)] = kind
        images.append(content.getvalue())
    return images, pairs


def originals_of(data: Path, name: str, count: int) -> list[bytes]:
    with zipfile.ZipFile(data / f"{name}.zip") as archive:
        names = [n for n in archive.namelist() if n.lower().endswith((".jpg", ".jpeg", ".png")) and SETS[name] in n]
        random.Random(0).shuffle(names)
        return [archive.read(name) for name in names[:count]]


def looks_of(images: list[bytes]) -> Looks:
    return np.stack([look_at(content, max_megapixels=100).grey for content in images])


# -- what is measured ----------------------------------------------------------------------------------


def found(data: Path, count: int) -> None:
    """Precision and recall for a few thresholds, and of each change at that of the product."""
    limits = (0.8, 0.85, 0.9, 0.95)  # the third is that of the product
    copies.FINE = min(limits)
    print(
        f"{'set':<10} {'images':>6} " + " ".join(f"  at {limit:.2f}: P     R  " for limit in limits) + " false bursts"
    )
    by_kind: dict[str, list[bool]] = defaultdict(list)
    for name in SETS:
        originals = originals_of(data, name, count)
        images, pairs = planted(originals, len(originals) // 10)
        looks = looks_of(images)
        made = find_copies(looks)
        agreed = {(int(i), int(j)): float(a) for i, j, a in zip(made.first, made.second, made.agreement, strict=True)}
        cells = []
        for limit in limits:
            said = {pair for pair, agreement in agreed.items() if agreement >= limit}
            right = said & pairs.keys()
            cells.append(f"          {len(right) / max(1, len(said)):.3f} {len(right) / len(pairs):.3f}")
        for pair, kind in pairs.items():
            by_kind[kind].append(agreed.get(pair, 0) >= limits[2])
        rows = np.arange(len(originals) - 1)
        broad, fine = as_they_are(looks, rows, rows + 1)
        false = ((broad >= BROAD) & (fine >= FINE)).sum()
        print(f"{name:<10} {len(images):>6,} " + " ".join(cells) + f" {false} of {len(rows):,}", flush=True)
    print(", ".join(f"{kind} {np.mean(hits):.2f}" for kind, hits in by_kind.items()))


def speed(n: int) -> None:
    """Time to search among looks with the spectrum of photos, every tenth a copy of another."""
    rng = np.random.default_rng(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.rfftfreq(32), indexing="ij"))
    waves = rng.normal(size=(n, 32, 17)) + 1j * rng.normal(size=(n, 32, 17))
    pictures = np.fft.irfft2(waves / np.maximum(frequency, 1 / 32) ** 1.2, s=(32, 32))
    pictures = 128 + 45 * pictures / pictures.std(axis=(1, 2), keepdims=True)
    pictures[::10] = pictures[1::10][:, :, ::-1]
    looks = np.clip(pictures, 0, 255).astype(np.uint8)
    wall, used = time.perf_counter(), time.process_time()
    made = find_copies(looks)
    print(
        f"{n:,} looks: {time.perf_counter() - wall:.0f} s, {time.process_time() - used:.0f} s of processor time; "
        f"{len(made.first):,} pairs, {n // 10:,} planted"
    )


def run(data: Path, count: int, model: str) -> None:
    """`annotate run` on photos with planted near-copies: how many groups of copies lie in more than one split."""
    import annotate

    half = count * 9 // 20
    originals = originals_of(data, "groceries", half) + originals_of(data, "scenes", half)
    images, pairs = planted(originals, count - len(originals))
    classes = ["fruit", "vegetable", "street", "room"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "photos").mkdir()
        for row, content in enumerate(images):
            (folder / "photos" / f"{random.Random(row).getrandbits(48):012x}.jpg").write_bytes(content)
        names = [f"{random.Random(row).getrandbits(48):012x}.jpg" for row in range(len(images))]
        began = time.perf_counter()
        annotate.run(folder / "photos", folder / "out", classes, workspace=folder / "w", model=model)
        took = time.perf_counter() - began
        told = json.loads((folder / "out" / "metadata.json").read_text())["images"]
        split = {Path(image["original_path"]).name: image["split"] for image in told}
        parted = sum(split[names[i]] != split[names[j]] for i, j in pairs)
        groups: dict[str, set[str]] = defaultdict(set)
        with open(folder / "w" / "duplicates" / "groups.csv", newline="") as file:
            for listed in csv.DictReader(file):
                groups[listed["group"]].add(split[Path(listed["path"]).name])
        print(
            f"{len(images):,} photos, {len(pairs):,} planted, {took:.0f} s: {len(groups):,} groups found, "
            f"{sum(len(splits) > 1 for splits in groups.values())} of them in several splits; "
            f"{parted} of the planted pairs were not found and lie in two splits"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("found", "speed", "run"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--images", type=int)
    parser.add_argument("--model", default="tiny")
    asked = parser.parse_args()
    if asked.what == "found":
        found(asked.data, asked.images or 1500)
    elif asked.what == "speed":
        speed(asked.images or 100_000)
    else:
        run(asked.data, asked.images or 5000, asked.model)


if __name__ == "__main__":
    main()
