from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.torture
@pytest.mark.parametrize("fault", ["EIO", "kill"])
def test_a_call_that_fails_is_told_in_a_line_and_the_next_run_mends_it(fault: str) -> None:
    options = ["--commands", "import", "--calls", "write,rename,mkdir,open", "--faults", fault, "--every", "7"]
    command = [sys.executable, "-m", "benchmarks.faults", *options]
    tried = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert tried.returncode == 0, tried.stdout
    assert "WRONG" not in tried.stdout
