"""CVAT for images 1.1: one XML file; a box by its corners in pixels, from 0."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree.ElementTree import Element

from annotate.exports.boxes import Boxed
from annotate.exports.boxes.sketch import PIXELS, Row, Sketch
from annotate.exports.pieces import xml_attribute, xml_text

Paper = tuple[str, Iterator[bytes]]
SIDES = ("xtl", "ytl", "xbr", "ybr")
OUTLINES = ("polygon", "polyline", "points", "mask", "cuboid", "skeleton", "ellipse")


def read(sketch: Sketch, root: Element, file: str) -> None:
    labels = [(label.findtext("name") or "").strip() for label in root.iter("label")]
    sketch.class_names += [name for name in dict.fromkeys(labels) if name and name not in sketch.class_names]
    for image in root.iter("image"):
        name = image.get("name") or ""
        width, height = number(image, "width"), number(image, "height")
        size = (int(width), int(height)) if width and height and width > 0 < height else None
        sketch.image(name, size, (image.get("subset") or "").lower())
        for count, shape in enumerate(image, 1):
            where, kind = f"{file}: {name}: shape {count}", (shape.get("label") or "").strip()
            if shape.tag in OUTLINES or (shape.tag == "box" and number(shape, "rotation")):
                sketch.drop(where, f"a {shape.tag}; only upright boxes are read")
            elif shape.tag == "box":
                sides = [number(shape, side) for side in SIDES]
                if not kind or any(side is None for side in sides):
                    sketch.drop(where, "it has no box of four numbers, or no label")
                    continue
                left, top, right, bottom = (float(side) for side in sides if side is not None)
                sketch.rows.append(Row(name, kind, (left, top, right, bottom), PIXELS, where))


def number(element: Element, name: str) -> float | None:
    try:
        return float(element.get(name) or "")
    except ValueError:
        return None


def write(images: Sequence[Boxed], class_names: Sequence[str]) -> Iterator[Paper]:
    yield "annotations.xml", document(images, class_names)


def document(images: Sequence[Boxed], class_names: Sequence[str]) -> Iterator[bytes]:
    names = "".join(
        f"        <label><name>{xml_text(name)}</name><type>rectangle</type><attributes></attributes></label>\n"
        for name in class_names
    )
    yield (
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n'
        f"      <size>{len(images)}</size>\n      <mode>annotation</mode>\n"
        f"      <labels>\n{names}      </labels>\n    </task>\n  </meta>\n"
    ).encode()
    for count, image in enumerate(images):
        yield element(image, class_names, count).encode()
    yield b"</annotations>\n"


def element(image: Boxed, class_names: Sequence[str], count: int) -> str:
    part = f' subset="{image.part}"' if image.part else ""
    size = f'width="{image.width or 0}" height="{image.height or 0}"'
    boxes = "".join(shape(box, class_names) for box in image.boxes)
    return f'  <image id="{count}" name={xml_attribute(image.name)}{part} {size}>\n{boxes}  </image>\n'


def shape(box: Any, class_names: Sequence[str]) -> str:
    corners = zip(SIDES, (box.x, box.y, box.x + box.width, box.y + box.height), strict=True)
    sides = " ".join(f'{side}="{value:.3f}"' for side, value in corners)
    source = "manual" if box.score is None else "auto"
    label = xml_attribute(class_names[box.kind])
    return f'    <box label={label} source="{source}" occluded="0" {sides} z_order="0"></box>\n'
