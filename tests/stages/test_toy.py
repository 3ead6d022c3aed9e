"""A stage is added by one file: it runs, is told of, checked, and has a command, without a line elsewhere."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import annotate
from annotate import stages
from annotate.progress import Silent
from tests.test_cli import annotate as annotate_command

TOY = '''"""toy: how many images there are."""

from dataclasses import dataclass

from annotate.records import Embeddings
from annotate.records.declared import Record, artifact
from annotate.stages import Stage
from annotate.workspace.plan import Plan


@dataclass(frozen=True)
class Count(Record):
    stage = "toy"
    images: int = artifact()


class Toy(Stage[Count]):
    name, record, after = "toy", Count, ("embed",)

    def plan(self, context, *, force=False, **asked):
        return Plan("toy", 1, {}, context.workspace.digests("embed", "image_paths.txt"))

    def make(self, context, plan, folder):
        return Count(len(context.workspace.read(Embeddings).image_paths))


STAGE = Toy()
'''
command = annotate_command


@pytest.fixture
def toy(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("stages")
    file = folder / "toy.py"
    file.write_text(TOY)
    monkeypatch.setattr(stages, "__path__", [*stages.__path__, str(folder)])
    yield file
    sys.modules.pop("annotate.stages.toy", None)
    stages.stage_in.cache_clear()


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


class Watch(Silent):
    def __init__(self) -> None:
        self.ran: list[str] = []

    def started(self, stage: str, why: str) -> None:
        self.ran.append(stage)
