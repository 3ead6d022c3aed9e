"""What a table says of images: the one reader of `label`, `--given` and `--truth`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from annotate.classes.spelling import letters_only, matcher
from annotate.errors import InputError, first_few, printable
from annotate.store.columns import Columns, columns_of, number
from annotate.store.events import CLASS, CLASSES, EMPTY, NONE, VOTES
from annotate.store.paths import finder
from annotate.store.sheets import HINT, Sheet, is_open_elsewhere, read_sheet

WORDS = {"noneofthese": NONE, "noneoftheclasses": NONE, "empty": EMPTY}  # answers that are no class
OPEN = "is open in another program, so what was not saved there was not read"
BETWEEN = (";", "|")  # several classes in one cell
OFF = 0.02  # what shares of one image may lack of one


@dataclass(frozen=True)
class Said:
    """What one row says of one image.

    line   of the row
    image  its number among the images
    who    says it; empty where the table does not tell
    names  of classes, as they are written
    votes  a number for each of `names`
    """

    line: int
    image: int
    who: str
    kind: str
    names: tuple[str, ...] = ()
    votes: tuple[float, ...] = ()


@dataclass(frozen=True)
class Table:
    """What a table says, and the rows that name none of the images: number of the line, and the path.

    ours   whether annotate wrote the table, and somebody only filled in its column of answers
    notes  further things that its reader should know
    """

    shown: str
    said: list[Said]
    strangers: list[tuple[int, str]] = field(default_factory=list)
    ours: bool = False
    notes: tuple[str, ...] = ()


def read_table(file: Path, image_paths: Sequence[str], folder: str | None, class_names: Sequence[str]) -> Table:
    """What each row says of the images.

    folder  that the images lie in: paths may be relative to it, or to the folder of the file
    raises  InputError where it is no table of images and classes, or contradicts itself
    """
    sheet, class_of = read_sheet(file), matcher(class_names)
    tops = [os.path.dirname(os.path.abspath(file)), *([folder] if folder else [])]
    find = finder(image_paths, folders=tops)
    columns = columns_of(sheet, find, class_of)
    said: list[Said] = []
    strangers: list[tuple[int, str]] = []
    for line, row in columns.rows:
        check_length(sheet, columns, line, row)
        image = find(row[columns.image])
        if image is None:
            strangers.append((line, row[columns.image].strip()))
            continue
        who = row[columns.who].strip() if columns.who is not None and columns.who < len(row) else ""
        one = votes_in(sheet, columns, line, row, class_names) if columns.votes else answer_in(columns, row, class_of)
        if one is not None:
            said.append(Said(line, image, who, *one))
    check_agrees(sheet, said, class_of, image_paths)
    notes = (f"{sheet.shown} {OPEN}",) if is_open_elsewhere(file) else ()
    return Table(sheet.shown, said, strangers, columns.ours, notes)


Answer = tuple[str, tuple[str, ...], tuple[float, ...]]


def check_length(sheet: Sheet, columns: Columns, line: int, row: Sequence[str]) -> None:
    """raises  InputError for a row that ends before the column of classes: the file may be half of what was meant"""
    last = max(columns.image, columns.name or 0)
    if len(row) <= last:
        found = f"{len(row)} column{'s' * (len(row) != 1)}"
        raise InputError(f"{sheet.shown}: line {line}: expected path,class, found {found}", hint=HINT)


def answer_in(columns: Columns, row: Sequence[str], class_of: Callable[[str], int | None]) -> Answer | None:
    """The class in a cell, several classes, or a word that is none."""
    cell = row[columns.name or 0].strip()
    if not cell:
        return None
    if class_of(cell) is None:
        word = WORDS.get(letters_only(cell))
        if word:
            return word, (), ()
        for mark in BETWEEN:
            parts = [part.strip() for part in cell.split(mark) if part.strip()]
            if len(parts) > 1 and all(class_of(part) is not None for part in parts):
                return CLASSES, tuple(dict.fromkeys(parts)), ()
    return CLASS, (cell,), ()


def votes_in(
    sheet: Sheet, columns: Columns, line: int, row: Sequence[str], class_names: Sequence[str]
) -> Answer | None:
    """A number for each class; None where all are empty.

    raises  InputError for what is no number, is negative, or is a share and does not sum to one
    """
    votes: dict[int, float] = {}
    for column, index in columns.votes.items():
        cell = row[column].strip() if column < len(row) else ""
        amount = number(cell) if cell else 0.0
        if amount is None or not 0 <= amount < float("inf"):
            raise InputError(
                f"{sheet.shown}: line {line}: '{printable(cell)}' is no number of votes for "
                f"'{printable(class_names[index])}'",
                hint="write a number of zero or more for each class",
            )
        votes[index] = votes.get(index, 0.0) + amount
    total = sum(votes.values())
    if not total:
        return None
    if any(amount % 1 for amount in votes.values()) and max(votes.values()) < 1 and abs(total - 1) > OFF:
        raise InputError(
            f"{sheet.shown}: line {line}: the shares of the classes sum to {total:g}, not to 1",
            hint="write shares that sum to 1, or whole numbers of votes",
        )
    return VOTES, tuple(class_names[index] for index in votes), tuple(votes.values())


def check_agrees(
    sheet: Sheet, said: Sequence[Said], class_of: Callable[[str], int | None], image_paths: Sequence[str]
) -> None:
    """raises  InputError where one person says two things of one image"""
    before: dict[tuple[int, str], Said] = {}
    for one in said:
        first = before.setdefault((one.image, one.who), one)
        if meant(first, class_of) != meant(one, class_of):
            person = f" by {printable(one.who)}" if one.who else ""
            raise InputError(
                f"{sheet.shown}: line {one.line}: {printable(os.path.basename(image_paths[one.image]))} is "
                f"{shown(one)} here and {shown(first)} before{person}",
                hint="give each image one class; where several people answered, name them in a column `who`",
            )


def meant(one: Said, class_of: Callable[[str], int | None]) -> object:
    names = [name if (index := class_of(name)) is None else index for name in one.names]
    return one.kind, tuple(names), one.votes


def shown(one: Said) -> str:
    if one.kind == CLASS:
        return f"'{printable(one.names[0])}'"
    if one.kind == VOTES:
        return first_few([f"{printable(n)} {v:g}" for n, v in zip(one.names, one.votes, strict=True)], 3)
    return "; ".join(map(printable, one.names)) or ("none of these" if one.kind == NONE else one.kind)
