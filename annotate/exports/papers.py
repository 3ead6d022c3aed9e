"""What every export says of itself: README.md, classes.json with the ids of classes, images.csv with every image."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from annotate import sources
from annotate.errors import first_few, printable
from annotate.exports.catalogue import UNLABELLED, Catalogue
from annotate.exports.formats import Format, Paper
from annotate.exports.pieces import csv_rows, json_list

COLUMNS = (
    "file",
    "original",
    "split",
    "class_id",
    "class",
    "said_by",
    "confidence",
    "width",
    "height",
    "sha256",
)
MOST_CLASSES = 100  # listed in a README; classes.json has all


def papers(form: Format, catalogue: Catalogue, digests: dict[int, str], base: str | None) -> Iterator[Paper]:
    """Those that all formats have.

    digests  row to the sha256 of the image in the export
    base     the folder of the images, which their paths are shortened by
    """
    yield "README.md", [readme(form, catalogue).encode("utf-8", "backslashreplace")]
    yield "classes.json", [*json_list(class_rows(catalogue)), b"\n"]
    yield "images.csv", csv_rows(chain([COLUMNS], image_rows(form, catalogue, digests, base)))
    if form.table:
        yield from form.table(COLUMNS, image_rows(form, catalogue, digests, base))


def class_rows(catalogue: Catalogue) -> Iterator[dict[str, Any]]:
    """The classes in the order in which the user named them."""
    for k, (name, folder) in enumerate(zip(catalogue.class_names, catalogue.folders, strict=True)):
        yield {"id": k, "name": name, "folder": folder, "images": catalogue.class_counts[k]}


def image_rows(
    form: Format, catalogue: Catalogue, digests: dict[int, str], base: str | None
) -> Iterator[tuple[object, ...]]:
    """A row of `COLUMNS` for every image."""
    short = shortener(base)
    for entry in catalogue.entries:
        name = None if entry.label is None else catalogue.class_names[entry.label]
        yield (
            form.place(catalogue, entry) or entry.name,
            short(entry.original),
            "" if entry.part == UNLABELLED else entry.part,
            entry.label,
            name,
            entry.said_by,
            entry.sure,
            entry.width,
            entry.height,
            digests.get(entry.row, entry.digest),
        )


def shortener(base: str | None) -> Callable[[str], str]:
    """A path relative to the folder of the images, where it lies below that: what is shared tells no home folder."""
    if not base:
        return str
    top = f"{base if sources.is_url(base) else os.path.abspath(base)}/"
    return lambda original: original.removeprefix(top)


def readme(form: Format, catalogue: Catalogue) -> str:
    """What the export is, how to load it, and what to know of it."""
    flag = "" if catalogue.boxes is None else " --boxes"
    lines = [
        f"# {counted(len(catalogue.entries), 'image')} in {counted(len(catalogue.class_names), 'class')}",
        "",
        f"{form.about} Made by annotate: `annotate export --format {form.name}{flag}`.",
        "",
        *contents(catalogue),
        "",
        "## Load it",
        "",
        "```python",
        form.loading(catalogue),
        "```",
        "",
        "## Classes",
        "",
        "Class ids follow the order in which the classes were named. classes.json has them, too.",
        "",
        "```text",
        *class_table(catalogue),
        "```",
        "",
        "## What to know",
        "",
        *(f"- {trap}" for trap in [*form.traps(catalogue), *common_traps(form, catalogue)]),
        "",
    ]
    return form.card(catalogue) + "\n".join(lines)


def contents(catalogue: Catalogue) -> list[str]:
    """How many images there are of each kind."""
    parts = ", ".join(f"{part} {catalogue.counts[part]:,}" for part in catalogue.parts)
    lines = [f"- Splits: {parts or 'none'}."]
    if catalogue.boxes is not None:
        return lines + boxes_in(catalogue)
    labelled = sum(catalogue.class_counts)
    if catalogue.answered:
        lines.append(f"- A person gave the class of {counted(catalogue.answered, 'image')}.")
    if labelled > catalogue.answered:
        lines.append(
            f"- annotate gave the class of {counted(labelled - catalogue.answered, 'image')}, with the model "
            f"{printable(catalogue.model)}. images.csv says how surely."
        )
    if catalogue.left_out:
        lines.append(f"- Left out, because they have no class here: {counted(catalogue.left_out, 'image')}.")
    return lines


def boxes_in(catalogue: Catalogue) -> list[str]:
    boxes, empty = sum(len(image.boxes) for image in catalogue.boxed), sum(not image.boxes for image in catalogue.boxed)
    lines = [f"- {counted(boxes, 'box')} that people drew, on {counted(len(catalogue.boxed), 'image')}."]
    if empty:
        lines.append(f"- There is nothing on {counted(empty, 'image')}: somebody looked.")
    if catalogue.left_out:
        lines.append(f"- Left out, because nobody looked at them for boxes: {counted(catalogue.left_out, 'image')}.")
    return lines


def class_table(catalogue: Catalogue) -> list[str]:
    shown = list(class_rows(catalogue))[:MOST_CLASSES]
    rows = [(f"{row['id']}", printable(row["name"]), f"{row['images']:,} images") for row in shown]
    width = max((len(name) for _, name, _ in rows), default=0)
    more = len(catalogue.class_names) - len(shown)
    lines = [f"    {number:>4}  {name:<{width}}  {images}" for number, name, images in rows]
    return lines + ([f"    and {more:,} more in classes.json"] if more else [])


def common_traps(form: Format, catalogue: Catalogue) -> list[str]:
    turned = sum(entry.orientation != 1 for entry in catalogue.entries)
    holds = form.pack is not None or any(form.place(catalogue, entry) for entry in catalogue.entries[:1])
    said = []
    if holds and turned:
        said.append(
            f"Pictures that lay on their side, as a tag in the file said, were encoded once more, upright: {turned:,}. "
            "Width, height and coordinates are those of the upright picture."
        )
    if holds:
        said.append(f"All {'other ' * bool(turned)}images are the original files, byte for byte.")
    for part, missing in catalogue.missing_in_parts():
        said.append(f"`{part}` has no image of {first_few([f'`{printable(name)}`' for name in missing])}.")
    said += [
        "images.csv names the original of every file. manifest.json has the sha256 of every file.",
        "`annotate export` replaces this folder as long as nobody has changed it.",
        "The images keep the licence of wherever they came from.",
    ]
    return said


def counted(count: int, word: str) -> str:
    plural = f"{word}es" if word.endswith(("s", "x")) else f"{word}s"
    return f"{count:,} {word if count == 1 else plural}"
