"""results.csv: a row for each image, for a spreadsheet; a person fills in `answer`, and `label` takes it back."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from annotate.classes.folders import distinct
from annotate.exports.layout import NO_SPLIT, RESULTS, REVIEW, Layout
from annotate.kernels.splits import SPLITS
from annotate.kernels.vectors import Ints
from annotate.records import Embeddings, Refinement
from annotate.workspace.artifacts import write_bytes
from annotate.workspace.plan import json_text

__all__ = ["RESULTS", "REVIEW"]
COLUMNS = (
    "path", "label", "confidence", "rank", "second", "second_confidence", "fit", "stranger", "split", "answer", "who",
)  # fmt: skip
NONE_OF_THESE = "none of these"
FORMULAS = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet takes a text for a formula
MARK = b"\xef\xbb\xbf"  # by which Excel knows UTF-8


def write_results(
    file: Path,
    images: Embeddings,
    names: Sequence[str],
    labels: Refinement,
    layout: Layout | None = None,
    rows: Sequence[int] | None = None,
) -> None:
    """A table of all images in their order, or of some.

    layout  of the dataset, where there is one; it knows the splits
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in table_rows(images, names, labels, layout, range(len(labels.labels)) if rows is None else rows):
        writer.writerow(map(safe, row))
    write_bytes(file, MARK + json_text(text.getvalue()).encode())


def table_rows(
    images: Embeddings, names: Sequence[str], labels: Refinement, layout: Layout | None, rows: Sequence[int]
) -> Iterator[list[str]]:
    chosen = np.array(rows, np.int64)
    rank = np.zeros(len(labels.labels), np.int64)
    doubted = by_doubt(labels)
    rank[doubted] = np.arange(1, len(doubted) + 1)
    best, chances = labels.likeliest(chosen, 2)
    paths = images.image_paths if len(chosen) == len(labels.labels) else [images.image_paths[row] for row in chosen]
    for place, (row, path) in enumerate(zip(chosen.tolist(), paths, strict=True)):
        answer = None if labels.answers is None else int(labels.answers[row])
        known = answer is not None and answer != -1
        yield [
            relative(path, images.folder),
            names[labels.labels[row]],
            f"{labels.confidences[row]:.4f}",
            "" if known else str(rank[row]),
            "" if known or best.shape[1] < 2 else names[best[place, 1]],
            "" if known or best.shape[1] < 2 else f"{chances[place, 1]:.4f}",
            "" if labels.fit is None else f"{labels.fit[row]:.4f}",
            "" if labels.strangers is None else "yes" if labels.strangers[row] >= 0 else "no",
            "" if layout is None or layout.splits[row] == NO_SPLIT else SPLITS[layout.splits[row]],
            "" if answer is None or answer == -1 else names[answer] if answer >= 0 else NONE_OF_THESE,
            (labels.answered_by or {}).get(str(row), ""),
        ]


def by_doubt(labels: Refinement) -> Ints:
    """The images that nobody answered, the one most worth a look first."""
    open_rows = np.flatnonzero(~labels.answered)
    return open_rows[np.argsort(labels.confidences[open_rows], kind="stable")]


def relative(path: str, folder: str | None) -> str:
    """The path as seen from the folder of images, where it lies there."""
    inside = folder is not None and path.startswith(folder.rstrip(os.sep) + os.sep)
    return os.path.relpath(path, folder) if inside else path


def safe(cell: str) -> str:
    """A text that no spreadsheet runs as a formula: with an apostrophe before it, which `label` takes off again."""
    return f"'{cell}" if cell.startswith(FORMULAS) else cell


def name_in_review(number: int, of: int, place: str, confidence: float) -> str:
    """A name by which file managers sort images by doubt: 007 cat 41 % IMG_1.jpg."""
    folder, _, name = place.rpartition("/")
    return distinct(f"{number:0{len(str(of))}} {folder} {100 * confidence:.0f} % {name}", {})
