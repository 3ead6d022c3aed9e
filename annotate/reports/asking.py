"""Papers to ask people with: a contact sheet as a page and as a picture, and a page that takes answers offline."""

from __future__ import annotations

import base64
import functools
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from annotate.kernels.vectors import Ints
from annotate.progress import Progress
from annotate.records import Embeddings
from annotate.records.people import Question
from annotate.reports.galleries import Thumbnail, read_thumbnails
from annotate.reports.paper import fonts, legible
from annotate.reports.templates import environment

SIDE = 320  # pixels of a picture on the page
CELL, GAP, LINES, COLUMNS = 150, 12, 34, 6  # pixels of the drawn sheet; images in a row
PAPER, INK, QUIET, LINE = "#ffffff", "#1f2933", "#66727f", "#c9ced4"

Pictures = Sequence[Thumbnail]


def pictures_of(images: Embeddings, rows: Ints, max_megapixels: float, progress: Progress) -> Pictures:
    """The picture of each image; one that cannot be read has none."""
    found = read_thumbnails(images, np.unique(rows), max_megapixels, progress, SIDE)
    return [found[row] for row in rows.tolist()]


def sheet(questions: Sequence[Question], pictures: Pictures) -> str:
    """A page to look at and to print: pictures with their numbers and suggested labels."""
    return str(template("sheet.html.j2").render(rows=list(zip(questions, pictures, strict=True)), name_of=name_of))


def page(questions: Sequence[Question], pictures: Pictures, classes: Sequence[str], likeliest: Ints) -> str:
    """A page that works offline: keys answer single images, pages of one suggested class are confirmed.

    likeliest  (B, up to 9) classes of each image, the likeliest first
    """
    images = [
        {
            "path": question.path,
            "name": name_of(question.path),
            "label": question.label,
            "picture": picture.source,
            "tiny": picture.tiny,
            "classes": [classes[k] for k in row],
        }
        for question, picture, row in zip(questions, pictures, likeliest.tolist(), strict=True)
    ]
    told = json.dumps({"images": images, "classes": list(classes)}, ensure_ascii=True)
    for mark, escape in (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026")):  # the text stands in a script's element
        told = told.replace(mark, escape)
    return str(template("ask.html.j2").render(content=told, count=len(images)))


def drawn_sheet(questions: Sequence[Question], pictures: Pictures) -> bytes:
    """The contact sheet as a PNG."""
    from matplotlib import font_manager
    from PIL import Image, ImageDraw, ImageFont

    path = font_manager.findfont(font_manager.FontProperties(family=list(fonts()[0])))
    strong, quiet = (ImageFont.truetype(path, size) for size in (13, 11))
    columns = min(COLUMNS, len(questions))
    rows = -(-len(questions) // columns)
    size = (GAP + columns * (CELL + GAP), GAP + rows * (CELL + LINES + GAP))
    canvas = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(canvas)
    for place, (question, small) in enumerate(zip(questions, pictures, strict=True)):
        x = GAP + place % columns * (CELL + GAP)
        y = GAP + place // columns * (CELL + LINES + GAP)
        if small.source:
            with Image.open(io.BytesIO(base64.b64decode(small.source.partition(",")[2]))) as opened:
                picture = opened.convert("RGB")
            how = Image.Resampling.NEAREST if small.tiny else Image.Resampling.LANCZOS
            scale = CELL / max(picture.size)
            shape = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
            picture = picture.resize(shape, how)
            canvas.paste(picture, (x + (CELL - picture.width) // 2, y + (CELL - picture.height) // 2))
        draw.rectangle((x, y, x + CELL - 1, y + CELL - 1), outline=LINE)
        draw.text((x, y + CELL + 2), f"{place + 1}  {legible(question.label, 0, 16)}", INK, font=strong)
        draw.text((x, y + CELL + 18), legible(name_of(question.path), 0, 24), QUIET, font=quiet)
    made = io.BytesIO()
    canvas.save(made, "PNG", optimize=True)
    return made.getvalue()


def name_of(path: str) -> str:
    return path.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] or path


@functools.cache
def template(name: str) -> Any:
    return environment().get_template(name)
