"""What a person at a terminal is asked and shown about answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

import annotate
from annotate.cli import display
from annotate.errors import AnnotateError, InputError, printable

if TYPE_CHECKING:
    from annotate.stages.labelling import Decision, Labelled


def one_thing_to_label(source: str | None, *, undo: bool, export: Path | None, rename: str | None) -> None:
    """raises  InputError where nothing is asked for, or several things, or a name without a new one"""
    if sum((source is not None, undo, export is not None, rename is not None)) != 1:
        raise InputError(
            "label does one thing at a time", hint="give a FILE, or --undo, or --export FILE, or --rename OLD=NEW"
        )
    if rename is not None and not all(part.strip() for part in rename.partition("=")):
        raise InputError(f"--rename {printable(rename)}: expected OLD=NEW", hint="for example --rename cat=kitten")


def asked_back(*, new_classes: bool) -> Callable[[Labelled], Decision] | None:
    """Somebody who is asked before answers are written; nobody where no person sits at a terminal."""
    if sys.stdin is None or not sys.stdin.isatty() or not display.on_terminal(stderr=True):
        return None

    def confirm(made: Labelled) -> Decision:
        from dataclasses import replace

        from annotate.stages.labelling import Decision

        say_all(replace(made, added=new_classes), display.say)
        add = new_classes
        if made.new and not new_classes:
            add = typer.confirm("Make them classes?" if len(made.new) > 1 else "Make it a class?", err=True)
        if not replace(made, added=add).kept:
            return Decision(False, add)
        return Decision(typer.confirm("Keep these answers?", default=True, err=True), add)

    return confirm


def show_labelled(made: Labelled, *, asked_first: bool) -> None:
    """What was kept, and what to do next."""
    if asked_first and not made.kept:
        display.show("nothing was written")
        return
    if not asked_first:
        say_all(made, display.show)
    else:
        display.show(f"{made.in_words[0]} are kept")
    if made.kept:
        display.say("`annotate refine` uses them from now on; `annotate label --undo` takes them back")


def answers_are(count: int) -> str:
    return "1 answer is" if count == 1 else f"{count:,} answers are"


def say_all(made: Labelled, put: Callable[[str], None]) -> None:
    for sentence in made.in_words:
        put(sentence)


def readable_answers(project: annotate.Project) -> dict[str, Any] | None:
    """The answers of a project, counted; None where there are none, or where `status` says already what is wrong."""
    try:
        return project.answers()
    except AnnotateError as error:
        display.say(f"answers: {printable(error)}")
        return None


def show_answers(answers: Mapping[str, Any] | None) -> None:
    """How many images people answered, of which classes, and who did."""
    if not answers:
        return
    people = ", ".join(f"{printable(who)} {count:,}" for who, count in answers["who"].items())
    images = "1 image" if answers["images"] == 1 else f"{answers['images']:,} images"
    display.show(f"answers for {images}, by {people}")
    classes = {**answers["classes"], **({"none of these": n} if (n := answers["none of these"]) else {})}
    display.show(", ".join(f"{printable(name)} {count:,}" for name, count in classes.items()))
    if answers["disputed"]:
        display.show(f"people disagree about {answers['disputed']:,} of them")
