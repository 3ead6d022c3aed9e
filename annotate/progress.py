"""What a stage tells whoever is watching. Stages do not print: progress arrives as an argument."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

from annotate.records import Iteration, Note

Advance = Callable[[int], None]


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
