"""What a person sees: lines, tables, one-line failures; bars.py shows progress.

Results go to standard output, everything about them to standard error; colour and bars only on a terminal, and only
there is Rich loaded.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TextIO

from annotate.errors import AnnotateError, printable, terminal_columns

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from annotate.workspace.plan import State

Part = str | tuple[str, str]  # a text, or a text and its style
Cells = Sequence[Part]

MOST_ROWS = 40  # of a table of classes; the report has all
STATE_COLOURS = {"fresh": "green", "stale": "yellow", "damaged": "red", "missing": "dim"}


def on_terminal(*, stderr: bool) -> bool:
    stream = sys.stderr if stderr else sys.stdout
    return stream is not None and (bool(os.environ.get("FORCE_COLOR")) or stream.isatty())


def someone_answers() -> bool:
    """Whether a person sits at the terminal, who reads a question and can answer it."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


@functools.cache
def console(*, stderr: bool) -> Console:
    """The terminal; made when first needed, since pipes and `--help` never do."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, emoji=False)


def put(*parts: Part, stderr: bool) -> None:
    """A line of texts.

    Whoever read what is said about the work may be gone, and its file full: the work goes on without.
    raises  ReaderGone where the reader of our results is, OSError where a result cannot be written
    """
    stream = sys.stderr if stderr else sys.stdout
    try:
        if on_terminal(stderr=stderr):
            from rich.text import Text

            text, screen = Text.assemble(*parts), console(stderr=stderr)
            for line in text.divide(line_starts(text.plain, screen.width)):
                line.rstrip()
                screen.print(line, soft_wrap=True)
        elif stream is not None:  # Python has none where it was started with the stream closed
            print(*map(plain, parts), sep="", file=stream, flush=True)
    except OSError as error:
        if not stderr and isinstance(error, BrokenPipeError):
            raise ReaderGone from error
        if not stderr:
            raise
        silence(stream)


def line_starts(text: str, width: int) -> list[int]:
    """Where a text is broken, so that its lines end between words.

    A word that is longer than a line, a path perhaps, stays whole: a terminal that breaks it copies it in one piece.
    """
    starts: list[int] = []
    used, words = 0, 0  # columns and words of the line so far
    for part in re.finditer(r"\n|[^\S\n]+|\S+", text):
        columns = terminal_columns(part.group())
        if part.group() == "\n":
            used = words = 0
        elif part.group().isspace():
            used += columns
        else:
            if words and used + columns > width:
                starts.append(part.start())
                used = words = 0
            used, words = used + columns, words + 1
    return starts


class ReaderGone(Exception):
    """Whoever read our results has seen enough (`annotate report | head -1`)."""


def silence(stream: TextIO) -> None:
    """Nobody hears this stream any more: what is written to it from now on is lost without an error."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def plain(part: Part) -> str:
    return part if isinstance(part, str) else part[0]


def fail(error: AnnotateError) -> None:
    """One line that says what is wrong, one that says what to do."""
    put(("error:", "bold red"), f" {printable(error)}", stderr=True)
    if error.hint:
        put(("hint:", "bold"), f" {printable(error.hint)}", stderr=True)


def show(message: str) -> None:
    """A result, to standard output."""
    put(message, stderr=False)


def say(message: str) -> None:
    """Something about it, to standard error."""
    put(message, stderr=True)


def show_table(titles: Sequence[str], rows: Sequence[Cells], *, texts: int = 1, stderr: bool = False) -> None:
    """A table whose first columns, `texts` of them, are text and whose others are numbers; an empty line after it."""
    if on_terminal(stderr=stderr):
        console(stderr=stderr).print(rich_table(titles, rows, texts=texts))
        return
    lines = [titles, *([plain(cell) for cell in row] for row in rows)]
    widths = [max(map(terminal_columns, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = []
        for place, (cell, width) in enumerate(zip(line, widths, strict=True)):
            room = " " * (width - terminal_columns(cell))
            cells.append(cell + room if place < texts else room + cell)
        put("   ".join(cells).rstrip(), stderr=stderr)
    put("", stderr=stderr)


def rich_table(titles: Sequence[str], rows: Sequence[Cells], *, texts: int = 1) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for place, title in enumerate(titles):
        numbers = place >= texts
        table.add_column(title, justify="right" if numbers else "left", overflow="fold", no_wrap=numbers)
    for row in rows:
        table.add_row(*(Text.assemble(cell) for cell in row))
    return table


def show_counts(title: str, counts: Mapping[str, int], strangers: Mapping[str, int] | None = None) -> None:
    """A table of how many images each has; of these, how many fit none of the names, where some do not."""
    total = max(1, sum(counts.values()))
    shown = dict(sorted(counts.items(), key=lambda item: -item[1])[:MOST_ROWS]) if len(counts) > MOST_ROWS else counts
    rows = [[printable(name), f"{count:,}", f"{100 * count / total:.1f} %"] for name, count in shown.items()]
    if strangers:
        rows = [[*row, f"{strangers.get(name, 0):,}"] for row, name in zip(rows, shown, strict=True)]
    show_table((title, "images", "share", "fit none")[: 4 if strangers else 3], rows)
    if len(counts) > len(shown):
        empty = sum(count == 0 for count in counts.values())
        show(f"and {len(counts) - len(shown):,} more; {empty:,} of all {len(counts):,} are without images\n")


def show_states(states: Mapping[str, State]) -> None:
    rows = [(stage, (state.name, STATE_COLOURS[state.name]), printable(state.why)) for stage, state in states.items()]
    show_table(("stage", "state", "why"), rows, texts=3)
