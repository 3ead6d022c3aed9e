"""Pascal VOC: an XML file per image. The first pixel is 1, and the right and lower pixel belong to the box.

Half the world writes it from 0. A file in which some coordinate is 0 is read so, unless somebody says which it is.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from annotate.exports.boxes import Boxed
from annotate.exports.boxes.safe_xml import parse_file
from annotate.exports.boxes.sketch import PIXELS, Row, Sketch
from annotate.exports.pieces import xml_text
from annotate.workspace.publishing import paths_below

Paper = tuple[str, Iterator[bytes]]
SIDES = ("xmin", "ymin", "xmax", "ymax")
SETS = "ImageSets/Main"


def is_folder_of(folder: Path) -> bool:
    return any(path.endswith(".xml") for path in paths_below(folder))


def read(sketch: Sketch, files: Sequence[Path], sets: dict[str, str] | None = None, base: int | None = None) -> None:
    """Read files of one folder, which count from one number all of them.

    sets  stem to part
    base  0 or 1, the number of the first pixel; None where it is to be found out
    """
    documents = [(file, parse_file(file)) for file in files]
    first = base if base is not None else found_base([root for _, root in documents])
    for file, root in documents:
        read_image(sketch, root, file, first, (sets or {}).get(file.stem, ""))


def found_base(roots: Sequence[Element]) -> int:
    """0 where some box begins at pixel 0, as none does that counts from 1."""
    lows = (number(box, side) for root in roots for box in root.iter("bndbox") for side in SIDES[:2])
    return 0 if any(low is not None and low < 1 for low in lows) else 1


def read_image(sketch: Sketch, root: Element, file: Path, base: int, part: str) -> None:
    name = (root.findtext("filename") or "").strip() or f"{file.stem}.jpg"
    size = root.find("size")
    width, height = (None, None) if size is None else (number(size, "width"), number(size, "height"))
    sketch.image(name, (int(width), int(height)) if width and height and width > 0 < height else None, part)
    for count, thing in enumerate(root.iter("object"), 1):
        where, kind, box = f"{file.name}: object {count}", (thing.findtext("name") or "").strip(), thing.find("bndbox")
        sides = [None] * 4 if box is None else [number(box, side) for side in SIDES]
        if not kind or any(side is None for side in sides):
            sketch.drop(where, "it has no box of four numbers" if kind else "it has no name")
            continue
        left, top, right, bottom = (float(side) for side in sides if side is not None)
        sketch.rows.append(Row(name, kind, (left - base, top - base, right, bottom), PIXELS, where))
        if kind not in sketch.class_names:
            sketch.class_names.append(kind)


def number(element: Element, name: str) -> float | None:
    try:
        return float(element.findtext(name) or "")
    except ValueError:
        return None


def sets_of(folder: Path) -> dict[str, str]:
    """Stem to part, of ImageSets/Main where it is there."""
    found: dict[str, str] = {}
    for part in ("train", "val", "test"):
        path = folder / SETS / f"{part}.txt"
        if path.is_file() and path.stat().st_size < 1 << 26:
            found |= {line.split()[0]: part for line in path.read_text("utf-8", "replace").splitlines() if line.split()}
    return found


def write(images: Sequence[Boxed], class_names: Sequence[str]) -> Iterator[Paper]:
    for image in images:
        yield f"Annotations/{os.path.splitext(image.name)[0]}.xml", iter([document(image, class_names)])
    for part in dict.fromkeys(image.part for image in images if image.part):
        stems = [os.path.splitext(image.name)[0] for image in images if image.part == part]
        yield f"{SETS}/{part}.txt", (f"{stem}\n".encode() for stem in stems)


def document(image: Boxed, class_names: Sequence[str]) -> bytes:
    things = "".join(thing(box, class_names) for box in image.boxes)
    return (
        f"<annotation>\n  <folder>JPEGImages</folder>\n  <filename>{xml_text(image.name)}</filename>\n"
        f"  <size><width>{image.width or 0}</width><height>{image.height or 0}</height><depth>3</depth></size>\n"
        f"  <segmented>0</segmented>\n{things}</annotation>\n"
    ).encode()


def thing(box: Any, class_names: Sequence[str]) -> str:
    """Whole pixels, the nearest: strict readers take no others."""
    left, top = nearest(box.x), nearest(box.y)
    right, bottom = max(nearest(box.x + box.width), left + 1), max(nearest(box.y + box.height), top + 1)
    sides = f"<xmin>{left + 1}</xmin><ymin>{top + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return (
        f"  <object><name>{xml_text(class_names[box.kind])}</name><pose>Unspecified</pose><truncated>0</truncated>"
        f"<difficult>0</difficult><bndbox>{sides}</bndbox></object>\n"
    )


def nearest(value: float) -> int:
    return int(value + 0.5)
