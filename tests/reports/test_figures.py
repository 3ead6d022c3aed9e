"""Figures look the same whatever matplotlib's settings are on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DRAW = """
import hashlib, sys
import numpy as np
from pathlib import Path
from annotate.reports import figures, paper
paper.save(figures.distribution(np.array([3, 4]), ["a", "b"]), Path("drawn.png"))
print(hashlib.sha256(Path("drawn.png").read_bytes()).hexdigest())
"""


def drawn(folder: Path, **environment: str) -> tuple[str, str]:
    """The digest of a figure drawn in a folder by a process of its own, and what it says."""
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", DRAW],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout, ended.stderr


def test_figures_are_drawn_with_settings_of_their_own(tmp_path: Path) -> None:
    clean = drawn(tmp_path)
    assert len(clean[0].strip()) == 64
    for name in ("binary", "wrong", "configured"):
        (tmp_path / name).mkdir()
    (tmp_path / "binary" / "matplotlibrc").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "wrong" / "matplotlibrc").write_text("axes.facecolor: red\nbackend: nonsense\nfigure.dpi: many\nbla\n")
    styles = tmp_path / "configured" / "stylelib"
    styles.mkdir()
    (styles / "own.mplstyle").write_bytes(b"\xff")
    assert drawn(tmp_path / "binary") == clean
    assert drawn(tmp_path / "wrong", MPLBACKEND="module://matplotlib_inline.backend_inline") == clean
    assert drawn(tmp_path, MPLCONFIGDIR=str(styles.parent), MATPLOTLIBRC=str(tmp_path / "wrong")) == clean


@pytest.mark.parametrize("order", ["import matplotlib\n", ""], ids=["imported before", "imported by us"])
def test_whoever_draws_later_finds_the_settings_that_are_theirs(tmp_path: Path, order: str) -> None:
    (tmp_path / "matplotlibrc").write_text("axes.facecolor: red\n")
    code = f"{order}{DRAW}\nimport matplotlib, os\n"
    code += "print(matplotlib.get_backend(), matplotlib.rcParams['axes.facecolor'], os.environ['MPLBACKEND'])"
    environment = {**os.environ, "MPLBACKEND": "svg"}
    shown = subprocess.check_output([sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True)
    assert shown.splitlines()[-1] == "svg red svg"
