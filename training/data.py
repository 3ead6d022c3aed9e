"""The image sets: which file is trained on, which is held out, and a decoded copy to train from.

A set is drawn (render.py), or a zip of `<class>/<file>` or `{train,val,test}/<class>/<file>`. Sets with their own
test folder hold that out; of the others every file whose SHA-256 of the path inside the zip is divisible by 5 is held
out. One
training file in fifty is kept aside, not trained on, to fit the logit scale.
"""

import hashlib
import io
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from concepts import canonical
from PIL import Image

from annotate.images.colours import rgb_on_white
from annotate.images.crop import square
from annotate.images.orientation import exif_orientation

RESOLUTION = 160  # pixels, the input of the encoder that ships
DRAWING_SEED = 7
TRAIN, HELD_IN, HELD_OUT = 0, 1, 2


@dataclass(frozen=True)
class ImageSet:
    """One zip or drawn set: how many of its pictures are used, and how they may be varied."""

    name: str
    views: int = 0  # random views of each training picture, beside the crop that annotate sees
    every: int = 1  # of so many training pictures one is used
    whole: bool = False  # whether nothing is held out, since nothing is measured on it
    side: int = 160  # pixels that views are made from; more than the encoder's leaves room to crop
    mirror: bool = True  # whether a mirror image keeps its class
    smallest: float = 0.35  # least share of the area that a view keeps
    permissive: bool = False  # whether its licence allows any use
    draw: int = 0  # pictures of each name, where the set is drawn

    @property
    def kind(self) -> str:
        """What render.py calls a drawn set."""
        return self.name.removeprefix("drawn ").removesuffix(" again")

    @property
    def seed(self) -> int:
        """Of the drawings."""
        return DRAWING_SEED + self.name.endswith(" again")

    @property
    def file(self) -> str:
        return self.name.replace(" ", "-")


SETS = (
    ImageSet("groceries", views=2, permissive=True),
    ImageSet("clothing", views=1, permissive=True),
    ImageSet("scenes", views=1),
    ImageSet("vehicles", permissive=True),
    ImageSet("trashnet", views=1),
    ImageSet("sign-language-digits", views=2, permissive=True),
    ImageSet("mnist", views=1, every=2, side=28, mirror=False, permissive=True),
    ImageSet("emoji", permissive=True, whole=True),
    ImageSet("drawn simple", mirror=False, permissive=True, draw=100),
    ImageSet("drawn simple again", mirror=False, permissive=True, draw=150),
    ImageSet("drawn coloured shapes", mirror=False, permissive=True, draw=6),
    ImageSet("drawn colours of things", mirror=False, permissive=True, draw=60),
    ImageSet("cifar10", every=4),
    ImageSet("tiny-imagenet", every=8),
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


def text_bank(data: Path) -> dict[str, np.ndarray]:
    """CLIP ViT-B/32's text embeddings of about 2,700 names, by canonical name; means where names repeat."""
    gathered: dict[str, list[np.ndarray]] = {}
    with np.load(data / "clip-vitb32-text-bank.npz") as bank:
        for source in ("imagenet", "lvis", "oid"):
            for name, vector in zip(bank[f"{source}_names"], bank[f"{source}_feats"], strict=True):
                gathered.setdefault(canonical(str(name)), []).append(vector.astype(np.float32))
    return {name: np.mean(vectors, axis=0) for name, vectors in gathered.items() if name}
