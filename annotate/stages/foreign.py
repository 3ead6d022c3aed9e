"""Classes out of the files of other programs: COCO without boxes, choices of Label Studio, tags of CVAT."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from annotate.errors import InputError, printable
from annotate.exports.boxes.label_studio import file_in
from annotate.exports.boxes.safe_xml import parse_file
from annotate.store.events import CLASS, CLASSES
from annotate.store.reading import Said, Table
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import read_file

LARGEST = 1 << 31  # bytes
Pairs = Iterator[tuple[str, tuple[str, ...]]]  # the name of an image, and its classes


def classes_in(source: Path) -> list[tuple[str, tuple[str, ...]]]:
    """The classes of images that a file of another program says; none where it is no such file, or one of boxes."""
    if source.is_dir():
        return []
    try:
        if source.suffix.lower() == ".xml":
            return list(tags_in(source))
        if source.suffix.lower() != ".json":
            return []
        content = jsonfile.loads(read_file(source, LARGEST))
        if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
            return list(coco_classes(content))
        return list(choices_in(content)) if isinstance(content, list) else []
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return []


def coco_classes(content: dict[str, Any]) -> Pairs:
    names = {one["id"]: str(one["name"]) for one in content["categories"]}
    files = {one["id"]: str(one["file_name"]) for one in content["images"]}
    said: dict[str, list[str]] = {}
    for one in content["annotations"]:
        if "bbox" in one:
            return
        said.setdefault(files[one["image_id"]], []).append(names[one["category_id"]])
    yield from ((file, tuple(dict.fromkeys(found))) for file, found in said.items())


def choices_in(tasks: list[Any]) -> Pairs:
    """What people chose in Label Studio; predictions are no answers."""
    for task in tasks:
        said = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
        chosen = [name for one in said[-1:] for r in one["result"] for name in r["value"].get("choices", [])]
        if chosen:
            fields = task["data"]
            yield (
                file_in(str(fields.get("image") or next(iter(fields.values())))),
                tuple(dict.fromkeys(map(str, chosen))),
            )


def tags_in(file: Path) -> Pairs:
    """The tags of CVAT that people set; none where there are boxes."""
    images = list(parse_file(file).iter("image"))
    if any(shape.tag != "tag" for image in images for shape in image):
        return
    for image in images:
        names = [tag.get("label") or "" for tag in image.iter("tag") if tag.get("source") != "auto"]
        if any(names):
            yield image.get("name") or "", tuple(dict.fromkeys(name for name in names if name))


def as_table(source: Path, found: list[tuple[str, tuple[str, ...]]], find: Callable[[str], int | None]) -> Table:
    """What such a file says of the images, as `label` takes it from a table."""
    said, strangers = [], []
    for number, (name, classes) in enumerate(found, 1):
        row = find(name)
        if row is None:
            strangers.append((number, name))
        else:
            said.append(Said(number, row, "", CLASS if len(classes) == 1 else CLASSES, classes))
    return Table(printable(source.name), said, strangers)
