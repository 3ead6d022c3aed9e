"""A table as somebody's program wrote it: CSV with any separator and encoding, spreadsheets, JSON lines."""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.errors import InputError, StorageError, printable
from annotate.sources import lists
from annotate.workspace import jsonfile

SPREADSHEETS = (".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")
JSONS = (".jsonl", ".ndjson", ".json")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
SEPARATORS = ",;\t|"
EXCEL_SAYS = "sep="  # a first line with which Excel is told the separator
LOOKED_AT = 50  # rows by which a separator is chosen
HINT = "write one line `path,class` per image; quote paths that hold commas"
OPEN_ELSEWHERE = "close it in the program that has it open, save it, then run the same command again"
LIBRE_OFFICE = ".~lock.{}#"  # the file that it puts beside one that it has open


@dataclass(frozen=True)
class Sheet:
    """The cells of a table as texts.

    shown   the file, for messages
    rows    number of the line, and its cells; blank lines are left out
    titles  of the columns, where the format always says them; else the first row may hold them
    """

    shown: str
    rows: list[tuple[int, list[str]]]
    titles: list[str] | None = None


def read_sheet(file: Path) -> Sheet:
    """raises  InputError where it is no table or not whole, StorageError where another program holds it"""
    shown, name = printable(file), file.name.lower()
    if name.startswith("~$"):
        raise InputError(f"{shown}: what Excel leaves beside a file that is open", hint="give the file itself")
    try:
        if name.endswith(SPREADSHEETS):
            return spreadsheet(file, shown)
        if name.endswith(JSONS):
            return json_rows(file, shown)
        return table(file, shown)
    except PermissionError as error:
        raise StorageError(f"{shown}: it cannot be read now", hint=OPEN_ELSEWHERE) from error


def is_open_elsewhere(file: Path) -> bool:
    """Whether LibreOffice or Excel has the file open: what was not saved there is not in it."""
    beside = (LIBRE_OFFICE.format(file.name), f"~${file.name}")
    return any(file.with_name(name).exists() for name in beside)


# -- text ----------------------------------------------------------------------------------------------


def table(file: Path, shown: str) -> Sheet:
    lists.refuse_long_lines(str(file))
    text = text_of(file, shown)
    first, _, rest = text.partition("\n")
    skipped, separator = 0, ""
    if first.strip().lower().startswith(EXCEL_SAYS) and len(first.strip()) == len(EXCEL_SAYS) + 1:
        separator, text, skipped = first.strip()[-1], rest, 1
    if not text.strip():
        raise InputError(f"{shown}: empty", hint=HINT)
    separator = separator or separator_of(text)
    try:
        rows = cells(text, separator, strict=True)
    except csv.Error as error:
        if "unexpected end" in str(error):  # a quote that nobody closed: half of the file is missing, or was not meant
            raise InputError(f"{shown}: a quotation mark is opened and never closed", hint=HINT) from error
        rows = cells(text, separator, strict=False)
    return Sheet(shown, [(line + skipped, row) for line, row in rows])


def text_of(file: Path, shown: str) -> str:
    """In the encoding that the file begins with; else UTF-8, else what Windows writes in western countries."""
    encoding = lists.detect_encoding(str(file))
    content = file.read_bytes()
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise InputError(
                f"{shown}: not readable as a table in {encoding}", hint=f"save it as `CSV UTF-8`; {HINT}"
            ) from error
        text = content.decode("cp1252", "replace")
        text = content.decode("latin-1") if "\ufffd" in text else text
    if "\0" in text:
        raise InputError(f"{shown}: not a table of text", hint=f"save it as `CSV UTF-8`; {HINT}")
    return text.removeprefix("\ufeff")


def separator_of(text: str) -> str:
    """The one that cuts most lines into as many cells, more than one; a space where none of the usual ones does."""
    start = "".join(itertools.islice(io.StringIO(text), LOOKED_AT))

    def regular(separator: str) -> tuple[float, int]:
        counts = Counter(len(row) for _, row in cells(start, separator, strict=False))
        count, often = max(counts.items(), key=lambda item: (item[1], item[0]), default=(1, 0))
        return (often / counts.total(), count) if count > 1 else (0, 0)

    best = max(SEPARATORS, key=regular)
    if regular(best)[1] > 1:
        return best
    return " " if regular(" ") == (1.0, 2) else ","


def cells(text: str, separator: str, *, strict: bool) -> list[tuple[int, list[str]]]:
    """The rows but blank ones; without the apostrophe that keeps a spreadsheet from running a cell as a formula."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=strict)
    return [(reader.line_num, [*map(bare, row)]) for row in reader if any(cell.strip() for cell in row)]


def bare(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and cell[1:2] in FORMULAS and len(cell) > 1 else cell


# -- spreadsheets --------------------------------------------------------------------------------------


def spreadsheet(file: Path, shown: str) -> Sheet:
    """The first sheet that holds anything."""
    from python_calamine import CalamineError, load_workbook

    try:
        with load_workbook(str(file)) as book:
            for name in book.sheet_names:
                found = book.get_sheet_by_name(name)
                rows = [[as_text(cell) for cell in row] for row in found.to_python(skip_empty_area=False)]
                numbered = [(number, row) for number, row in enumerate(rows, 1) if any(cell.strip() for cell in row)]
                if numbered:
                    return Sheet(shown, numbered)
    except FileNotFoundError:
        raise
    except (CalamineError, OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise
        raise InputError(
            f"{shown}: not a whole spreadsheet", hint=f"{OPEN_ELSEWHERE}; or save it as `CSV UTF-8`"
        ) from error
    raise InputError(f"{shown}: empty", hint="fill in the columns `path` and `class`")


def as_text(cell: Any) -> str:
    """A cell as a person sees it: 3 for 3.0."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


# -- JSON ----------------------------------------------------------------------------------------------


def json_rows(file: Path, shown: str) -> Sheet:
    """An object a line, or a list of objects; what lies in an object inside one stands for columns of its own."""
    text, hint = text_of(file, shown), 'write one object a line, as {"path": "a.jpg", "class": "cat"}'
    objects: list[tuple[int, dict[str, Any]]] = []
    if text.lstrip()[:1] == "[":
        objects = [*enumerate(jsonfile.parse(text, shown=shown, hint=hint), 1)]
    else:
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                objects.append((number, jsonfile.parse(line, shown=f"{shown}: line {number}", hint=hint)))
    if not objects:
        raise InputError(f"{shown}: empty", hint=hint)
    wrong = next((number for number, content in objects if not isinstance(content, dict)), None)
    if wrong is not None:
        raise InputError(f"{shown}: line {wrong}: not an object", hint=hint)
    flat = [(number, flattened(content)) for number, content in objects]
    titles = [*dict.fromkeys(title for _, row in flat for title in row)]
    return Sheet(shown, [(number, [row.get(title, "") for title in titles]) for number, row in flat], titles)


def flattened(content: dict[str, Any]) -> dict[str, str]:
    """{"path": "a", "votes": {"cat": 3}} as {"path": "a", "cat": "3"}."""
    row: dict[str, str] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            row |= flattened(value)
        elif isinstance(value, list):
            row[key] = "; ".join(map(str, value))
        else:
            row[key] = "" if value is None else str(value)
    return row


def titled(titles: Sequence[str]) -> list[str]:
    return [title.strip().lower() for title in titles]
