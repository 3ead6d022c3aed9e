"""The Makefile's project: stages chained by their manifests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def project(photos: Path, tmp_path: Path) -> Path:
    """The Makefile beside photos, with a ready environment that is this one."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    binaries = tmp_path / "venv" / "bin"
    binaries.mkdir(parents=True)
    for name in ("annotate", "python"):
        found = Path(sys.executable).with_name(name)
        assert found.exists()
        (binaries / name).symlink_to(found)
    (tmp_path / "venv" / ".ready").touch()
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    return tmp_path


def make(project: Path, *arguments: str) -> str:
    ended = started(project, "IMAGES=photos", *arguments)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def started(project: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-j2", "dataset", "VENV=venv", *arguments]
    variables = {**os.environ, **environment}
    return subprocess.run(command, cwd=project, env=variables, capture_output=True, text=True, check=False)


def test_a_second_make_does_nothing_and_a_change_does_what_it_must(project: Path) -> None:
    classes = "CLASSES=red,green,blue's"
    assert "annotate organize" in make(project, classes)
    assert (project / "dataset" / "metadata.json").exists()
    assert (project / "artifacts" / "report" / "report.html").exists()
    assert "Nothing to be done" in make(project, classes)

    refined = make(project, classes, "REFINE=--method direct")
    assert "annotate refine" in refined
    assert "Nothing to be done" in make(project, classes, "REFINE=--method direct")

    (project / "photos" / "red" / "0.png").rename(project / "photos" / "red" / "zero.png")
    assert "annotate embed" in make(project, classes, "REFINE=--method direct")
    assert "Nothing to be done" in make(project, classes, "REFINE=--method direct")


def installs(project: Path, target: str) -> list[str]:
    """What `make TARGET` would give to pip in a fresh checkout."""
    (project / "venv" / ".ready").unlink()
    command = ["make", "--dry-run", target, "VENV=venv"]
    said = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True).stdout
    return [line.split("constraints.txt ")[1] for line in said.splitlines() if "-m pip install" in line]


def test_the_demo_installs_what_running_needs(project: Path) -> None:
    assert installs(project, "demo") == ["torch", "--editable ."]


@pytest.mark.parametrize("target", ["test", "check", "lint", "types", "licences", "bench", "torture", "docs", "wheel"])
def test_what_examines_annotate_installs_its_tools_besides(project: Path, target: str) -> None:
    assert installs(project, target) == ["torch", "--editable .", "--editable '.[dev]'"]


NASTY = """$(touch ran) $(shell touch ran) `touch ran` ${HOME} $$x 'a' "b" ;touch ran; #c %d |e &f :g =h *i \\j (k ~l"""


@pytest.fixture
def told(project: Path) -> Path:
    """A project whose annotate only writes down what it was called with, a line for each argument."""
    stand_in = project / "venv" / "bin" / "annotate"
    stand_in.unlink()
    stand_in.write_text(
        "#!/bin/sh\n"
        'for word in "$@"; do printf "%s\\n" "$word"; done >> "$1.told"\n'
        'mkdir -p "$WORKSPACE/$1"; touch "$WORKSPACE/$1/manifest.json"\n'
        'if [ "$1" = organize ]; then mkdir -p "$OUTPUT"; touch "$OUTPUT/manifest.json"; fi\n'
    )
    stand_in.chmod(0o755)
    return project


@pytest.mark.parametrize("by", ["argument", "environment"])
def test_names_reach_annotate_as_they_are_and_run_nothing(told: Path, by: str) -> None:
    values = {
        "IMAGES": f"images {NASTY}",
        "CLASSES": f"a,b {NASTY}",
        "OUTPUT": f"out {NASTY}",
        "WORKSPACE": f"work {NASTY}",
        "MODEL": f"model {NASTY}",
        "TRUTH": f"truth {NASTY}",
    }
    arguments = [f"{name}={value}" for name, value in values.items()] if by == "argument" else []
    ended = started(told, *arguments, **({} if arguments else values))
    assert ended.returncode == 0, ended.stderr
    workspace = f"--workspace={values['WORKSPACE']}"
    calls = {
        "embed": [f"--model={values['MODEL']}", workspace, "--", values["IMAGES"]],
        "refine": [f"--classes={values['CLASSES']}", workspace],
        "organize": [workspace, "--", values["OUTPUT"]],
        "report": [f"--truth={values['TRUTH']}", workspace],
    }
    for stage, words in calls.items():
        assert (told / f"{stage}.told").read_text().splitlines() == [stage, *words]
    assert "Nothing to be done" in started(told, *arguments, **({} if arguments else values)).stdout
    assert not list(told.rglob("ran"))


@pytest.mark.parametrize("name", ["IMAGES", "CLASSES", "OUTPUT", "WORKSPACE", "MODEL", "TRUTH", "REFINE"])
def test_a_name_of_two_lines_is_refused(told: Path, name: str) -> None:
    ended = started(told, f"{name}=a\ntouch ran")
    assert ended.returncode == 2
    assert f"{name} has more than one line" in ended.stderr
    assert not list(told.glob("*.told"))


def test_options_are_words_of_a_shell(told: Path) -> None:
    started(told, "CLASSES=a,b", "REFINE=--set 'x=a b' --force")
    assert (told / "refine.told").read_text().splitlines()[3:] == ["--set", "x=a b", "--force"]


def test_what_is_gone_or_new_is_made(told: Path) -> None:
    (told / "truth.csv").write_text("path,class\n")
    arguments = ("CLASSES=a,b", "TRUTH=truth.csv")
    assert "annotate embed" in make(told, *arguments)
    assert "Nothing to be done" in make(told, *arguments)
    shutil.rmtree(told / "dataset")
    assert "annotate organize" in make(told, *arguments)
    assert "annotate embed" in make(told, *arguments, "WORKSPACE=another place")
    (told / "truth.csv").write_text("path,class\nx,a\n")
    again = make(told, *arguments)
    assert "annotate report" in again
    assert "annotate refine" not in again
    (told / "annotate.yaml").write_text("refine: {temperature: 0.02}")
    assert "annotate refine" in make(told, *arguments)


def test_what_it_remembers_is_written_through_no_link(told: Path) -> None:
    (told / "theirs").write_text("somebody's only copy")
    (told / "artifacts").mkdir()
    (told / "artifacts" / ".make-images").symlink_to(told / "theirs")
    os.link(told / "theirs", told / "artifacts" / ".make-refine")
    assert "annotate embed" in make(told, "CLASSES=a,b")
    assert "Nothing to be done" in make(told, "CLASSES=a,b")
    assert (told / "theirs").read_text() == "somebody's only copy"


def test_sources_of_programs_in_the_workspace_are_not_built(told: Path) -> None:
    make(told, "CLASSES=a,b")
    (told / "artifacts" / ".make-images.sh").write_text("touch ran")
    assert "Nothing to be done" in make(told, "CLASSES=a,b")
    assert "touch ran" not in (told / "artifacts" / ".make-images").read_text()
