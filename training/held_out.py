"""What `tiny` is measured on: pictures that no part of it was trained on, with the names that a user would give.

The test parts and held-out fifths of the training sets; scikit-learn's digits; letters in fonts never trained on,
shapes and colours drawn from another seed; the six sets of strange.zip, which come from other sources altogether;
and a mixture for broader words.
"""

import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import render
from data import HELD_OUT, decode, fit, members
from PIL import Image

from annotate.classes.prompts import NUMBER_WORDS

DRAWN_SEED, DRAWN_COUNT = 7, 40
STRANGE = {  # folders of strange.zip, as they are called in the table
    "natural": "strange: everyday",
    "sports": "strange: sports",
    "satellite": "strange: satellite",
    "texture": "strange: textures",
    "cartoons": "strange: cartoons",
    "flowers": "strange: flowers",
}
MEASURED = ("groceries", "clothing", "scenes", "vehicles", "trashnet", "cifar10", "mnist", "sign-language-digits")
BROADER = "broader words"
EACH = 400  # pictures of each broader word


@dataclass(frozen=True)
class HeldOut:
    """Pictures nobody trained on.

    classes  as a user names them
    truth    (N,) index into classes
    picture  the crop of a row, (R, R, 3) uint8
    """

    name: str
    classes: list[str]
    truth: np.ndarray
    pictures: Callable[[Sequence[int]], np.ndarray]


def held_out_sets(data: Path, side: int) -> list[HeldOut]:
    """All sets of the table.

    side  R, pixels
    """
    return [
        *(strange(data, side, folder) for folder in STRANGE),
        *(from_zip(data, side, name) for name in MEASURED),
        broader(data, side),
        scikit_digits(side),
        drawings(side),
    ]


def strange(data: Path, side: int, folder: str) -> HeldOut:
    with zipfile.ZipFile(data / "strange.zip") as archive:
        paths = sorted(p for p in archive.namelist() if p.startswith(f"{folder}/") and not p.endswith("/"))
    return of_paths(data, side, STRANGE[folder], [("strange", path, path.split("/")[1]) for path in paths])


def from_zip(data: Path, side: int, name: str) -> HeldOut:
    rows = [(name, path, label) for path, label, split in members(data, name) if split == HELD_OUT]
    if name == "sign-language-digits":
        rows = [(name, path, NUMBER_WORDS[int(label)]) for name, path, label in rows]
    return of_paths(data, side, name, rows)


def broader(data: Path, side: int) -> HeldOut:
    """Two thousand mixed pictures, named by broader words."""

    def some(name: str, count: int, kept: Callable[[str], bool] = lambda label: True) -> list[tuple[str, str]]:
        rows = [path for path, label, split in members(data, name) if split == HELD_OUT and kept(label)]
        return [(name, path) for path in rows[:: max(1, len(rows) // count)][:count]]

    with zipfile.ZipFile(data / "strange.zip") as archive:
        everyday = [p for p in sorted(archive.namelist()) if p.startswith("natural/") and not p.endswith("/")]
    with zipfile.ZipFile(data / "boxes.zip") as archive:
        raccoons = [p for p in sorted(archive.namelist()) if p.startswith("raccoon/images/") and not p.endswith("/")]

    def of(kinds: tuple[str, ...]) -> list[tuple[str, str]]:
        return [("strange", path) for path in everyday if path.split("/")[1] in kinds]

    animals = ("bird", "cat", "deer", "dog", "frog", "horse")
    parts = {
        "animal": [*of(("cat", "dog")), *(("boxes", p) for p in raccoons), *some("cifar10", 84, animals.__contains__)],
        "vehicle": [*of(("airplane", "car", "motorbike")), *some("vehicles", 220)],
        "food": some("groceries", EACH),
        "clothes": some("clothing", EACH),
        "building": some("scenes", EACH, ("tall building", "suburb", "inside city").__contains__),
    }
    rows = [(name, path, word) for word, found in parts.items() for name, path in found[:EACH]]
    return of_paths(data, side, BROADER, rows, list(parts))


def of_paths(
    data: Path, side: int, name: str, rows: Sequence[tuple[str, str, str]], classes: list[str] | None = None
) -> HeldOut:
    """A set of (zip, path, class) rows."""
    classes = classes or sorted({label for _, _, label in rows})

    def pictures(wanted: Sequence[int]) -> np.ndarray:
        made = np.empty((len(wanted), side, side, 3), np.uint8)
        for archive in {rows[row][0] for row in wanted}:
            inside = [i for i, row in enumerate(wanted) if rows[row][0] == archive]
            made[inside] = decode(data, archive, [rows[wanted[i]][1] for i in inside], side)
        return made

    return HeldOut(name, classes, np.array([classes.index(label) for _, _, label in rows]), pictures)


def scikit_digits(side: int) -> HeldOut:
    """The 1,797 digits of 8x8 pixels, white on black, never trained on."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.clip(digits.images * 16, 0, 255).astype(np.uint8)
    return HeldOut(
        "scikit-learn digits",
        [str(d) for d in range(10)],
        digits.target,
        lambda rows: np.stack([fit(Image.fromarray(grey[row]), side) for row in rows]),
    )


def drawings(side: int) -> HeldOut:
    """Letters in fonts never trained on, shapes and colours from another seed, named as a user names them."""
    pixels, names = render.held_out(render.font_files(), DRAWN_SEED, DRAWN_COUNT)
    kept = [row for row, name in enumerate(names) if not name.startswith("digit ")]
    words = [names[row].removeprefix("letter ") for row in kept]
    classes = list(dict.fromkeys(words))
    return HeldOut(
        "drawn",
        classes,
        np.array([classes.index(word) for word in words]),
        lambda rows: np.stack([fit(Image.fromarray(pixels[kept[row]]), side) for row in rows]),
    )
