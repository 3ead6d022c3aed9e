"""Hugging Face `datasets`: metadata.jsonl with the boxes of each image as x, y, width and height in pixels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from annotate.errors import InputError, printable
from annotate.exports.boxes import Boxed
from annotate.exports.boxes.sketch import PIXELS, Row, Sketch
from annotate.exports.pieces import json_line, yaml_text
from annotate.workspace.artifacts import read_file

Paper = tuple[str, Iterator[bytes]]
LARGEST = 1 << 31  # bytes


def read(sketch: Sketch, file: Path, part: str = "", class_names: Sequence[str] = ()) -> None:
    """Categories are names, or numbers of `class_names`.

    raises  InputError where it is not JSON Lines
    """
    sketch.class_names += [name for name in class_names if name not in sketch.class_names]
    for number, line in enumerate(read_file(file, LARGEST).splitlines(), 1):
        where = f"{file.name}: line {number}"
        try:
            row = json.loads(line)
            name, objects = str(row["file_name"]), row.get("objects") or {}
            boxes, kinds = objects.get("bbox") or [], objects.get("categories", objects.get("category")) or []
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise InputError(f"{printable(file)}: {where}: no image with boxes", hint="see docs/exports.md") from error
        sketch.image(name, None, part)
        for box, kind in zip(boxes, kinds, strict=False):
            try:
                x, y, width, height = map(float, box)
                called = kind if isinstance(kind, str) else class_names[kind]
            except (ValueError, TypeError, IndexError, OverflowError):
                sketch.drop(where, "a box without four numbers, or without a class")
                continue
            sketch.rows.append(Row(name, called, (x, y, x + width, y + height), PIXELS, where))


def write(images: Sequence[Boxed], class_names: Sequence[str]) -> Iterator[Paper]:
    for part in dict.fromkeys(image.part for image in images):
        yield f"data/{part or 'train'}/metadata.jsonl", (row(image) for image in images if image.part == part)


def row(image: Boxed) -> bytes:
    sides = [[round(side, 3) for side in (box.x, box.y, box.width, box.height)] for box in image.boxes]
    objects = {"bbox": sides, "categories": [box.kind for box in image.boxes]}
    return json_line({"file_name": image.name, "width": image.width, "height": image.height, "objects": objects})


def features(class_names: Sequence[str], indent: str) -> str:
    """The columns and their types in a card's YAML."""
    lines: list[Any] = [
        "- name: image",
        "  dtype: image",
        "- name: width",
        "  dtype: int64",
        "- name: height",
        "  dtype: int64",
        "- name: objects",
        "  struct:",
        "  - name: bbox",
        "    list:",
        "      list: float64",
        "  - name: categories",
        "    list:",
        "      class_label:",
        "        names:",
        *(f"          '{k}': {yaml_text(name)}" for k, name in enumerate(class_names)),
    ]
    return "\n".join(indent + line for line in lines)
