"""A stage is added by one file: it runs, is checked, and has its command, its help and its place in the docs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import annotate
from annotate import cli
from annotate.progress import Silent
from benchmarks.toy import TOY, docs_reference, places_to_touch, toy_added

ASKING = (
    TOY.replace(
        '"toy", Count, ("embed",)', '"toy", Count, ("embed",)\n    asks, sections = ("images", "ending"), ("report",)'
    )
    .replace("(Stage[Count]):", '(Stage[Count]):\n    """Counted.\n\n    ending  of the files that count\n    """\n')
    .replace('"image_paths.txt")', '"image_paths.txt"), found=asked["ending"]')
    .replace("Count(len(", "Count(len(plan.found) + len(")
)


@pytest.fixture
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stages")
    with toy_added(folder):
        yield folder / "toy.py"


@pytest.mark.usefixtures("toy")
def test_a_stage_is_added_by_one_file(photos: Path, checkpoint: Path) -> None:
    asked = {"model": str(checkpoint), "progress": (watch := Watch())}
    annotate.run(photos, "out", ["red", "green"], **asked)
    assert "toy" in watch.ran
    assert json.loads(Path("artifacts/toy/manifest.json").read_text())["facts"] == {"images": 12}
    assert annotate.status()["toy"].fresh
    assert annotate.check()["toy"] == ""
    (photos / "red" / "0.png").unlink()
    annotate.embed(photos, model=str(checkpoint))
    assert annotate.status()["toy"].why == "embed/image_paths.txt changed"
    assert annotate.Project().make("toy").images == 11
    Path("artifacts/toy/manifest.json").write_text("{}")
    assert "run `annotate toy --force`" in annotate.check()["toy"] or annotate.check()["toy"]


def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *line: str) -> str:
    monkeypatch.setattr(sys, "argv", ["annotate", *line])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    return shown.out


@pytest.mark.usefixtures("toy")
def test_it_has_a_command_with_help(
    photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    annotate.embed(photos, model=str(checkpoint), workspace="w")
    assert re.search(r"^  toy +How many images there are\.$", command(monkeypatch, capsys, "--help"), re.MULTILINE)
    described = command(monkeypatch, capsys, "toy", "--help")
    assert "How many images there are." in described
    assert "--workspace" in described
    assert "--force" in described
    assert command(monkeypatch, capsys, "toy", "-w", "w") == "images: 12\nsee w/toy/\n"
    assert json.loads(Path("w/toy/manifest.json").read_text())["facts"] == {"images": 12}


def test_a_command_has_what_the_stage_asks_for_and_its_settings(
    toy: Path, photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.write_text(ASKING)
    annotate.embed(photos, model=str(checkpoint))
    described = command(monkeypatch, capsys, "toy", "--help")
    assert "IMAGES" in described
    assert "--ending" in described
    assert "Of the files that count." in described
    out = command(monkeypatch, capsys, "toy", str(photos), "--ending", "png", "--set", "report.thumbnails=3")
    assert out.startswith("images: 15\n")


@pytest.mark.usefixtures("toy")
def test_the_docs_take_it_in_by_themselves() -> None:
    reference = docs_reference()
    page = (Path(annotate.__file__).parent.parent / "docs" / "commands.md").read_text("utf-8")
    assert reference.command_names()[-1] == "toy"
    rows = reference.with_rows(page).splitlines()
    assert "| `annotate toy` | how many images there are |" in rows
    assert {*page.splitlines()} < {*rows}  # what somebody wrote stays


def test_adding_a_stage_touches_its_file_alone() -> None:
    assert places_to_touch() == 1


class Watch(Silent):
    def __init__(self) -> None:
        self.ran: list[str] = []

    def started(self, stage: str, why: str) -> None:
        self.ran.append(stage)
