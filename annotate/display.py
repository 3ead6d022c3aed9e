"""Everything Rich: progress, tables, one-line failures.

Results go to standard output, everything about them to standard error; colour and bars only on a terminal.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from annotate.errors import AnnotateError, printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn
    from rich.table import Table

    from annotate.progress import Advance
    from annotate.records import Iteration, Note
    from annotate.workspace import State

MOST_ROWS = 40  # of a table of classes; the report has all
STATE_COLOURS = {"fresh": "green", "stale": "yellow", "damaged": "red", "missing": "dim"}


@functools.cache
def console(*, stderr: bool) -> Console:
    """Standard output or standard error; made when first needed, since `--help` never does."""
    from rich.console import Console

    return Console(stderr=stderr, soft_wrap=True, highlight=False, emoji=False)


def escape(text: str) -> str:
    """Text that Rich takes as it is."""
    from rich.markup import escape as escaped

    return escaped(text)


def fail(error: AnnotateError) -> None:
    """One line that says what is wrong, one that says what to do."""
    console(stderr=True).print(f"[bold red]error:[/] {escape(printable(error))}")
    if error.hint:
        console(stderr=True).print(f"[bold]hint:[/] {escape(printable(error.hint))}")


def show(message: str) -> None:
    """A result, to standard output."""
    console(stderr=False).print(escape(message))


def say(message: str) -> None:
    """Something about it, to standard error."""
    console(stderr=True).print(escape(message))


class Terminal:
    """Progress for a person: bars and a live table on a terminal, a line per stage elsewhere."""

    def started(self, stage: str, why: str) -> None:
        console(stderr=True).print(f"[bold]{stage}[/] [dim]({escape(printable(why))})[/]")

    def fresh(self, stage: str) -> None:
        console(stderr=True).print(f"[bold]{stage}[/] [dim]is fresh, skipped[/]")

    @contextlib.contextmanager
    def steps(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns: list[str | ProgressColumn] = [
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", style="cyan"),
            TimeRemainingColumn(),
        ]
        with Progress(
            *columns, console=console(stderr=True), transient=True, disable=not console(stderr=True).is_terminal
        ) as bar:
            task = bar.add_task(what, total=total, rate="")

            def advance(count: int) -> None:
                bar.update(task, advance=count)
                speed = bar.tasks[task].speed
                if speed:
                    bar.update(task, rate=f"{speed:,.0f} {unit}/s")

            yield advance
            spent = bar.tasks[task].elapsed or 0.0
        if total >= 1000 or spent >= 1:
            rate = f", {total / spent:,.0f} {unit}/s" if spent else ""
            console(stderr=True).print(f"  [dim]{what}: {total:,} {unit} in {spent:.1f} s{rate}[/]")

    @contextlib.contextmanager
    def bytes(self, what: str) -> Iterator[Callable[[int, int | None], None]]:
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        columns: list[str | ProgressColumn] = [
            TextColumn("  {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        ]
        with Progress(
            *columns, console=console(stderr=True), transient=True, disable=not console(stderr=True).is_terminal
        ) as bar:
            tasks: list[int] = []

            def report(done: int, total: int | None) -> None:
                if not tasks:
                    tasks.append(bar.add_task(what, total=total))
                bar.update(tasks[0], completed=done, total=total)  # type: ignore[arg-type]

            yield report

    @contextlib.contextmanager
    def iterations(self) -> Iterator[Callable[[Iteration], None]]:
        rows: list[Iteration] = []
        if not console(stderr=True).is_terminal:
            yield rows.append
            console(stderr=True).print(iteration_table(rows))
            return
        from rich.live import Live

        with Live(iteration_table(rows), console=console(stderr=True), refresh_per_second=8) as live:

            def show(row: Iteration) -> None:
                rows.append(row)
                live.update(iteration_table(rows))

            yield show

    def note(self, note: Note) -> None:
        mark = "[yellow]warning:[/]" if note["hint"] else "[dim]note:[/]"
        console(stderr=True).print(f"{mark} {escape(printable(note['message']))}")
        if note["hint"]:
            console(stderr=True).print(f"[bold]hint:[/] {escape(printable(note['hint']))}")


def iteration_table(rows: Sequence[Iteration]) -> Table:
    table = plain_table("iteration", "mean confidence", "active classes", "text weight", "moved")
    for row in rows:
        weight = row["text_weight"]
        moved = f"{row['moved']:,} ({row['moved_percent']:.1f} %)" if row["iteration"] else ""
        table.add_row(
            str(row["iteration"]) if row["iteration"] else "zero-shot",
            f"{row['mean_confidence']:.3f}",
            str(row["active_classes"]),
            "" if weight is None else f"{weight:.3f}",
            moved,
        )
    return table


def plain_table(first: str, *others: str) -> Table:
    """A table whose first column is text and whose others are numbers."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    table.add_column(first, overflow="fold")
    for title in others:
        table.add_column(title, justify="right")
    return table


def show_counts(title: str, counts: Mapping[str, int]) -> None:
    table = plain_table(title, "images", "share")
    total = max(1, sum(counts.values()))
    shown = dict(sorted(counts.items(), key=lambda item: -item[1])[:MOST_ROWS]) if len(counts) > MOST_ROWS else counts
    for name, count in shown.items():
        table.add_row(escape(printable(name)), f"{count:,}", f"{100 * count / total:.1f} %")
    console(stderr=False).print(table)
    if len(counts) > len(shown):
        empty = sum(count == 0 for count in counts.values())
        show(f"and {len(counts) - len(shown):,} more; {empty:,} of all {len(counts):,} are without images\n")


def show_states(states: Mapping[str, State]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for title in ("stage", "state", "why"):
        table.add_column(title, overflow="fold")
    for stage, state in states.items():
        colour = STATE_COLOURS[state.name]
        table.add_row(stage, f"[{colour}]{state.name}[/]", escape(printable(state.why)))
    console(stderr=False).print(table)
