"""The image sets: which file is trained on, which is held out, and a decoded copy to train from.

A set is drawn (render.py), or a zip of `<class>/<file>` or `{train,val,test}/<class>/<file>`. Sets with their own
test folder hold that out; of the others every file whose SHA-256 of the path inside the zip is divisible by 5 is held
out. One
training file in fifty is kept aside, not trained on, to fit the logit scale.
"""

import hashlib
import io
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import render
from concepts import canonical
from PIL import Image

from annotate.images.colours import rgb_on_white
from annotate.images.crop import square
from annotate.images.orientation import exif_orientation

RESOLUTION = 96  # pixels, the input of the encoder that ships
DRAWING_SEED = 7
TRAIN, HELD_IN, HELD_OUT = 0, 1, 2


@dataclass(frozen=True)
class ImageSet:
    """One zip or drawn set: its part of a batch, the side its images are kept at, and how they may be varied."""

    name: str
    shares: tuple[int, ...]  # images in a batch of 256, in each stage of the training
    side: int = 80  # pixels; more than the encoder's leaves room to crop
    mirror: bool = True  # whether a mirror image keeps its class
    smallest: float = 0.35  # least share of the area that a crop keeps
    permissive: bool = False  # whether its licence allows any use
    draw: int = 0  # pictures of each name, where the set is drawn

    @property
    def kind(self) -> str:
        """What render.py calls a drawn set."""
        return self.name.removeprefix("drawn ")


# The small sets get more in the second stage of each cycle; digits and drawings, slow to learn, later in the training.
SETS = (
    ImageSet("tiny-imagenet", (108, 88, 50, 88, 70), side=64),
    ImageSet("cifar10", (56, 50, 44, 54, 48), side=64),
    ImageSet("mnist", (14, 24, 44, 20, 36), side=28, mirror=False, permissive=True),
    ImageSet("sign-language-digits", (8, 12, 8, 4, 4), side=100, permissive=True),
    ImageSet("groceries", (14, 18, 12, 8, 8), side=112, permissive=True),
    ImageSet("vehicles", (13, 14, 8, 7, 6), side=100, permissive=True),
    ImageSet("clothing", (13, 14, 12, 12, 12), permissive=True),
    ImageSet("trashnet", (6, 8, 12, 8, 10)),
    ImageSet("scenes", (6, 10, 8, 6, 7)),
    ImageSet("emoji", (2, 2, 1, 1, 1), permissive=True),
    ImageSet("drawn simple", (11, 11, 48, 40, 46), mirror=False, smallest=0.75, permissive=True, draw=320),
    ImageSet("drawn coloured shapes", (3, 3, 6, 5, 5), mirror=False, smallest=0.75, permissive=True, draw=14),
    ImageSet("drawn colours of things", (2, 2, 3, 3, 3), mirror=False, smallest=0.75, permissive=True, draw=160),
)


def split_of(path: str) -> int:
    """TRAIN, HELD_IN or HELD_OUT for a path inside a zip."""
    number = int(hashlib.sha256(path.encode()).hexdigest(), 16)
    folder = path.split("/")[0] if path.count("/") == 2 else ""
    if folder == "test" or (not folder and number % 5 == 0):
        return HELD_OUT
    return HELD_IN if number % 50 == 1 else TRAIN


def fit(image: Image.Image, side: int) -> np.ndarray:
    """The crop that the encoder sees, (side, side, 3) uint8: `annotate`'s own preprocessing."""
    return square(np.array(rgb_on_white(image)), side, orientation=exif_orientation(image))


def members(data: Path, name: str) -> list[tuple[str, str, int]]:
    """(path, class name, split) of every image in a zip, in the order of the paths."""
    with zipfile.ZipFile(data / f"{name}.zip") as archive:
        paths = sorted(p for p in archive.namelist() if not p.endswith("/"))
    return [(p, p.split("/")[-2], split_of(p)) for p in paths]


def decode(data: Path, name: str, paths: list[str], side: int) -> np.ndarray:
    """(N, side, side, 3) uint8 of the paths in a set's zip, row i is path i."""
    pixels = np.empty((len(paths), side, side, 3), np.uint8)

    def fill(rows: range) -> None:
        with zipfile.ZipFile(data / f"{name}.zip") as archive:
            for row in rows:
                with Image.open(io.BytesIO(archive.read(paths[row]))) as image:
                    pixels[row] = fit(image, side)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, [range(i, min(i + 500, len(paths))) for i in range(0, len(paths), 500)]))
    return pixels


def load(data: Path, cache: Path, image_set: ImageSet) -> tuple[np.ndarray, list[str], np.ndarray]:
    """Pixels (N, S, S, 3) uint8 of TRAIN and HELD_IN, their class names, their splits.

    Decoded or drawn once into the cache.
    """
    if image_set.draw:
        names = [name for name in render.class_names(image_set.kind) for _ in range(image_set.draw)]
        splits = np.where(np.arange(len(names)) % 50 == 1, HELD_IN, TRAIN)
        file = cache / f"{image_set.name.replace(' ', '-')}-{image_set.draw}.npy"
        fonts, seed = render.font_files, DRAWING_SEED
        return cached(file, lambda: render.draw_all(image_set.draw, fonts(), seed, image_set.kind)[0]), names, splits
    rows = [row for row in members(data, image_set.name) if row[2] != HELD_OUT]
    paths, side = [path for path, _, _ in rows], image_set.side
    pixels = cached(cache / f"{image_set.name}-{side}.npy", lambda: decode(data, image_set.name, paths, side))
    return pixels, [name for _, name, _ in rows], np.array([split for _, _, split in rows])


def cached(file: Path, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array in a file, made and kept there the first time."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_suffix(".partial.npy")
        np.save(partial, make())
        partial.replace(file)
    kept: np.ndarray = np.load(file)
    return kept


def text_bank(data: Path) -> dict[str, np.ndarray]:
    """CLIP ViT-B/32's text embeddings of about 2,700 names, by canonical name; means where names repeat."""
    gathered: dict[str, list[np.ndarray]] = {}
    with np.load(data / "clip-vitb32-text-bank.npz") as bank:
        for source in ("imagenet", "lvis", "oid"):
            for name, vector in zip(bank[f"{source}_names"], bank[f"{source}_feats"], strict=True):
                gathered.setdefault(canonical(str(name)), []).append(vector.astype(np.float32))
    return {name: np.mean(vectors, axis=0) for name, vectors in gathered.items() if name}
