"""What a stage tells whoever is watching. Stages do not print: progress arrives as an argument."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import ParamSpec, Protocol

from annotate.errors import Interrupted
from annotate.records import Iteration, Note

Advance = Callable[[int], None]
P = ParamSpec("P")


class Progress(Protocol):
    """Someone who watches."""

    def started(self, stage: str, why: str) -> None:
        """A stage runs, and why: it is missing, stale, damaged or forced."""

    def fresh(self, stage: str) -> None:
        """A stage has nothing to do."""

    def doing(self, what: str) -> contextlib.AbstractContextManager[Callable[[str], None]]:
        """Something whose length nobody knows; the callable takes what came of it."""

    def steps(self, what: str, total: int, unit: str) -> contextlib.AbstractContextManager[Advance]:
        """A count of things to do; the callable takes how many more are done."""

    def bytes(self, what: str) -> contextlib.AbstractContextManager[Callable[[int, int | None], None]]:
        """A download; the callable takes bytes so far and in all."""

    def iterations(self) -> contextlib.AbstractContextManager[Callable[[Iteration], None]]:
        """A refinement; the callable takes each pass."""

    def note(self, note: Note) -> None:
        """Something that the user should know."""

    def someone_answers(self) -> bool:
        """Whether somebody sits there who could answer a question."""

    def agrees(self, question: str) -> bool:
        """Whether they agree."""

    def stopping(self) -> bool:
        """Whether the work is to end: asked at every step, and answered at once."""


class Silent:
    """Nobody watches."""

    def started(self, stage: str, why: str) -> None:
        pass

    def fresh(self, stage: str) -> None:
        pass

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[Callable[[str], None]]:
        yield lambda outcome: None

    @contextlib.contextmanager
    def steps(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        yield lambda count: None

    @contextlib.contextmanager
    def bytes(self, what: str) -> Iterator[Callable[[int, int | None], None]]:
        yield lambda done, total: None

    @contextlib.contextmanager
    def iterations(self) -> Iterator[Callable[[Iteration], None]]:
        yield lambda row: None

    def note(self, note: Note) -> None:
        pass

    def someone_answers(self) -> bool:
        return False

    def agrees(self, question: str) -> bool:
        return False

    def stopping(self) -> bool:
        return False


class Stoppable:
    """Passes on to whoever watches, and asks at every step whether to stop: every stage's loops ask by that.

    raises  Interrupted out of the step, as Ctrl-C would
    """

    def __init__(self, watching: Progress) -> None:
        self.watching = watching

    def ask(self) -> None:
        if self.watching.stopping():
            raise Interrupted

    def started(self, stage: str, why: str) -> None:
        self.ask()
        self.watching.started(stage, why)

    def fresh(self, stage: str) -> None:
        self.watching.fresh(stage)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[Callable[[str], None]]:
        self.ask()
        with self.watching.doing(what) as outcome:
            yield outcome

    @contextlib.contextmanager
    def steps(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        with self.watching.steps(what, total, unit) as advance:
            yield self.asking(advance)

    @contextlib.contextmanager
    def bytes(self, what: str) -> Iterator[Callable[[int, int | None], None]]:
        with self.watching.bytes(what) as report:
            yield self.asking(report)

    @contextlib.contextmanager
    def iterations(self) -> Iterator[Callable[[Iteration], None]]:
        with self.watching.iterations() as show:
            yield self.asking(show)

    def asking(self, tell: Callable[P, None]) -> Callable[P, None]:
        """Tell of a step, then ask: what the step has made is there by then."""

        def tell_and_ask(*step: P.args, **named: P.kwargs) -> None:
            tell(*step, **named)
            self.ask()

        return tell_and_ask

    def note(self, note: Note) -> None:
        self.watching.note(note)

    def someone_answers(self) -> bool:
        return self.watching.someone_answers()

    def agrees(self, question: str) -> bool:
        return self.watching.agrees(question)

    def stopping(self) -> bool:
        return self.watching.stopping()
