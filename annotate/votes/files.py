"""The benchmark's JSON: a data set cut into train, val and test, with soft labels where they are known.

`soft_gt` is empty for an image whose label is not known; then `gt` is -1 and `gt_verbose` is "unknown". Otherwise it
has a share for every class, and `gt` is the first of the largest. The name of an image is the last part of its path,
without `.png` and without what follows "-[": it is unique in a file.

The folds of a data set have a trap. Its description says that slice 1 validates on fold 1 and tests on fold 2. Its
code takes fold 2 and fold 3, and so do its files. `split_of_fold` is as the code; in a file the field `split` counts.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from annotate.errors import Hint, InputError, first_few, printable
from annotate.kernels.vectors import Doubles
from annotate.workspace import jsonfile
from annotate.workspace.opening import replacing_file

FOLDS, SPLITS = 5, ("train", "val", "test", "unlabeled")
UNLABELED, UNKNOWN, ORIGINAL = "unlabeled", "unknown", "original_split"
OFF = 0.01  # shares that sum to something farther from one than this are scaled
LARGEST = 1 << 31  # bytes
HINT = "give a file of the data-centric labelling benchmark: name, v_fold, classes, budget, images"


class FileImage(msgspec.Struct):
    """An image as the file has it."""

    path: str
    split: str
    gt_verbose: str = UNKNOWN
    gt: int = -1
    soft_gt: list[float] = []
    info: dict[str, Any] = {}


class FileContent(msgspec.Struct):
    """The file, its fields in their order."""

    name: str
    v_fold: int
    classes: list[str]
    budget: float = 0.0
    weighted_budget: float = 0.0
    images: list[FileImage] = []


@dataclass(frozen=True)
class Slice:
    """A data set in one of its cuts.

    content  as the file has it
    shares   (N, K) float64, rows sum to one; zeros where the label is not known
    """

    content: FileContent
    shares: Doubles

    @property
    def names(self) -> list[str]:
        return [name_of(image.path) for image in self.content.images]

    @property
    def splits(self) -> list[str]:
        return [image.split for image in self.content.images]


def name_of(path: str) -> str:
    """What an image is known by in every fold: the end of its path, less `.png` and what follows "-["."""
    return re.split(r"-\[", path.replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".png"))[0]


def split_of_fold(fold: int, v_fold: int) -> str:
    """The split of a fold, 1 to 5, in a slice, 1 to 5: as the benchmark's code cuts, not as its description says."""
    place = fold - 1
    return "test" if place == (v_fold + 1) % FOLDS else "val" if place == v_fold % FOLDS else "train"


def find(name: str, fold: int, root: Path) -> Path:
    """The file of a data set by its name and slice, ROOT/NAME/NAME-slice1.json.

    raises  InputError that names the slices that are there
    """
    path = root / name / f"{name}-slice{fold}.json"
    if path.is_file():
        return path
    there = sorted((root / name).glob(f"{name}-slice*.json"))
    slices = [file.stem.removeprefix(f"{name}-slice") for file in there]
    said = f"there are slices {first_few(slices)}: `--fold N`" if slices else "check the name, and --data-root"
    raise InputError(f"{printable(path)}: no such file", hint=said)


def read(path: Path) -> Slice:
    """A file of the benchmark.

    raises  InputError where it is not one: the field, the image and the value
    """
    shown = printable(path)
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{shown}: larger than {LARGEST >> 30} GB", hint=HINT)
        raw = jsonfile.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"{shown}: no such file",
            hint=Hint("check the path, or give a name and a slice", "check the path; or give a name with --fold"),
        ) from None
    except ValueError as error:
        raise InputError(f"{shown}: not readable as JSON: {printable(str(error).splitlines()[0])}", hint=HINT) from None
    try:
        content = msgspec.convert(raw, FileContent)
    except msgspec.ValidationError as error:
        raise InputError(f"{shown}: {printable(str(error))}", hint=HINT) from None
    check(content, shown)
    return Slice(content, shares_of(content, shown))


def check(content: FileContent, shown: str) -> None:
    """raises  InputError for what no file of the benchmark holds"""
    if not 1 <= content.v_fold <= FOLDS:
        raise InputError(f"{shown}: v_fold is {content.v_fold}, not 1 to {FOLDS}", hint=HINT)
    twice = [name for name, count in Counter(content.classes).items() if count > 1]
    if len(content.classes) < 2 or twice:
        said = f"the class '{printable(twice[0])}' twice" if twice else f"{len(content.classes)} classes"
        raise InputError(f"{shown}: {said}", hint="a file needs two classes or more, each once")
    if not content.images:
        raise InputError(f"{shown}: no images", hint=HINT)
    names = Counter(name_of(image.path) for image in content.images)
    again = [name for name, count in names.items() if count > 1]
    if again:
        shown_names = first_few([printable(name) for name in again])
        raise InputError(
            f"{shown}: {len(again):,} names of images are there twice: {shown_names}",
            hint="the end of a path is an image's name, and must be unique",
        )
    for image in content.images:
        if image.split not in SPLITS:
            raise InputError(
                f"{shown}: {printable(image.path)}: no split '{printable(image.split)}'",
                hint=f"use one of {', '.join(SPLITS)}",
            )


def shares_of(content: FileContent, shown: str) -> Doubles:
    """(N, K), rows that sum to one, or zeros where the label is not known."""
    k = len(content.classes)
    shares = np.zeros((len(content.images), k))
    for row, image in enumerate(content.images):
        if not image.soft_gt:
            continue
        where = f"{shown}: {printable(image.path)}: soft_gt"
        if len(image.soft_gt) != k:
            raise InputError(f"{where} has {len(image.soft_gt)} shares for {k} classes", hint="give one for each class")
        given = np.array(image.soft_gt, np.float64)
        if not np.isfinite(given).all() or given.min() < 0 or not given.sum() > 0:
            raise InputError(f"{where} holds a share that is negative or no number", hint="shares are 0 to 1, sum 1")
        total = given.sum()
        shares[row] = given / total if abs(total - 1) > OFF else given
    return shares


def labelled(cut: Slice, shares: Doubles, known: Sequence[bool] | None = None, **spent: float) -> FileContent:
    """The same data set with these soft labels.

    shares  (N, K), rows sum to one
    known   whether each image has a label now; the others go to the split `unlabeled`. All, without
    spent   budget and weighted_budget
    """
    images = []
    for row, image in enumerate(cut.content.images):
        if known is None or known[row]:
            best = int(np.argmax(shares[row]))
            fields = {"gt": best, "gt_verbose": cut.content.classes[best], "soft_gt": [float(v) for v in shares[row]]}
            split, info = image.info.get(ORIGINAL, image.split) if image.split == UNLABELED else image.split, image.info
        else:
            fields = {"gt": -1, "gt_verbose": UNKNOWN, "soft_gt": []}
            split, info = UNLABELED, {ORIGINAL: image.split, **image.info}
        images.append(FileImage(path=image.path, split=split, info=info, **fields))  # type: ignore[arg-type]
    return FileContent(cut.content.name, cut.content.v_fold, cut.content.classes, images=images, **spent)


def write(path: Path, content: FileContent) -> None:
    """The file whole, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing_file(path) as file:
        file.write(json.dumps(msgspec.to_builtins(content), indent=1).encode())


def output_name(content: FileContent, method: str, votes: float) -> str:
    """As the benchmark names an output: data set, method, votes an image, share of images with so many.

    votes  spent on each image on average
    """
    each = max(1, int(np.ceil(votes - 1e-9)))
    return f"{content.name}-{method}-{each:02}-{min(1.0, votes / each):.2f}"


def output_path(folder: Path, content: FileContent, method: str, votes: float) -> Path:
    name = output_name(content, method, votes)
    return folder / name / f"{name}-{content.v_fold}.json"


def data_root(asked: str | Path | None) -> Path:
    """Where data sets lie by name: what is asked for, or $DATA_ROOT, or here."""
    return Path(asked or os.environ.get("DATA_ROOT") or ".")


def of_fold(content: FileContent, folds: Sequence[int], v_fold: int) -> FileContent:
    """The data set as another slice cuts it, without labels.

    folds  1 to 5, of each image
    """
    images = [
        FileImage(path=image.path, split=split_of_fold(fold, v_fold))
        for image, fold in zip(content.images, folds, strict=True)
    ]
    return replace_content(content, v_fold=v_fold, images=images, budget=0.0, weighted_budget=0.0)


def replace_content(content: FileContent, **fields: Any) -> FileContent:
    return msgspec.structs.replace(content, **fields)
