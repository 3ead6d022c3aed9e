import io
import subprocess
import sys

import pytest

from annotate import display

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
        "import sys; from annotate import display\n"
        "display.say('hello'); display.show_counts('class', {'cat': 1})\n"
        "sys.exit('rich' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_wide_letters_take_two_columns(capsys: pytest.CaptureFixture[str]) -> None:
    display.show_table(("class", "images"), [("東京", "7"), ("cafe\u0301", "3")])
    assert capsys.readouterr().out == "class   images\n東京         7\ncafe\u0301         3\n\n"
