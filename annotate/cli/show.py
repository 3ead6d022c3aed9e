"""What a command shows of the records that it made. It ends with three lines: what is done, how sure, what is next."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import annotate
from annotate.cli import display
from annotate.errors import printable

if TYPE_CHECKING:
    from annotate.records import Organized, Refinement


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
    """The whole of `run`: images sorted and where, how right or how sure their labels are, and the report to open."""
    summary = made.report.summary
    strangers = summary["strangers"] or {"images": 0, "per_class": {}}
    display.show_counts("class", summary["class_distribution"], strangers["per_class"])
    show_skipped(made.embeddings.skipped)
    display.show(sorted_into(made.organized, output))
    display.show(how_right(summary))
    show_strangers(strangers["images"], apart=made.organized.unknown or 0)
    page = f"{printable(workspace_folder(workspace))}/report/report.html"
    display.show(f"next: open {page} in a browser to see what to check")


def show_labels(made: Refinement, workspace: Path | None) -> None:
    """What `refine` found: images labelled, how surely, and what the labels are good for."""
    n, k, given = len(made.labels), len(made.class_prototypes), int(made.answered.sum())
    as_given = f"; {given:,} as you gave them" if given else ""
    display.show(f"{n:,} images are labelled with {k:,} classes by the method '{made.method}'{as_given}")
    display.show(how_sure(made.mean_confidence, int((made.confidences < 0.5).sum())))
    show_strangers(int(made.strange.sum()))
    report, organize = line("report", workspace), line("organize OUTPUT", workspace)
    display.show(f"next: `{report}` to check them, `{organize}` to sort them")


def show_strangers(count: int, *, apart: int = 0) -> None:
    """How many images fit none of the names, and where they are; nothing where all fit."""
    if count:
        fit = "image fits" if count == 1 else "images fit"
        done = "put aside in unknown/" if apart else "`--unknown apart` puts them aside"
        display.show(f"{count:,} {fit} none of the names: {done}")


def show_organized(made: Organized, output: Path, workspace: Path | None, *, dry_run: bool) -> None:
    """What `organize` wrote or would write: images sorted and where, their splits, and what to do with them."""
    display.show_counts("folder", made.folders)
    display.show(f"{sorted_into(made, output, dry_run=dry_run)} ({made.link})")
    splits = f"{printable(output)}/splits/"
    display.show(f"{', '.join(f'{name} {count:,}' for name, count in made.splits.items())} in {splits}")
    show_strangers(made.strangers or 0, apart=made.unknown or 0)
    if dry_run:
        display.show("next: the same command without --dry-run writes the dataset")
    else:
        display.show(f"next: `{line('report', workspace)}` shows what to check; then train with {splits}")


def sorted_into(made: Organized, output: Path, *, dry_run: bool = False) -> str:
    """Images sorted, and where; a class without images has no folder."""
    verb = "would be" if dry_run else "are"
    folders = sum(count > 0 for count in made.folders.values())
    return f"{made.images:,} images {verb} sorted into {folders:,} folder{'s' * (folders != 1)} of {printable(output)}/"


def how_right(summary: dict[str, Any]) -> str:
    """Accuracy and confidence where the right classes are known, else confidence alone."""
    known, counted = summary["truth"], summary["counted"]
    found = summary["confidence"]
    if known and known["images"]:
        confidence = f"; mean confidence is {percent(found['mean'])}" if counted else ""
        return f"{percent(known['accuracy'])} of the {known['images']:,} checked labels are right{confidence}"
    sure = how_sure(found["mean"], round(found["share_below_0.5"] * counted) if counted else 0)
    return f"no label could be checked, since you gave those classes; {sure}" if known else sure


def how_sure(mean: float | None, doubtful: int) -> str:
    """Mean confidence, and labels that are more likely wrong than right; both without images whose class was given.

    mean  None where the class of every image was given
    """
    if mean is None:
        return "every label is the class that you gave"
    below = "no label is" if not doubtful else "1 label is" if doubtful == 1 else f"{doubtful:,} labels are"
    return f"mean confidence is {percent(mean)}; {below} below 50 %"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def line(command: str, workspace: Path | None) -> str:
    """The line to type for a command on the same workspace."""
    place = f" -w {shlex.quote(str(workspace))}" if workspace else ""
    return printable(f"annotate {command}{place}")
