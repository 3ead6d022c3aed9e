"""Boxes from a file or a folder of any of the formats, known by what is in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from annotate.errors import InputError, printable
from annotate.exports.boxes import Drawings, coco, cvat, label_studio, table, voc, yolo
from annotate.exports.boxes.safe_xml import parse_file
from annotate.exports.boxes.sketch import SizeOf, Sketch
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import read_file
from annotate.workspace.publishing import paths_below

LARGEST_JSON = 1 << 31  # bytes
KNOWN = "COCO or Label Studio (.json), CVAT or Pascal VOC (.xml), a CSV, or a folder of YOLO, VOC or COCO files"


def read_boxes(source: Path, size_of: SizeOf = lambda name: None, *, voc_base: int | None = None) -> Drawings:
    """What a file or folder says of boxes.

    size_of   width and height of an upright image, by its name
    voc_base  the number of the first pixel in Pascal VOC, 0 or 1; None where it is to be found out
    raises    InputError where it cannot be read, or is of no known format
    """
    sketch = Sketch()
    if source.is_dir():
        read_folder(sketch, source, voc_base)
    elif source.suffix.lower() == ".json":
        read_json(sketch, source)
    elif source.suffix.lower() == ".xml":
        root = parse_file(source)
        if root.tag == "annotations":
            cvat.read(sketch, root, source.name)
        else:
            voc.read(sketch, [source], base=voc_base)
    elif source.suffix.lower() in (".csv", ".tsv"):
        table.read(sketch, source)
    else:
        raise InputError(f"{printable(source)}: no file of boxes that is known", hint=f"give {KNOWN}")
    if not sketch.images and not sketch.rows:
        raise InputError(f"{printable(source)}: no boxes in it", hint=f"give {KNOWN}")
    return sketch.settled(size_of)


def read_folder(sketch: Sketch, folder: Path, voc_base: int | None) -> None:
    if yolo.is_folder_of(folder):
        yolo.read(sketch, folder)
        return
    below = sorted(map(Path, paths_below(folder)))
    json_files = [path for path in below if path.suffix == ".json" and path.parent.name in ("annotations", folder.name)]
    xml_files = [path for path in below if path.suffix.lower() == ".xml"]
    if len(xml_files) == 1 and parse_file(xml_files[0]).tag == "annotations":
        cvat.read(sketch, parse_file(xml_files[0]), xml_files[0].name)
    elif xml_files:
        voc.read(sketch, xml_files, voc.sets_of(folder), voc_base)
    elif json_files:
        for path in json_files:
            read_json(sketch, path)
    else:
        raise InputError(f"{printable(folder)}: no boxes in it", hint=f"give {KNOWN}")


def read_json(sketch: Sketch, path: Path) -> None:
    try:
        content: Any = jsonfile.loads(read_file(path, LARGEST_JSON))
    except OSError as error:
        raise InputError(f"{printable(path)}: {error.strerror or 'cannot be read'}", hint="check the path") from error
    except ValueError as error:
        said = str(error) if not isinstance(error, json.JSONDecodeError) else f"line {error.lineno} is not JSON"
        raise InputError(f"{printable(path)}: {printable(said)}", hint="export it again") from error
    if isinstance(content, list):
        label_studio.read(sketch, content, path)
    elif isinstance(content, dict):
        coco.read(sketch, content, path, part_in(path.stem))
    else:
        raise InputError(f"{printable(path)}: no boxes in it", hint=f"give {KNOWN}")


def part_in(stem: str) -> str:
    """The split that a COCO file's name says: instances_train2017 is of train."""
    return next((part for part in ("train", "val", "test") if part in stem.lower()), "")
