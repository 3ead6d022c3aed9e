"""Label Studio: JSON of tasks; a box in percent of the upright image.

What people drew stands under `annotations`, what a model proposes under `predictions`, of which nothing is read: a
proposal is no answer. Label Studio's own exports name files by their last part alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from annotate.errors import InputError, printable
from annotate.exports.boxes import Boxed
from annotate.exports.boxes.sketch import PERCENT, Row, Sketch
from annotate.exports.pieces import json_list, xml_attribute, xml_name

Paper = tuple[str, Iterator[bytes]]
FROM, TO = "label", "image"


def read(sketch: Sketch, content: Sequence[Any], file: Path) -> None:
    """raises  InputError where it is no export of tasks"""
    for number, task in enumerate(content, 1):
        where = f"{file.name}: task {number}"
        fields = task.get("data") if isinstance(task, Mapping) else None
        if not isinstance(fields, Mapping):
            raise InputError(f"{printable(file)}: {where}: no task of Label Studio", hint="export it as JSON")
        address = next((value for key, value in fields.items() if key in ("image", "img", "url", "photo")), None)
        address = address or next((value for value in fields.values() if isinstance(value, str)), None)
        if not isinstance(address, str):
            sketch.drop(where, "it names no image")
            continue
        said = [one for one in task.get("annotations") or [] if not one.get("was_cancelled")]
        if said:
            read_result(sketch, file_in(address), said[-1].get("result") or [], where)


def file_in(address: str) -> str:
    """The file that a task's address means."""
    parts = urlsplit(address)
    named = parse_qs(parts.query).get("d")
    return (
        named[0] if named else unquote(parts.path).lstrip("/") if parts.scheme or address.startswith("/") else address
    )


def read_result(sketch: Sketch, name: str, result: Sequence[Any], where: str) -> None:
    sketch.image(name)
    for count, one in enumerate(result, 1):
        place = f"{where}: region {count}"
        try:
            if one["type"] != "rectanglelabels":
                sketch.drop(place, f"{printable(one['type'])}; only boxes are read")
                continue
            value = one["value"]
            size = (int(one.get("original_width") or 0), int(one.get("original_height") or 0))
            x, y, width, height = (float(value[side]) for side in ("x", "y", "width", "height"))
            kind, turned = str(value["rectanglelabels"][0]), float(value.get("rotation") or 0)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError):
            sketch.drop(place, "it has no box of four numbers, or no label")
            continue
        if turned:
            sketch.drop(place, "a turned box; only upright boxes are read")
            continue
        sketch.image(name, size if size[0] > 0 < size[1] else None)
        sketch.rows.append(Row(name, kind, (x, y, x + width, y + height), PERCENT, place))
        if kind not in sketch.class_names:
            sketch.class_names.append(kind)


def write(images: Sequence[Boxed], class_names: Sequence[str], *, model: str = "annotate") -> Iterator[Paper]:
    yield "tasks.json", json_list(task(image, number, class_names, model) for number, image in enumerate(images, 1))
    yield "label_config.xml", iter([interface(class_names)])


def task(image: Boxed, number: int, class_names: Sequence[str], model: str) -> dict[str, Any]:
    address = f"/data/local-files/?d={quote(f'images/{image.name}')}"
    drawn = [region(image, box, i, class_names) for i, box in enumerate(image.boxes) if box.score is None]
    proposed = [region(image, box, i, class_names) for i, box in enumerate(image.boxes) if box.score is not None]
    made: dict[str, Any] = {"id": number, "data": {"image": address, "split": image.part}}
    if drawn or not image.boxes:
        made["annotations"] = [{"result": drawn, "was_cancelled": False}]
    if proposed:
        score = min(one["score"] for one in proposed)
        made["predictions"] = [{"model_version": model, "score": score, "result": proposed}]
    return made


def region(image: Boxed, box: Any, count: int, class_names: Sequence[str]) -> dict[str, Any]:
    width, height = image.width or 1, image.height or 1
    return {
        "id": sha256(f"{image.name} {count}".encode()).hexdigest()[:10],
        "type": "rectanglelabels",
        "from_name": FROM,
        "to_name": TO,
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
        "value": {
            "x": round(100 * box.x / width, 6),
            "y": round(100 * box.y / height, 6),
            "width": round(100 * box.width / width, 6),
            "height": round(100 * box.height / height, 6),
            "rotation": 0,
            "rectanglelabels": [xml_name(class_names[box.kind])],
        },
        **({} if box.score is None else {"score": round(box.score, 6)}),
    }


def interface(class_names: Sequence[str]) -> bytes:
    labels = "\n".join(f"    <Label value={xml_attribute(name)}/>" for name in class_names)
    return (
        f'<View>\n  <Image name="{TO}" value="$image" zoom="true"/>\n'
        f'  <RectangleLabels name="{FROM}" toName="{TO}">\n{labels}\n  </RectangleLabels>\n</View>\n'
    ).encode()
