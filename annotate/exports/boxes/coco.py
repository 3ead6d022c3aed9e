"""COCO: boxes as x, y, width and height in pixels, by the ids of images and of categories.

Ids of categories may have holes and any order. Where a file is written, both kinds of ids follow the order of what they
number; annotations begin at 1, since pycocotools takes a match with annotation 0 for none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from annotate.errors import InputError, printable
from annotate.exports.boxes import Boxed
from annotate.exports.boxes.sketch import PIXELS, Row, Sketch
from annotate.exports.pieces import json_list, json_text

Paper = tuple[str, Iterator[bytes]]


def read(sketch: Sketch, content: Mapping[str, Any], file: Path, part: str = "") -> None:
    """raises  InputError where it is no COCO file"""
    try:
        names = {one["id"]: str(one["name"]) for one in content["categories"]}
        files = {one["id"]: one for one in content["images"]}
        annotations: Sequence[Any] = content.get("annotations", [])
        for one in files.values():
            sketch.image(str(one["file_name"]), size_in(one), part)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{printable(file)}: not a COCO file: {printable(error)}", hint="it needs images, annotations, categories"
        ) from error
    sketch.class_names += [name for name in dict.fromkeys(names.values()) if name not in sketch.class_names]
    for number, one in enumerate(annotations, 1):
        where = f"{file.name}: annotation {number}"
        try:
            image, name = files.get(one["image_id"]), names.get(one["category_id"])
            if image is None or name is None:
                sketch.drop(where, "it names no image" if image is None else "it names no category")
                continue
            if one.get("iscrowd"):
                sketch.drop(where, "a crowd, not one thing")
                continue
            x, y, width, height = (float(side) for side in one["bbox"])
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            sketch.drop(where, "it has no box of four numbers")
            continue
        sketch.rows.append(Row(str(image["file_name"]), name, (x, y, x + width, y + height), PIXELS, where, score(one)))


def size_in(one: Mapping[str, Any]) -> tuple[int, int] | None:
    """Width and height; None where they are not there, or no whole numbers above zero."""
    sides = [one.get("width"), one.get("height")]
    if all(isinstance(side, int | float) and side > 0 and side == int(side) for side in sides):
        return int(sides[0] or 0), int(sides[1] or 0)
    return None


def score(one: Mapping[str, Any]) -> float | None:
    found = one.get("score")
    return float(found) if isinstance(found, int | float) else None


def write(images: Sequence[Boxed], class_names: Sequence[str], *, base: int = 1) -> Iterator[Paper]:
    """A file per part; scores stand in files of their own, as COCO keeps them."""
    numbers, annotation_ids = {image.name: number for number, image in enumerate(images, 1)}, count(1)
    for part in dict.fromkeys(image.part for image in images):
        inside = [image for image in images if image.part == part]
        found = [annotation(image, box, numbers[image.name], base) for image in inside for box in image.boxes]
        for one in found:
            one["id"] = next(annotation_ids)
        yield f"annotations/instances_{part or 'all'}.json", document(inside, class_names, found, numbers, base)


def annotation(image: Boxed, box: Any, number: int, base: int) -> dict[str, Any]:
    return {
        "id": 0,
        "image_id": number,
        "category_id": box.kind + base,
        "bbox": [round(side, 3) for side in (box.x, box.y, box.width, box.height)],
        "area": round(box.width * box.height, 3),
        "iscrowd": 0,
        "segmentation": [],
        **({} if box.score is None else {"score": round(box.score, 6)}),
    }


def document(
    images: Sequence[Boxed],
    class_names: Sequence[str],
    annotations: Sequence[Any],
    numbers: Mapping[str, int],
    base: int,
) -> Iterator[bytes]:
    yield b'{\n"info": {"description": "made by annotate", "version": "1.0"},\n"licenses": [],\n"images": '
    yield from json_list(
        {"id": numbers[image.name], "file_name": image.name, "width": image.width, "height": image.height}
        for image in images
    )
    yield b',\n"annotations": '
    yield from json_list(annotations)
    categories = [{"id": k + base, "name": name, "supercategory": ""} for k, name in enumerate(class_names)]
    yield b',\n"categories": ' + json_text(categories) + b"\n}\n"
