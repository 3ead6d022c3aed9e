"""Which precision a machine takes: found by trying, on a clock that tests wind themselves, and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from annotate.encoders import precision
from annotate.encoders.precision import EXACT, FILE, HALF, PROBE_SECONDS, fastest, fastest_here, products, shortest


class Clock:
    """A clock that goes only while something runs."""

    def __init__(self) -> None:
        self.now, self.ran = 0.0, list[str]()

    def __call__(self) -> float:
        return self.now

    def run(self, name: str, *seconds: float) -> Callable[[], None]:
        """A run that takes these times, one after the other; the last ever after."""
        left = list(seconds)

        def runs() -> None:
            self.ran.append(name)
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return runs


@pytest.mark.parametrize(
    ("exact", "half", "taken"),
    [
        ([0.04], [0.02], HALF),
        ([0.04], [0.0334], EXACT),  # not clearly faster
        ([0.04], [0.0333], HALF),
        ([0.02], [0.3], EXACT),
        ([0.04], [9, 0.02], EXACT),  # no second turn fits
        ([0.04], [0.2, 0.02], HALF),  # the first made ready
        ([0.02, 0.04], [0.019, 0.001], HALF),
    ],
)
def test_half_precision_is_taken_where_it_is_clearly_faster(exact: list[float], half: list[float], taken: str) -> None:
    clock = Clock()
    assert fastest(shortest({EXACT: clock.run(EXACT, *exact), HALF: clock.run(HALF, *half)}, clock)) == taken


@pytest.mark.parametrize("seconds", [0.0003, 0.01, 0.12, 0.2])
def test_a_probe_takes_half_a_second_at_most(seconds: float) -> None:
    clock = Clock()
    shortest({EXACT: clock.run(EXACT, seconds), HALF: clock.run(HALF, seconds)}, clock)
    assert PROBE_SECONDS / 2 < clock.now <= PROBE_SECONDS
    assert clock.ran[:2] * (len(clock.ran) // 2) == clock.ran  # in turns


def test_on_a_slow_machine_each_runs_once() -> None:
    clock = Clock()
    assert shortest({EXACT: clock.run(EXACT, 3), HALF: clock.run(HALF, 1)}, clock) == {EXACT: 3, HALF: 1}
    assert clock.ran == [EXACT, HALF]


def test_both_runs_do_the_same_work() -> None:
    runs = products()
    exact, half = runs[EXACT](), runs[HALF]()
    assert isinstance(exact, torch.Tensor)
    assert isinstance(half, torch.Tensor)
    assert (exact.dtype, half.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(half.float(), exact, atol=0.05, rtol=0.05)


def test_a_machine_is_tried_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def probe() -> str:
        asked.append(precision.machine())
        return HALF if len(asked) == 1 else EXACT

    assert [fastest_here(tmp_path / "cache", probe) for _ in range(3)] == [HALF] * 3
    assert len(asked) == 1
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert [fastest_here(tmp_path / "cache", probe) for _ in range(2)] == [EXACT] * 2
    assert len(asked) == 2
    assert "torch 99.0" in asked[1]
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    fastest_here(tmp_path / "cache", probe)
    assert len(asked) == 3
    assert json.loads((tmp_path / "cache" / FILE).read_text()) == dict(zip(asked, [HALF, EXACT, EXACT], strict=True))


@pytest.mark.parametrize("content", [b"", b"\xff", b"[1]", b'{"%s": "fast"}', b"[" * 100_000])
def test_a_damaged_file_is_written_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content.replace(b"%s", precision.machine().encode()))
    assert fastest_here(tmp_path, lambda: HALF) == HALF
    assert json.loads((tmp_path / FILE).read_text()) == {precision.machine(): HALF}


def test_where_nothing_can_be_kept_it_is_found_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / f".{FILE}.lock").symlink_to(tmp_path / "mine")
    for folder in (tmp_path / "file" / "cache", tmp_path / "links"):
        assert fastest_here(folder, lambda: HALF) == HALF
        assert fastest_here(folder, lambda: EXACT) == EXACT
    assert (tmp_path / "mine").read_text() == "precious"


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert fastest_here(probe=lambda: HALF) == HALF
    assert (tmp_path / "annotate" / FILE).is_file()
    assert precision.choose_precision("auto", "cpu") == HALF
    assert precision.choose_precision("float32", "cpu") == EXACT
    assert precision.choose_precision("auto", "cuda") == "float16"
