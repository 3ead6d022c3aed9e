import io
import itertools
import subprocess
import sys
import time

import pytest

from annotate.cli import bars, display
from annotate.errors import terminal_columns
from annotate.records import Iteration

ROWS = [("tabby cat", "7", "70.0 %"), ("dog", "3", "30.0 %")]


def test_a_pipe_gets_columns_and_no_colour(capsys: pytest.CaptureFixture[str]) -> None:
    display.show_table(("class", "images", "share"), ROWS)
    display.put(("error:", "bold red"), " [no] markup", stderr=True)
    shown = capsys.readouterr()
    assert shown.out == (
        "class       images    share\n"  # numbers end where their title does
        "tabby cat        7   70.0 %\n"
        "dog              3   30.0 %\n"
        "\n"
    )
    assert shown.err == "error: [no] markup\n"


def test_colour_is_there_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    display.console.cache_clear()
    display.put(("error:", "bold red"), " [no] markup", stderr=True)
    display.show_table(("class", "images", "share"), ROWS, stderr=True)
    display.console.cache_clear()
    shown = stream.getvalue()
    assert "\x1b[1;31merror:" in shown and "[no] markup" in shown and "tabby cat" in shown


def test_a_pipe_does_not_wait_for_rich() -> None:
    code = (
        "import sys; from annotate.cli import display\n"
        "display.say('hello'); display.show_counts('class', {'cat': 1})\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_wide_letters_take_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    display.show_table(("class", "images"), [("東京", "7"), ("cafe\u0301", "3")])
    assert capsys.readouterr().out == "class   images\n東京         7\ncafe\u0301         3\n\n"


@pytest.mark.parametrize("width", [10, 24, 80])
def test_lines_are_broken_between_words(width: int) -> None:
    text = "  Gib 東京 den/langen/Pfad/der/nicht/in/die/Zeile/passt und noch\nmehr Worte auf der zweiten Zeile."
    starts = [0, *display.line_starts(text, width), len(text)]
    lines = [line for a, b in itertools.pairwise(starts) for line in text[a:b].split("\n")]
    assert " ".join(lines).split() == text.split()
    for line in lines:
        assert terminal_columns(line.rstrip()) <= width or len(line.split()) == 1


@pytest.mark.parametrize(
    ("counts", "waits", "unit", "said"),
    [
        ([5000], [0.2], "images", ""),  # all of it was there before
        ([900, 10, 10], [0.0, 1.0, 1.0], "images", "10 images/s"),  # 900 were
        ([0, 3, 3], [0.0, 2.0, 2.0], "images", "1.5 images/s"),
        ([1, 1, 1], [1.0, 2.0, 2.0], "figures", ""),
        ([10, 5000], [0.0, 0.1], "rows", ""),  # took no time
    ],
)
def test_a_speed_is_said_where_it_says_something(
    monkeypatch: pytest.MonkeyPatch, counts: list[int], waits: list[float], unit: str, said: str
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    speed = bars.Speed(unit)
    for count, wait in zip(counts, waits, strict=True):
        now[0] += wait
        speed.add(count)
    assert str(speed) == said


def test_what_took_no_time_is_not_worth_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with bars.Terminal().steps("organizing", 24_939, "images") as advance:
        advance(24_939)
    assert capsys.readouterr().err == ""


def test_a_state_is_said_in_words_where_a_stage_starts(capsys: pytest.CaptureFixture[str]) -> None:
    bars.Terminal().started("report", "stale: annotate.yaml says thumbnails 3, was 24")
    bars.Terminal().started("organize", "missing")
    assert capsys.readouterr().err == (
        "report (out of date: annotate.yaml says thumbnails 3, was 24)\norganize (not there yet)\n"
    )


PASS: Iteration = {
    "iteration": 1, "mean_confidence": 0.9, "active_classes": 2, "largest_share": 0.5, "text_weight": None,
    "moved": 3, "moved_percent": 1.5,
}  # fmt: skip


@pytest.mark.parametrize(
    ("terminal", "verbose", "shown", "hidden"),
    [
        ("1", False, "pass 1: 1.5 % of the images changed class", "mean certainty"),
        ("1", True, "3 (1.5 %)", "pass 1"),
        ("", True, "3 (1.5 %)", "\x1b"),
        ("", False, "", "1.5 %"),
    ],
)
def test_passes_are_a_moving_line_or_a_table(
    monkeypatch: pytest.MonkeyPatch, terminal: str, verbose: bool, shown: str, hidden: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", terminal)
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    display.console.cache_clear()
    with bars.Terminal(verbose=verbose).iterations() as show:
        show(PASS)
        time.sleep(0.3)  # a moving line is drawn some times a second
    display.console.cache_clear()
    assert shown in stream.getvalue()
    assert hidden not in stream.getvalue()
