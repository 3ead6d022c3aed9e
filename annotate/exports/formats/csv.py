"""A folder of images and images.csv, which every export has: a row per image."""

from __future__ import annotations

from annotate.exports.boxes import table
from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format
from annotate.exports.formats.imagefolder import papers


def place(catalogue: Catalogue, entry: Entry) -> str:
    return f"images/{entry.name}"


def loading(catalogue: Catalogue) -> str:
    return (
        "import pandas\n"
        'table = pandas.read_csv("images.csv", keep_default_na=False)\n'
        'train = table[table.split == "train"]  # columns file, class_id, class, ...'
    )


def traps(catalogue: Catalogue) -> list[str]:
    return [
        "Without `keep_default_na=False` pandas takes a class called NA or None for a hole.",
        "Do not open images.csv in a spreadsheet and save it there: spreadsheets change names that look like numbers, "
        "dates or formulas.",
    ]


FORMAT = Format(
    "csv",
    "A folder of images and a table, images.csv, with a row per image.",
    place,
    papers,
    loading,
    traps,
    boxes=Format(
        "csv",
        "A folder of images and a table, boxes.csv, with a row per box; a row without a class is an image without any.",
        place,
        lambda catalogue: table.write(catalogue.boxed, catalogue.class_names),
        lambda catalogue: (
            loading(catalogue).replace("images.csv", "boxes.csv").replace("file, class_id", "path, label")
        ),
        traps,
        measures=True,
    ),
)
