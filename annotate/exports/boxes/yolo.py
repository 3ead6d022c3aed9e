"""YOLO: a text file per image, a line per box: class number, centre, width and height as shares of the upright image.

labels/train/1.txt belongs to images/train/1.jpg: readers replace the last folder named images. An empty file says that
there is nothing on the image. Class names stand in data.yaml, or one a line in classes.txt, labels.txt or obj.names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from annotate.errors import InputError, printable
from annotate.exports.boxes import Boxed
from annotate.exports.boxes.sketch import SHARES, Row, Sketch
from annotate.exports.pieces import yaml_text
from annotate.images.formats import is_image
from annotate.settings import yamlfile
from annotate.workspace.artifacts import read_file
from annotate.workspace.publishing import paths_below

NAME_FILES = ("classes.txt", "labels.txt", "obj.names", "_darknet.labels")
NO_LABELS = ("readme.txt", "train.txt", "val.txt", "test.txt", "requirements.txt", *NAME_FILES)
LARGEST = 1 << 26  # bytes of one label file
PARTS = ("train", "val", "test")
Paper = tuple[str, Iterator[bytes]]


def is_folder_of(folder: Path) -> bool:
    """Whether there are class names as YOLO has them, beside text files."""
    return yaml_of(folder) is not None or names_file(folder) is not None


def yaml_of(folder: Path) -> Path | None:
    for name in ("data.yaml", "data.yml", "dataset.yaml"):
        if (folder / name).is_file():
            return folder / name
    return None


def names_file(folder: Path) -> Path | None:
    places = [folder / place / name for place in ("", "labels") for name in NAME_FILES]
    return next((path for path in places if path.is_file()), None)


def read(sketch: Sketch, folder: Path) -> None:
    """raises  InputError where class names are missing, or a file is none of text"""
    sketch.class_names += class_names_of(folder)
    found = sorted(os.path.relpath(path, folder).replace(os.sep, "/") for path in paths_below(folder))
    images = {os.path.splitext(path)[0]: path for path in found if is_image(path)}
    for path in found:
        if path.endswith(".txt") and path.rpartition("/")[2].lower() not in NO_LABELS:
            name = image_for(path, images)
            sketch.image(name, part=next((part for part in PARTS if part in path.split("/")), ""))
            read_lines(sketch, folder / path, path, name)


def class_names_of(folder: Path) -> list[str]:
    path = yaml_of(folder)
    if path:
        content = yamlfile.read(path, hint="it needs `names:`, a list or numbers with names")
        names = content.get("names") if isinstance(content, dict) else None
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return list(names)
        if isinstance(names, dict) and all(str(key).isdigit() for key in names):
            numbered = {int(key): str(name) for key, name in names.items()}
            if max(numbered, default=0) < 100_000:
                return [numbered.get(k, f"class {k}") for k in range(max(numbered, default=-1) + 1)]
        raise InputError(f"{printable(path)}: no class names", hint="it needs `names:`, a list or numbers with names")
    listed = names_file(folder)
    if listed is None:
        raise InputError(f"{printable(folder)}: no class names", hint="put data.yaml or classes.txt there")
    return [line.strip() for line in text_of(listed).splitlines() if line.strip()]


def image_for(path: str, images: dict[str, str]) -> str:
    """The image of a label file: the one beside it, or the one in `images` where the file lies in `labels`."""
    stem = path.removesuffix(".txt")
    before, mark, after = f"/{stem}".rpartition("/labels/")
    moved = f"{before}/images/{after}".removeprefix("/") if mark else stem
    return images.get(moved) or images.get(stem) or f"{moved}.jpg"


def read_lines(sketch: Sketch, file: Path, shown: str, name: str) -> None:
    for number, line in enumerate(text_of(file).splitlines(), 1):
        fields, where = line.split(), f"{shown}: line {number}"
        if not fields:
            continue
        if len(fields) not in (5, 6):
            sketch.drop(where, f"{len(fields)} numbers where a box has five; outlines are not read")
            continue
        try:
            kind, x, y, width, height = int(float(fields[0])), *map(float, fields[1:5])
            score = float(fields[5]) if len(fields) == 6 else None
        except (ValueError, OverflowError):
            sketch.drop(where, "not five numbers")
            continue
        if not 0 <= kind < len(sketch.class_names):
            sketch.drop(where, f"no class has the number {kind}")
            continue
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        sketch.rows.append(Row(name, sketch.class_names[kind], corners, SHARES, where, score))


def text_of(path: Path) -> str:
    try:
        return read_file(path, LARGEST).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(path)}: not readable as text", hint="save it as UTF-8") from error


def write(images: Sequence[Boxed], class_names: Sequence[str]) -> Iterator[Paper]:
    """A label file per image and data.yaml; scores are left out, since a sixth number means an outline to some."""
    for image in images:
        stem = os.path.splitext(image.name)[0]
        yield f"labels/{image.part or 'train'}/{stem}.txt", (line(image, box) for box in image.boxes)
    yield "data.yaml", iter([data_yaml(images, class_names)])


def line(image: Boxed, box: Any) -> bytes:
    width, height = image.width or 1, image.height or 1
    centre = ((box.x + box.width / 2) / width, (box.y + box.height / 2) / height)
    shares = (*centre, box.width / width, box.height / height)
    return f"{box.kind} {' '.join(f'{share:.8f}' for share in shares)}\n".encode("ascii")


def data_yaml(images: Sequence[Boxed], class_names: Sequence[str]) -> bytes:
    """Ultralytics needs `val`; where there is none, it is what it trains on."""
    there = {image.part or "train" for image in images}
    first = next((part for part in PARTS if part in there), "train")
    lines = ["path: .", f"train: images/{'train' if 'train' in there else first}"]
    lines += [f"val: images/{'val' if 'val' in there else 'train' if 'train' in there else first}"]
    lines += ["test: images/test"] if "test" in there else []
    lines += ["names:", *(f"  {k}: {yaml_text(name)}" for k, name in enumerate(class_names))]
    return ("\n".join(lines) + "\n").encode("utf-8", "backslashreplace")
