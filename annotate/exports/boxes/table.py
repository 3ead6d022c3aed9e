"""Boxes in a CSV: a row per box with corners, or with x, y and the box's width and height; pixels or shares.

Names of columns are those that are common: see `COLUMNS`. A row without a class says that there is nothing on the
image. Where corners are given, `width` and `height` are those of the image, as TensorFlow's tables have them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from annotate.errors import InputError, printable
from annotate.exports.boxes import Boxed
from annotate.exports.boxes.sketch import PIXELS, SHARES, Row, Sketch
from annotate.exports.pieces import csv_rows
from annotate.workspace.artifacts import read_file

Paper = tuple[str, Iterator[bytes]]
LARGEST = 1 << 31  # bytes
COLUMNS = {
    "image": ("path", "file", "filename", "file_name", "image", "image_path", "image_name", "name"),
    "kind": ("label", "class", "class_name", "category", "name"),
    "left": ("x1", "xmin", "x_min", "left", "xtl"),
    "top": ("y1", "ymin", "y_min", "top", "ytl"),
    "right": ("x2", "xmax", "x_max", "right", "xbr"),
    "bottom": ("y2", "ymax", "y_max", "bottom", "ybr"),
    "x": ("x",),
    "y": ("y",),
    "box_width": ("w", "box_width", "bbox_width"),
    "box_height": ("h", "box_height", "bbox_height"),
    "width": ("width", "image_width", "img_width"),
    "height": ("height", "image_height", "img_height"),
    "score": ("score", "confidence"),
    "part": ("split", "part", "subset"),
}
CORNERS = ("left", "top", "right", "bottom")
WRITTEN = ("path", "label", "score", "x1", "y1", "x2", "y2", "width", "height", "split")


def read(sketch: Sketch, file: Path) -> None:
    """raises  InputError where the columns of a box are missing"""
    rows = rows_of(file)
    header = next(rows, [])
    places = columns(header)
    corners = all(name in places for name in CORNERS)
    if not corners and not ("x" in places and "y" in places and box_sides(places)):
        raise InputError(
            f"{printable(file)}: no columns of a box", hint="name them path,label,x1,y1,x2,y2 or path,label,x,y,w,h"
        )
    if "image" not in places or "kind" not in places:
        raise InputError(f"{printable(file)}: no columns of image and class", hint="name them path and label")
    table = [{name: row[at].strip() for name, at in places.items() if at < len(row)} for row in rows]
    shares = all_shares(table, corners)
    for number, row in enumerate(table, 2):
        if any(row.values()):
            read_row(sketch, row, f"row {number}", corners=corners, unit=SHARES if shares else PIXELS)


def is_table_of(file: Path) -> bool:
    """Whether a table has the columns of boxes."""
    try:
        places = columns(next(rows_of(file), []))
    except InputError:
        return False
    return all(name in places for name in CORNERS) or ("x" in places and "y" in places and bool(box_sides(places)))


def rows_of(file: Path) -> Iterator[list[str]]:
    try:
        text = read_file(file, LARGEST).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        raise InputError(f"{printable(file)}: not readable as text", hint="save it as CSV in UTF-8") from error
    first = text.partition("\n")[0]
    separator = max(",;\t", key=first.count)
    try:
        yield from csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    except csv.Error as error:
        raise InputError(f"{printable(file)}: not readable as CSV: {error}", hint="save it as CSV in UTF-8") from error


def columns(header: Sequence[str]) -> dict[str, int]:
    """Where each of `COLUMNS` is."""
    names = [cell.strip().lower() for cell in header]
    found: dict[str, int] = {}
    for meaning, spellings in COLUMNS.items():
        for spelling in spellings:
            if spelling in names and names.index(spelling) not in found.values():
                found[meaning] = names.index(spelling)
                break
    return found


def box_sides(places: Mapping[str, int]) -> tuple[str, str] | None:
    """The columns of a box's own width and height."""
    for sides in (("box_width", "box_height"), ("width", "height")):
        if all(side in places for side in sides):
            return sides
    return None


def numbers_of(row: Mapping[str, str], *, corners: bool) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a row.

    raises  ValueError where one is no number
    """
    if corners:
        left, top, right, bottom = (float(row.get(name, "")) for name in CORNERS)
        return left, top, right, bottom
    sides = ("box_width", "box_height") if row.get("box_width") else ("width", "height")
    x, y, width, height = (float(row.get(name, "")) for name in ("x", "y", *sides))
    return x, y, x + width, y + height


def all_shares(table: Sequence[Mapping[str, str]], corners: bool) -> bool:
    """Whether all coordinates lie between 0 and 1, as those of no boxes in pixels do."""
    seen = False
    for row in table:
        try:
            found = numbers_of(row, corners=corners)
        except ValueError:
            continue
        if min(found) < -0.01 or max(found) > 1.01:
            return False
        seen = True
    return seen


def read_row(sketch: Sketch, row: Mapping[str, str], where: str, *, corners: bool, unit: str) -> None:
    name, kind = row.get("image", ""), row.get("kind", "")
    if not name:
        sketch.drop(where, "it names no image")
        return
    sketch.image(name, image_size(row) if corners or row.get("box_width") else None, row.get("part", ""))
    if not kind:
        return
    try:
        found = numbers_of(row, corners=corners)
        score = float(row["score"]) if row.get("score") else None
    except ValueError:
        sketch.drop(where, "it has no box of four numbers")
        return
    if kind not in sketch.class_names:
        sketch.class_names.append(kind)
    sketch.rows.append(Row(name, kind, found, unit, where, score))


def image_size(row: Mapping[str, str]) -> tuple[int, int] | None:
    try:
        width, height = int(float(row.get("width", ""))), int(float(row.get("height", "")))
    except (ValueError, OverflowError):
        return None
    return (width, height) if width > 0 < height else None


def write(images: Sequence[Boxed], class_names: Sequence[str]) -> Iterator[Paper]:
    yield "boxes.csv", csv_rows([WRITTEN, *rows(images, class_names)])


def rows(images: Sequence[Boxed], class_names: Sequence[str]) -> Iterator[Sequence[object]]:
    for image in images:
        facts = (image.width, image.height, image.part)
        if not image.boxes:
            yield (image.name, "", "", "", "", "", "", *facts)
        for box in image.boxes:
            corners = (box.x, box.y, box.x + box.width, box.y + box.height)
            score = "" if box.score is None else round(box.score, 6)
            yield (image.name, class_names[box.kind], score, *(f"{side:.3f}" for side in corners), *facts)
