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
    command = ["make", "-j2", "dataset", "VENV=venv", "IMAGES=photos", *arguments]
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


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
