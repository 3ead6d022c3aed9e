"""Lists of images: a text file, a table, a Parquet file; one path or address each.

One reader for all of them, whatever program wrote them: UTF-8 or UTF-16, with a mark of the encoding or without, lines
that end as on Windows, paths in quotes, backslashes for slashes.
"""

from __future__ import annotations

import codecs
import csv
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from annotate.errors import ComponentMissing, Hint, InputError, printable
from annotate.images import is_image
from annotate.sources import archives, remote
from annotate.sources.remote import is_url
from annotate.workspace.lines import Lines

TEXTS, TABLES, PARQUET = (".txt",), (".csv", ".tsv"), (".parquet",)
COLUMNS = ("path", "image", "image_path", "file", "filename", "file_name", "filepath", "url", "location")
LARGE = 1 << 26  # bytes
LONGEST_LINE = 1 << 20  # bytes: no path or row of a table has more, and a line is held in memory whole
SAVE_AS = "save it as `CSV UTF-8`; quote paths that hold commas"
MARKS = (  # with which a text begins that says its encoding; that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
ON_WINDOWS = re.compile(r"[A-Za-z]:\\|\\\\")  # a path from the root of a drive or of a server


def is_list(file: str) -> bool:
    return file.lower().endswith((*TEXTS, *TABLES, *PARQUET))


def read_list(file: str) -> Sequence[str]:
    """The locations that a list names, in its order. Relative paths belong to its folder.

    A large text file without comments and blank lines stays on disk.

    raises  InputError where it cannot be read, has no usable column or names an image twice,
            ComponentMissing where it, or an address in it, needs an extra
    """
    remote.refuse_fetching(file)
    folder, protocols = os.path.dirname(os.path.abspath(file)), set[str]()
    locations: Sequence[str] = []
    try:
        if is_large_text(file):
            locations = Lines(Path(file), lambda line: location_named(decode_line(line), folder))
        else:
            locations = [location_named(entry, folder) for _, entry in read_entries(file)]
        protocols = {remote.url_protocol(location) for location in locations if "://" in location and is_url(location)}
    except FileNotFoundError:
        raise InputError(f"no file {printable(file)}", hint="check the path; quote it where it has spaces") from None
    except OSError as error:
        raise InputError(f"{printable(file)}: {error.strerror or error}", hint="check the file") from error
    for protocol in sorted(protocols):
        remote.check_protocol(protocol)
    if repeats(locations):
        name_the_repeated(file, folder)
    return locations


def is_large_text(file: str) -> bool:
    """Whether a list is better left on disk, and can be."""
    if not file.lower().endswith(TEXTS) or os.path.getsize(file) <= LARGE:
        return False
    refuse_long_lines(file)
    return is_plain(file)


def refuse_long_lines(file: str) -> None:
    """raises  InputError for what has a list's name and is none: a video, a dump of a database"""
    if file.lower().endswith(PARQUET):
        return
    with open(file, "rb") as text:
        since = 0  # bytes since a line ended
        while piece := text.read(LONGEST_LINE):
            ends = [place for place in (piece.find(b"\n"), piece.find(b"\r")) if place >= 0]
            if since + min(ends, default=len(piece)) > LONGEST_LINE:
                raise InputError(
                    f"{printable(file)}: a line of more than {LONGEST_LINE:,} bytes", hint="write one image a line"
                )
            since = len(piece) - 1 - max(piece.rfind(b"\n"), piece.rfind(b"\r")) if ends else since + len(piece)


def is_plain(file: str) -> bool:
    """Whether each line of a text is the path or address of an image as it stands, in UTF-8."""
    if detect_encoding(file) != "utf-8":
        return False
    with open(file, "rb") as text:
        line = b"\n"
        for line in text:
            start = line.lstrip()
            if not start or start.startswith((b"#", b'"')):
                return False
        return line.endswith(b"\n")


def decode_line(line: bytes) -> str:
    return line.decode("utf-8", "surrogateescape").strip()


def location_named(entry: str, folder: str) -> str:
    """The location that an entry names. One with backslashes is meant as it is where such a file exists."""
    if "\\" in entry and not is_url(entry):
        as_written, *others = (absolute_path(spelling, folder) for spelling in spellings(entry))
        return as_written if not others or exists(as_written) else others[0]
    if entry.startswith("/") and "/." not in entry and "//" not in entry and not entry.endswith("/"):
        return entry  # as it stands on Linux and macOS, and by far the most
    if is_url(entry):
        return entry
    return absolute_path(entry, folder)


def absolute_path(entry: str, folder: str) -> str:
    return os.path.normpath(entry if os.path.isabs(entry) else f"{folder}/{entry}")  # os.path.join takes a second more


def spellings(path: str) -> list[str]:
    """A path as it was written, then with slashes where Windows writes backslashes."""
    return [path, path.replace("\\", "/")] if "\\" in path and os.sep != "\\" else [path]


def exists(location: str) -> bool:
    """Whether there is such a file here, or such a member of an archive."""
    inside = archives.split_location(location)
    if inside is None:
        return os.path.lexists(location)
    try:
        archives.size_and_time(*inside)
    except (OSError, InputError):
        return False
    return True


def repeats(locations: Sequence[str]) -> bool:
    """Whether any two may be the same: by their hashes, which take a fraction of a set's memory."""
    hashes = np.fromiter(map(hash, locations), np.int64, len(locations))
    hashes.sort()
    return bool((hashes[1:] == hashes[:-1]).any())


def name_the_repeated(file: str, folder: str) -> None:
    """Read the list once more, for the line; two names of one hash may still differ.

    raises  InputError
    """
    first: dict[str, int] = {}
    for line, entry in read_entries(file):
        before = first.setdefault(location_named(entry, folder), line)
        if before != line:
            what = "row" if file.lower().endswith(PARQUET) else "line"
            raise InputError(
                f"{printable(file)}: {what} {line}: {printable(entry)} is listed twice, first in {what} {before}",
                hint="name each image once",
            )


# -- one file format each ------------------------------------------------------------------------------


def read_entries(file: str) -> Iterator[tuple[int, str]]:
    """Line or row number, from one, and what it names; nothing is held in memory.

    Tables and Parquet files are known by their names; everything else is text.
    """
    refuse_long_lines(file)
    name = file.lower()
    return rows(file) if name.endswith(TABLES) else parquet_rows(file) if name.endswith(PARQUET) else lines(file)


def lines(file: str) -> Iterator[tuple[int, str]]:
    """The lines of a text but blank ones and those that begin with #."""
    try:
        with open(file, encoding=detect_encoding(file), errors="surrogateescape", newline="\n") as text:
            for number, line in enumerate(text, 1):
                entry = line.strip()
                if entry and not entry.startswith("#"):
                    yield number, unquoted(entry)
    except UnicodeError as error:
        raise InputError(f"{printable(file)}: not readable as text", hint="save it as UTF-8") from error


def detect_encoding(file: str) -> str:
    """By the mark that a text begins with, or by the zeros that UTF-16 has beside every Latin letter; else UTF-8."""
    with open(file, "rb") as text:
        start = text.read(4)
    for mark, encoding in MARKS:
        if start.startswith(mark):
            return encoding
    if len(start) > 1 and not (start[0] and start[1]):
        return "utf-16-le" if start[0] else "utf-16-be"
    return "utf-8"


def unquoted(entry: str) -> str:
    """The entry without its quotes: a JSON text, as `image_paths.txt` has it, or a path as Windows copies it."""
    if len(entry) < 2 or not entry[0] == entry[-1] == '"':
        return entry
    inside = entry[1:-1]
    if ON_WINDOWS.match(inside):
        return inside
    try:
        return str(json.loads(entry))
    except ValueError:
        return inside


def rows(file: str) -> Iterator[tuple[int, str]]:
    """One column of a table with a header."""
    column = -1
    for line, row in table_rows(file):
        if column < 0:
            column = image_column(printable(file), row)
        elif len(row) > column and row[column].strip():
            yield line, row[column].strip()
    if column < 0:
        image_column(printable(file), [])


def table_rows(file: str) -> Iterator[tuple[int, list[str]]]:
    """All rows of a table with their line numbers, its header first."""
    shown = printable(file)
    try:
        with open(file, encoding=detect_encoding(file), newline="") as text:
            first = text.readline()
            text.seek(0)
            # Excel writes what the country uses.
            delimiter = "\t" if file.lower().endswith(".tsv") else max(",;\t", key=first.count)
            reader = csv.reader(text, delimiter=delimiter)
            for row in reader:
                if len(row) == 1 and reader.line_num == 1 and looks_like_an_image(row[0]):
                    raise InputError(
                        f"{shown}: begins with an image, not with a header",
                        hint="write `path` above the images, or call the file .txt",
                    )
                yield reader.line_num, row
    except (UnicodeError, csv.Error) as error:
        raise InputError(f"{shown}: not readable as a table in UTF-8", hint=SAVE_AS) from error


def parquet_rows(file: str) -> Iterator[tuple[int, str]]:
    """One column of text of a Parquet file."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ComponentMissing(
            f"{printable(file)}: reading Parquet needs pyarrow",
            hint=Hint("install annotate-images[parquet]", "run `pip install 'annotate-images[parquet]'`"),
        ) from error
    try:
        with parquet.ParquetFile(file) as table:
            schema = table.schema_arrow
            texts = [entry.name for entry in schema if is_text(entry.type)]
            column = texts[image_column(printable(file), texts, among=len(schema))]
            number = 0
            for batch in table.iter_batches(columns=[column]):
                for entry in batch.column(0).to_pylist():
                    number += 1
                    if entry and entry.strip():
                        yield number, entry.strip()
    except pyarrow.ArrowInvalid as error:
        raise InputError(f"{printable(file)}: not a whole Parquet file", hint="make or download it again") from error


def is_text(kind: Any) -> bool:
    """Whether a column of this Arrow type holds text, as it is or as a dictionary's."""
    return str(getattr(kind, "value_type", kind)) in ("string", "large_string", "string_view")


def looks_like_an_image(cell: str) -> bool:
    return is_url(cell) or is_image(cell.strip())


def image_column(shown: str, header: Sequence[str], among: int | None = None) -> int:
    """Which column holds the images: by its title, or the only one.

    among   so many columns, where the header leaves some out
    raises  InputError
    """
    titles = [title.strip().lower() for title in header]
    named = [titles.index(name) for name in COLUMNS if name in titles]
    if named:
        return named[0]
    if len(titles) == (among or 1) == 1:
        return 0
    listed = ", ".join(f"'{printable(title)}'" for title in header[:8]) or "no columns of text"
    raise InputError(f"{shown}: no column 'path' among {listed}", hint=f"call it one of {', '.join(COLUMNS)}")
