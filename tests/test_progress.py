"""Whoever watches is asked at every step whether to stop: a stage then ends as with Ctrl-C, and nothing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import annotate
from annotate.embedding import ledger
from annotate.progress import Advance, Silent
from annotate.records import Iteration


class Impatient(Silent):
    """Wants to stop as soon as so many steps of a kind are done."""

    def __init__(self, what: str, most: int) -> None:
        self.what, self.left = what, most
        self.ran: list[str] = []

    def stopping(self) -> bool:
        return self.left <= 0

    def started(self, stage: str, why: str) -> None:
        self.ran.append(stage)

    @contextmanager
    def steps(self, what: str, total: int, unit: str) -> Iterator[Advance]:
        def advance(count: int) -> None:
            self.left -= count * (what == self.what)

        yield advance

    @contextmanager
    def iterations(self) -> Iterator[Callable[[Iteration], None]]:
        def show(row: Iteration) -> None:
            self.left -= self.what == "passes"

        yield show


def run(photos: Path, checkpoint: Path, progress: Silent, workspace: str = "artifacts") -> annotate.Dataset:
    project = annotate.Project(workspace, progress=progress)
    return project.run(
        photos, f"{workspace}-out", ["red", "green", "blue"], model=str(checkpoint), batch_size=4, thumbnails=3
    )


def contents(folder: str) -> dict[str, bytes]:
    """The arrays that a workspace holds."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.npy"))}


@pytest.mark.parametrize(
    ("what", "steps", "finished"),
    [
        ("embedding", 4, []),
        ("embedding class names", 1, ["embed"]),
        ("passes", 2, ["embed", "text"]),
        ("organizing", 5, ["embed", "text", "refine"]),
        ("figures", 1, ["embed", "text", "refine", "organize"]),
        ("thumbnails", 1, ["embed", "text", "refine", "organize"]),
    ],
)
def test_a_stage_stops_at_its_next_step_and_the_same_call_goes_on(
    photos: Path,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    steps: int,
    finished: list[str],
) -> None:
    monkeypatch.setattr(ledger, "SHARD", 4)
    impatient = Impatient(what, steps)
    with pytest.raises(annotate.Interrupted):
        run(photos, checkpoint, impatient)
    assert impatient.left == 0  # not a step more
    states = annotate.status()
    assert [name for name in ("embed", "text", "refine", "organize", "report") if states[name].fresh] == finished
    assert Path("artifacts-out").exists() == ("organize" in finished)
    kept = annotate.embedded_so_far()
    assert kept in ([(4, 12), (8, 12), (12, 12)] if what == "embedding" else [None])  # what was finished by then
    left = Impatient("", 1)
    run(photos, checkpoint, left)
    assert not {*left.ran} & {*finished}
    run(photos, checkpoint, Silent(), "whole")
    assert contents("artifacts") == contents("whole")


def test_who_wants_to_stop_before_it_begins_is_heard(photos: Path, checkpoint: Path) -> None:
    impatient = Impatient("", 0)
    with pytest.raises(annotate.Interrupted):
        run(photos, checkpoint, impatient)
    assert not impatient.ran
    assert annotate.embedded_so_far() is None


def test_a_project_may_be_stopped_and_used_again(photos: Path, checkpoint: Path) -> None:
    """As a server does, which holds one project: the lock is free again."""
    impatient = Impatient("embedding", 1)
    project = annotate.Project(progress=impatient)
    with pytest.raises(annotate.Interrupted):
        project.embed(photos, model=str(checkpoint))
    impatient.left = 1_000
    assert len(project.embed(photos, model=str(checkpoint)).embeddings) == 12
