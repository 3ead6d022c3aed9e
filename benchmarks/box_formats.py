"""Real sets of boxes through every format and back: how many boxes come back, and how far a corner moved.

    python -m benchmarks.box_formats --data DIR

DIR holds bccd.zip (Pascal VOC) and boxes.zip (COCO).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from annotate.exports.boxes import Box, Boxed, Drawings, coco, cvat, label_studio, table, voc, yolo
from annotate.exports.boxes.reading import read_boxes

SETS = {"bccd.zip": [""], "boxes.zip": ["boards/boxes.json", "raccoon/boxes.json"]}
FILES = {"label-studio": "tasks.json", "csv": "boxes.csv", "cvat": "annotations.xml"}
Write = Callable[[Sequence[Boxed], Sequence[str]], Iterable[tuple[str, Iterable[bytes]]]]
WRITERS: dict[str, Write] = {
    "coco": coco.write,
    "yolo": yolo.write,
    "voc": voc.write,
    "cvat": cvat.write,
    "label-studio": label_studio.write,
    "csv": table.write,
}


def corners(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.x + box.width, box.y + box.height


def moved(before: Drawings, after: Drawings) -> float:
    """The farthest that a corner went, in pixels.

    raises  AssertionError where a box is lost or bears another class
    """
    there = {os.path.basename(image.name): image for image in after.images}
    assert len(there) == len(before.images)
    farthest = 0.0
    for image in before.images:
        for box, again in zip(image.boxes, there[image.name].boxes, strict=True):
            assert before.class_names[box.kind] == after.class_names[again.kind]
            farthest = max(farthest, *(abs(a - b) for a, b in zip(corners(box), corners(again), strict=True)))
    return farthest


def through(name: str, drawings: Drawings) -> Drawings:
    """The boxes written in a format, and read again."""
    sizes = {image.name: (image.width or 0, image.height or 0) for image in drawings.images}
    with tempfile.TemporaryDirectory() as place:
        for file, pieces in WRITERS[name](drawings.images, drawings.class_names):
            Path(place, file).parent.mkdir(parents=True, exist_ok=True)
            Path(place, file).write_bytes(b"".join(pieces))
        return read_boxes(Path(place, FILES.get(name, "")), lambda image: sizes.get(os.path.basename(image)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    data = parser.parse_args().data
    for archive, sources in SETS.items():
        with tempfile.TemporaryDirectory() as place:
            with zipfile.ZipFile(data / archive) as members:
                members.extractall(place, [name for name in members.namelist() if name.endswith((".xml", ".json"))])
            for source in sources:
                found = read_boxes(Path(place, source))
                images = [replace(one, name=os.path.basename(one.name), part="train") for one in found.images]
                drawings = replace(found, images=images)
                boxes = sum(len(one.boxes) for one in images)
                print(f"{archive} {source}: {len(images)} images, {boxes} boxes, {len(found.dropped)} rows dropped")
                for name in WRITERS:
                    print(f"    {name:<13} {moved(drawings, through(name, drawings)):.4f} pixels")


if __name__ == "__main__":
    main()
