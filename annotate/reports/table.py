"""A table of paths and classes, as somebody wrote it: a CSV, with a header or without."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from annotate import sources
from annotate.classes.spelling import unambiguous
from annotate.errors import InputError, printable
from annotate.sources import lists

CLASS_COLUMNS = ("class", "label", "class_name", "name", "category", "truth")


def names_from_csv(
    file: Path, image_paths: Sequence[str], folder: str | None
) -> tuple[list[str | None], list[int], int]:
    """The class that the CSV gives each image, and its line; rows that name no image are counted.

    raises  InputError where it is not a table of paths and classes, or contradicts itself
    """
    find = finder(image_paths, folders=[os.path.dirname(os.path.abspath(file)), *([folder] if folder else [])])
    names: list[str | None] = [None] * len(image_paths)
    lines, unused = [0] * len(image_paths), 0
    for line, path, name in csv_rows(file):
        index = find(path)
        if index is None:
            unused += 1
            continue
        if not name:
            continue
        before = names[index]
        if before is not None and before != name:
            raise InputError(
                f"{printable(file)}: line {line}: {printable(path)} is '{printable(name)}' here "
                f"and '{printable(before)}' before",
                hint="give each image one class",
            )
        names[index], lines[index] = name, line
    return names, lines, unused


def csv_rows(file: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, path and class of each row; a header, where there is one, says which columns."""
    shown = printable(file)
    hint = "write one line `path,class` per image; quote paths that hold commas"
    columns: tuple[int, int] | None = None
    try:
        lists.refuse_long_lines(str(file))
        with open(file, encoding=lists.detect_encoding(str(file)), newline="") as lines:
            first = lines.readline()
            if not first.strip():
                raise InputError(f"{shown}: empty", hint=hint)
            lines.seek(0)
            reader = csv.reader(lines, delimiter=max(",;\t", key=first.count))  # Excel writes what the country uses
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if columns is None:
                    columns = header_columns(row, shown)
                    if columns:
                        continue
                    if len(row) == 2:
                        columns = (0, 1)
                if columns is None or len(row) <= max(columns):
                    found = f"{len(row)} column{'s' * (len(row) != 1)}"
                    raise InputError(f"{shown}: line {reader.line_num}: expected path,class, found {found}", hint=hint)
                yield reader.line_num, row[columns[0]], row[columns[1]].strip()
    except (UnicodeError, csv.Error) as error:
        raise InputError(f"{shown}: not readable as a CSV in UTF-8", hint=f"save it as `CSV UTF-8`; {hint}") from error


def header_columns(row: Sequence[str], shown: str) -> tuple[int, int] | None:
    """Which columns hold path and class, or None where the row is no header."""
    titles = [cell.strip().lower() for cell in row]
    path = next((titles.index(title) for title in lists.COLUMNS if title in titles), None)
    name = next((titles.index(title) for title in CLASS_COLUMNS if title in titles), None)
    if path is None:
        return None
    if name is None:
        listed = ", ".join(f"'{printable(cell)}'" for cell in row)
        raise InputError(f"{shown}: no column 'class' among {listed}", hint="call the column of true classes `class`")
    return path, name


def finder(image_paths: Sequence[str], *, folders: Sequence[str]) -> Callable[[str], int | None]:
    """From a path as somebody wrote it to the image: as listed, below one of the folders, or by a bare name.

    Backslashes are slashes where no image is called so, on either side: archives of Windows may hold them, too.
    """
    listed = {path: index for index, path in enumerate(image_paths)}
    if any("\\" in path for path in image_paths):
        listed = unambiguous(image_paths, lambda path: path.replace("\\", "/")) | listed
    bare = unambiguous(image_paths, lambda path: os.path.basename(sources.path_without_query(path)))

    def find(path: str) -> int | None:
        for way in lists.spellings(path):
            for candidate in (way, way.strip(), *(below(top, way.strip()) for top in folders)):
                if candidate in listed:
                    return listed[candidate]
        return bare.get(path.strip())

    return find


def below(top: str, path: str) -> str:
    """The path seen from a folder, or from an address that stands for one."""
    return f"{top.rstrip('/')}/{path}" if sources.is_url(top) else os.path.normpath(os.path.join(top, path))
