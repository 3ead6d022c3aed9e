"""Progress for a person: bars on a terminal, a line per stage elsewhere; on request, a table of the passes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from annotate.cli.display import Cells, console, on_terminal, put, rich_table, show_table, someone_answers
from annotate.errors import printable

if TYPE_CHECKING:
    from rich.progress import ProgressColumn

    from annotate.records import Iteration, Note

IN_WORDS = {"stale": "out of date", "missing": "not there yet"}  # states, where a sentence says them
WORTH_SAYING = 1.0  # seconds; what took less is not worth a line, and its speed says nothing
MANY, SLOW = ("images", "rows"), 10  # units that have a speed; below this it has a decimal
ITERATIONS = ("iteration", "mean certainty", "active classes", "text weight", "moved")


class Speed:
    """How fast something goes, from the second thing on: the first call may bring what was done long before."""

    def __init__(self, unit: str) -> None:
        self.unit, self.start, self.counted = unit, time.monotonic(), 0
        self.since: float | None = None

    def add(self, count: int) -> None:
        if self.since is None:
            self.since = time.monotonic()
        else:
            self.counted += count

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.start

    def __str__(self) -> str:
        """Empty where there is nothing to say: at the beginning, and of things that are not many."""
        spent = time.monotonic() - (self.since or self.start)
        if self.unit not in MANY or not self.counted or spent < WORTH_SAYING:
            return ""
        rate = self.counted / spent
        return f"{rate:,.0f} {self.unit}/s" if rate >= SLOW else f"{rate:.1f} {self.unit}/s"


class Terminal:
    """Progress for a person: bars on a terminal, a line per stage elsewhere.

    verbose  also show a table of the passes of a refinement; history.json has it in any case
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose

    def started(self, stage: str, why: str) -> None:
        state, colon, reason = why.partition(": ")
        said = IN_WORDS.get(state, state) + colon + reason
        put((stage, "bold"), (f" ({printable(said)})", "dim"), stderr=True)

    def fresh(self, stage: str) -> None:
        put((stage, "bold"), (" is fresh, skipped", "dim"), stderr=True)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[Callable[[str], None]]:
        with spinner(what) if on_terminal(stderr=True) else contextlib.nullcontext():
            outcomes: list[str] = []
            yield outcomes.append
        if on_terminal(stderr=True):
            for outcome in outcomes:
                put((f"  {outcome}", "dim"), stderr=True)

    @contextlib.contextmanager
    def steps(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        speed = Speed(unit)
        with bar_of_steps(what, total, speed) if on_terminal(stderr=True) else unseen() as shown:

            def advance(count: int) -> None:
                speed.add(count)
                shown(count)

            yield advance
        if speed.seconds >= WORTH_SAYING:
            rate = f", {speed}" if str(speed) else ""
            put((f"  {what}: {total:,} {unit} in {speed.seconds:.1f} s{rate}", "dim"), stderr=True)

    def bytes(self, what: str) -> contextlib.AbstractContextManager[Callable[[int, int | None], None]]:
        return bar_of_bytes(what) if on_terminal(stderr=True) else unseen()

    def iterations(self) -> contextlib.AbstractContextManager[Callable[[Iteration], None]]:
        if self.verbose:
            return table_of_passes()
        return spinner_of_passes() if on_terminal(stderr=True) else unseen()

    def stopping(self) -> bool:
        return False  # Ctrl-C comes by itself

    def note(self, note: Note) -> None:
        mark = ("warning:", "yellow") if note["hint"] else ("note:", "dim")
        put(mark, f" {printable(note['message'])}", stderr=True)
        if note["hint"]:
            put(("hint:", "bold"), f" {printable(note['hint'])}", stderr=True)

    def someone_answers(self) -> bool:
        return someone_answers()

    def agrees(self, question: str) -> bool:
        import typer

        return typer.confirm(question, err=True)


@contextlib.contextmanager
def unseen() -> Iterator[Callable[..., None]]:
    """Progress that nobody watches."""
    yield lambda *counts: None


@contextlib.contextmanager
def spinner(what: str) -> Iterator[None]:
    """Something that moves, so that nobody thinks that nothing happens."""
    from rich.text import Text

    with console(stderr=True).status(Text(f"{what} …"), spinner="line"):
        yield


@contextlib.contextmanager
def spinner_of_passes() -> Iterator[Callable[[Iteration], None]]:
    """How many passes are done, and how many images still change their class: it ends when hardly any does."""
    from rich.text import Text

    with console(stderr=True).status(Text("labelling …"), spinner="line") as shown:

        def show(row: Iteration) -> None:
            if row["iteration"]:
                changed = f"{row['moved_percent']:.1f} % of the images changed class"
                shown.update(Text(f"labelling, pass {row['iteration']}: {changed} …"))

        yield show


@contextlib.contextmanager
def table_of_passes() -> Iterator[Callable[[Iteration], None]]:
    """A row for each pass; on a terminal as it ends."""
    rows: list[Cells] = []
    if not on_terminal(stderr=True):
        yield lambda row: rows.append(iteration_cells(row))
        show_table(ITERATIONS, rows, stderr=True)
        return
    from rich.live import Live

    with Live(rich_table(ITERATIONS, rows), console=console(stderr=True), refresh_per_second=8) as live:

        def show(row: Iteration) -> None:
            rows.append(iteration_cells(row))
            live.update(rich_table(ITERATIONS, rows))

        yield show


@contextlib.contextmanager
def bar_of_steps(what: str, total: int, speed: Speed) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[str | ProgressColumn] = [
        TextColumn("  {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", style="cyan"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, rate="")

        def advance(count: int) -> None:
            bar.update(task, advance=count, rate=str(speed))

        yield advance


@contextlib.contextmanager
def bar_of_bytes(what: str) -> Iterator[Callable[[int, int | None], None]]:
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
    with contextlib.ExitStack() as shown:
        shown.enter_context(spinner(f"loading the {what}"))
        bars: list[Progress] = []

        def report(done: int, total: int | None) -> None:
            if not bars:
                shown.close()
                bars.append(shown.enter_context(Progress(*columns, console=console(stderr=True), transient=True)))
                bars[0].add_task(f"fetching the {what}", total=total)
            bars[0].update(bars[0].task_ids[0], completed=done, total=total)

        yield report


def iteration_cells(row: Iteration) -> Cells:
    weight = row["text_weight"]
    return (
        str(row["iteration"]) if row["iteration"] else "zero-shot",
        f"{row['mean_confidence']:.3f}",
        str(row["active_classes"]),
        "" if weight is None else f"{weight:.3f}",
        f"{row['moved']:,} ({row['moved_percent']:.1f} %)" if row["iteration"] else "",
    )
