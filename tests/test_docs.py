"""The README holds: its commands run, its reference is that of --help, its links lead somewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


@pytest.fixture
def reader(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's folder: photos of cats and dogs, a truth, embeddings made elsewhere, annotate on the path."""
    (photos / "red").rename(photos / "cat")
    (photos / "green").rename(photos / "dog")
    shutil.rmtree(photos / "blue")
    rows = [f"photos/{p.parent.name}/{p.name},{p.parent.name}" for p in sorted(photos.rglob("*.png"))]
    (tmp_path / "truth.csv").write_text("\n".join(["path,class", *rows]) + "\n")
    rng = np.random.default_rng(0)
    np.save(tmp_path / "images.npy", rng.normal(size=(20, 8)))
    np.save(tmp_path / "texts.npy", rng.normal(size=(2, 8)))
    (tmp_path / "paths.txt").write_text("".join(f"{i}.wav\n" for i in range(20)))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


def test_every_command_of_the_readme_runs(reader: Path) -> None:
    lines = [line.removeprefix("$ ") for block in blocks("console") for line in block.splitlines()]
    assert len(lines) >= 12
    assert all(line.startswith("annotate ") for line in lines)
    for line in lines:
        ended = subprocess.run(shlex.split(line), cwd=reader, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, f"{line}\n{ended.stderr}"


def test_every_python_example_runs(reader: Path) -> None:
    for block in blocks("python"):
        ended = subprocess.run([sys.executable, "-c", block], cwd=reader, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr


def test_the_yaml_example_is_a_file_of_prompts(tmp_path: Path) -> None:
    from annotate.prompts import prompts_for

    (example,) = blocks("yaml")
    (tmp_path / "p.yaml").write_text(example)
    assert prompts_for(["cat", "dog"], "p.yaml") == {
        "cat": ["a cat on a sofa", "a tabby"],
        "dog": ["a drawing of a dog", "a sketch of the dog"],
    }


def test_the_reference_is_that_of_help() -> None:
    spec = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    reference = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reference)
    assert reference.generated(README) == README, "run `make docs`"


def test_every_command_and_make_target_is_described() -> None:
    from annotate.cli import app

    names = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for name in names:
        assert f"### annotate {name}" in README
    for target in ("demo", "test", "dataset", "check", "bench", "wheel", "docs"):
        assert f"make {target}" in README


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_architecture_names_every_room() -> None:
    section = README.split("## Architecture")[1].split("## ")[0]
    rooms = {
        path.name for path in (ROOT / "annotate").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    for room in rooms - {"__main__.py", "cli.py", "display.py"}:
        assert room in section, room
