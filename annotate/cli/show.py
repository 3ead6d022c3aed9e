"""What a command shows of the records that it made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import annotate
from annotate.cli import display
from annotate.errors import printable


def workspace_folder(workspace: Path | None) -> Path:
    from annotate.workspace import Workspace

    return Workspace(workspace).root


def print_json(content: Any) -> None:
    import json

    display.show(json.dumps(content, indent=1))


def show_skipped(skipped: Sequence[Any]) -> None:
    if skipped:
        first = skipped[0]
        display.say(
            f"{len(skipped):,} skipped, for example {printable(first['path'])}: {first['reason']}; skipped.json has all"
        )


def show_dataset(made: annotate.Dataset, output: Path, workspace: Path | None) -> None:
    """Where to look, and how good it is where that is known."""
    display.show_counts("class", made.report.summary["class_distribution"])
    show_skipped(made.embeddings.skipped)
    known, mean = made.report.summary["truth"], made.report.summary["confidence"]["mean"]
    if mean is not None:
        display.show(f"mean confidence {100 * mean:.1f} %")
    if known and known["images"]:
        display.show(f"accuracy {100 * known['accuracy']:.1f} % of {known['images']:,} images with a known class")
    elif known:
        display.show("accuracy: nothing to measure, the class of every image with a truth was given")
    display.show(f"dataset  {printable(output)}/")
    display.show(f"report   {printable(workspace_folder(workspace))}/report/report.html (open it in a browser)")
