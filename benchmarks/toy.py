"""A stage of ten lines, as somebody would add one: by this file alone, in annotate/stages/."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import annotate
from annotate import stages

ROOT = Path(__file__).parent.parent

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


@contextmanager
def toy_added(folder: Path) -> Iterator[None]:
    """The toy among the stages, as if its file lay in annotate/stages/."""
    (folder / "toy.py").write_text(TOY)
    before = list(stages.__path__)
    stages.__path__ = [*before, str(folder)]
    try:
        yield
    finally:
        stages.__path__ = before
        sys.modules.pop("annotate.stages.toy", None)
        stages.stage_in.cache_clear()


def places_to_touch() -> int:
    """Its own file, and a place for each part of annotate that does not know the stage by that."""
    with TemporaryDirectory() as folder, toy_added(Path(folder)):
        reference = docs_reference()
        page = (ROOT / "docs" / "commands.md").read_text("utf-8")
        knows = {
            "run": any(stage.name == "toy" and stage.runs for stage in annotate.Project.stages()),
            "status": "toy" in annotate.status(workspace=folder),
            "--help": "toy" in reference.command_names(),
            "docs": "| `annotate toy` | how many images there are |" in reference.with_rows(page),
        }
    return 1 + list(knows.values()).count(False)


def docs_reference() -> ModuleType:
    """docs/reference.py, which writes the generated parts of the docs."""
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
