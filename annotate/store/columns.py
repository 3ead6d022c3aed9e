"""Which columns of somebody's table hold the images, their classes, and who says so, whatever they are called.

A column is what its cells are: the one whose cells name most images holds the images, the one whose cells name most
classes the classes. Its title counts where cells alone do not tell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from annotate.errors import InputError, printable
from annotate.sources import lists
from annotate.store.sheets import HINT, Sheet, titled

CLASSES = (
    "answer", "class", "label", "class_name", "name", "category", "truth", "species", "labels", "classes", "target",
    "ground_truth", "gt", "tag", "kind", "type", "annotation", "klasse", "classe", "clase", "etikett",
)  # fmt: skip
PEOPLE = (
    "who", "annotator", "annotator_id", "labeler", "labeller", "rater", "worker", "worker_id", "user", "username",
    "person", "expert", "reviewer", "coder", "by",
)  # fmt: skip
NEVER_CLASSES = ("date", "when", "time", "confidence", "rank", "second", "second_confidence", "fit", "split", "id", "#")
OURS = {"path", "label", "confidence", "answer"}  # titles of the results that annotate wrote
SAMPLE = 200  # rows by which columns are told
ENOUGH = 0.5  # share of the cells, or what a title is worth and a bit less
TITLE = 0.6


@dataclass(frozen=True)
class Columns:
    """Where to look in a row; `votes` are columns with a number each, for a class each."""

    image: int
    name: int | None
    who: int | None
    votes: dict[int, int]
    rows: list[tuple[int, list[str]]]
    ours: bool = False


Find = Callable[[str], int | None]


def columns_of(sheet: Sheet, find: Find, class_of: Find) -> Columns:
    """raises  InputError where no column holds images, or none holds classes"""
    titles, rows = (sheet.titles, sheet.rows) if sheet.titles is not None else split_header(sheet, find)
    if not rows:
        raise InputError(f"{sheet.shown}: no rows below the titles", hint=HINT)
    sample = [row for _, row in rows[:: max(1, len(rows) // SAMPLE)]]
    width = max(len(row) for row in sample) if sample else len(titles or [])
    called = titled(titles or []) + [""] * width
    image = image_column(sheet, titles, called[:width], sample, find, rows)
    if titles is not None and set(called) >= OURS:
        return Columns(image, called.index("answer"), None, {}, rows, ours=True)
    who = next((called.index(title) for title in PEOPLE if title in called[:width] and titles), None)
    others = [column for column in range(width) if column not in (image, who)]
    votes = vote_columns(called, others, sample, class_of) if titles else {}
    name = class_column(titles, called, others, sample, class_of)
    if len(votes) > 1 and (name is None or called[name] not in CLASSES):
        return Columns(image, None, who, votes, rows)
    if name is None:
        raise no_classes(sheet, titles, rows)
    return Columns(image, name, who, {}, rows)


def split_header(sheet: Sheet, find: Find) -> tuple[list[str] | None, list[tuple[int, list[str]]]]:
    """The titles and what stands below them; no titles where the first row is about an image itself."""
    _, first = sheet.rows[0]
    if any(find(cell) is not None or lists.looks_like_an_image(cell) for cell in first):
        return None, sheet.rows
    called = titled(first)
    if any(title in lists.COLUMNS for title in called) or any(
        find(cell) is not None for _, row in sheet.rows[1 : SAMPLE + 1] for cell in row
    ):
        return first, sheet.rows[1:]
    return None, sheet.rows


def image_column(
    sheet: Sheet,
    titles: Sequence[str] | None,
    called: Sequence[str],
    sample: Sequence[Sequence[str]],
    find: Find,
    rows: Sequence[tuple[int, Sequence[str]]],
) -> int:
    def score(column: int) -> float:
        named = [cell for row in sample if column < len(row) and (cell := row[column]).strip()]
        share = sum(find(cell) is not None for cell in named) / len(named) if named else 0
        titled_so = lists.COLUMNS.index(called[column]) if called[column] in lists.COLUMNS else None
        return share + (0 if titled_so is None else 0.1 - titled_so / 1000)

    best = max(range(len(called)), key=score, default=0)
    if len(called) > 1 and score(best) > 0:
        return best
    if titles is None and len(called) == 2:
        return 0
    if titles is not None and len(called) > 1:
        listed = ", ".join(f"'{printable(title)}'" for title in titles)
        raise InputError(
            f"{sheet.shown}: no column names images among {listed}",
            hint="paths must be absolute, or relative to the images or to the file itself; call their column `path`",
        )
    raise not_two_columns(sheet, rows or sheet.rows)


def not_two_columns(sheet: Sheet, rows: Sequence[tuple[int, Sequence[str]]]) -> InputError:
    line, row = rows[0]
    found = f"{len(row)} column{'s' * (len(row) != 1)}"
    return InputError(f"{sheet.shown}: line {line}: expected path,class, found {found}", hint=HINT)


def no_classes(sheet: Sheet, titles: Sequence[str] | None, rows: Sequence[tuple[int, Sequence[str]]]) -> InputError:
    if titles is None:
        return not_two_columns(sheet, rows)
    listed = ", ".join(f"'{printable(title)}'" for title in titles)
    return InputError(f"{sheet.shown}: no column 'class' among {listed}", hint="call the column of classes `class`")


def class_column(
    titles: Sequence[str] | None,
    called: Sequence[str],
    others: Sequence[int],
    sample: Sequence[Sequence[str]],
    class_of: Find,
) -> int | None:
    def score(column: int) -> float:
        named = [cell for row in sample if column < len(row) and (cell := row[column].strip())]
        share = sum(class_of(cell) is not None for cell in named) / len(named) if named else 0
        titled_so = CLASSES.index(called[column]) if titles and called[column] in CLASSES else None
        return share + (0 if titled_so is None else TITLE - titled_so / 1000)

    able = [column for column in others if called[column] not in NEVER_CLASSES]
    best = max(able, key=score, default=None)
    if best is not None and score(best) >= ENOUGH:
        return best
    return able[0] if titles is None and len(others) == 1 and able else None


def vote_columns(
    called: Sequence[str], others: Sequence[int], sample: Sequence[Sequence[str]], class_of: Find
) -> dict[int, int]:
    """Columns that are called as a class and hold numbers, with the class of each."""
    found: dict[int, int] = {}
    for column in others:
        index = class_of(called[column])
        filled = [row[column] for row in sample if column < len(row) and row[column].strip()]
        if index is not None and filled and all(number(cell) is not None for cell in filled):
            found[column] = index
    return found


def number(cell: str) -> float | None:
    """A number as a country writes it; None for what is none."""
    try:
        return float(cell.strip().replace(",", "."))
    except ValueError:
        return None
