"""COCO: a folder of images per split, and a JSON file per split with the class of each image.

An annotation here says of a whole image what it shows, and has no box. Tools that know such files, datumaro among
them, call them labels_SPLIT.json, so that nobody takes them for files of boxes.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any

from annotate.exports.boxes import coco
from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format, Paper
from annotate.exports.pieces import json_list, json_text


def place(catalogue: Catalogue, entry: Entry) -> str:
    return f"{entry.part}/{entry.name}"


def papers(catalogue: Catalogue) -> Iterator[Paper]:
    annotation_ids = count(1)  # pycocotools takes a match with annotation 0 for none
    image_ids = {entry.row: number for number, entry in enumerate(catalogue.entries, 1)}
    for part in catalogue.parts:
        entries = catalogue.of(part)
        images = [
            {"id": image_ids[entry.row], "file_name": entry.name, "width": entry.width, "height": entry.height}
            for entry in entries
        ]
        annotations = [
            annotation(catalogue, entry, next(annotation_ids), image_ids[entry.row])
            for entry in entries
            if entry.label is not None
        ]
        yield f"annotations/labels_{part}.json", document(catalogue, images, annotations)


def annotation(catalogue: Catalogue, entry: Entry, number: int, image: int) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": (entry.label or 0) + catalogue.category_base,
        "attributes": {"said_by": entry.said_by, "confidence": entry.sure},
    }


def document(catalogue: Catalogue, images: list[Any], annotations: list[Any]) -> Iterator[bytes]:
    categories = [
        {"id": k + catalogue.category_base, "name": name, "supercategory": ""}
        for k, name in enumerate(catalogue.class_names)
    ]
    yield b'{\n"info": {"description": "made by annotate", "version": "1.0"},\n"licenses": [],\n"images": '
    yield from json_list(images)
    yield b',\n"annotations": '
    yield from json_list(annotations)
    yield b',\n"categories": ' + json_text(categories) + b"\n}\n"


def loading(catalogue: Catalogue) -> str:
    part = catalogue.parts[0] if catalogue.parts else "train"
    return (
        "from pycocotools.coco import COCO\n"
        f'coco = COCO("annotations/labels_{part}.json")\n'
        "classes = {a['image_id']: a['category_id'] for a in coco.dataset['annotations']}"
    )


def traps(catalogue: Catalogue) -> list[str]:
    base = catalogue.category_base
    return [
        f"category_id is the class id plus {base}. `--category-base {1 - base}` makes it "
        f"{'the class id itself' if base else 'start at 1'}: datumaro and CVAT want 1, some trainers want 0."
        if base
        else "category_id is the class id. Some tools take category 0 for none: `--category-base 1` avoids it.",
        "An annotation has no box: it says what the whole image shows.",
    ]


FORMAT = Format(
    "coco",
    "A folder of images per split, and a COCO file per split with the class of each image.",
    place,
    papers,
    loading,
    traps,
    measures=True,
    boxes=Format(
        "coco",
        "A folder of images per split, and a COCO file per split with boxes.",
        place,
        lambda catalogue: coco.write(catalogue.boxed, catalogue.class_names, base=catalogue.category_base),
        lambda catalogue: loading(catalogue).replace("labels_", "instances_").replace("['category_id']", "['bbox']"),
        lambda catalogue: traps(catalogue)[:1],
        measures=True,
    ),
)
