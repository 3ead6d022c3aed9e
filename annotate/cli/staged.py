"""Commands of stages that have none of their own: made from what the stage says of itself.

Help reads the first line of the stage's file, "name: what it makes", and loads nothing; the options are made of what
the stage asks for and of the settings that reach it, when its command is called.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import annotate
from annotate.cli import display
from annotate.cli.options import Asked, Classes, Given, Images, Output, Truth, option, parameter
from annotate.cli.parsing import Function
from annotate.cli.show import workspace_folder
from annotate.errors import printable

MADE_ON_THE_WAY = ("text",)  # stages that another command makes; they need none
TITLE = re.compile(r'\A"""(\w+): ([^\n"]+?)\.?(?:"""|\n)')
# What stages ask for that recurs; the rest is a text, described in the docstring of the stage's class.
RECURRING: dict[str, tuple[Any, Any]] = {
    "images": (Images, inspect.Parameter.empty),
    "output": (Output, inspect.Parameter.empty),
    "classes": (Classes, inspect.Parameter.empty),
    "given": (Given, None),
    "truth": (Truth, None),
}


def titles() -> dict[str, str]:
    """Each stage by its name, with the sentence that its file begins with."""
    return {name: about for name, about in map(title, stage_files()) if name not in ("", *MADE_ON_THE_WAY)}


def stage_files() -> Iterator[Path]:
    """Files that may hold a stage, where they are looked for by annotate.stages."""
    loaded = sys.modules.get("annotate.stages")
    folders = list(loaded.__path__) if loaded else [str(Path(annotate.__file__).parent / "stages")]
    return (file for folder in folders for file in sorted(Path(folder).glob("*.py")))


def title(file: Path) -> tuple[str, str]:
    """The name of the stage in a file, and what it makes; empty where the file has none."""
    text = file.read_text("utf-8")
    found = TITLE.match(text) if "\nSTAGE = " in text else None
    return (found[1], found[2][0].upper() + found[2][1:] + ".") if found else ("", "")


def function_for(name: str) -> tuple[Function, tuple[str, ...]]:
    """The function of a stage's command, and the sections whose settings it takes."""
    stage = next(stage for stage in annotate.Project.stages() if stage.name == name)

    def make(*, asked: dict[str, Any], **wanted: Any) -> None:
        workspace, file, force = asked.pop("workspace"), asked.pop("config"), asked.pop("force")
        project = annotate.Project.with_settings(workspace, file, **asked)
        show_facts(project.make(name, force=force, **wanted))
        display.show(f"see {printable(workspace_folder(workspace))}/{name}/")

    parameters = [*(asked_for(ask, inspect.getdoc(type(stage)) or "") for ask in stage.asks), as_asked()]
    make.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    make.__annotations__ = {one.name: one.annotation for one in parameters}
    return make, stage.sections


def asked_for(name: str, described: str) -> inspect.Parameter:
    """An argument or option for what a stage asks."""
    found = re.search(rf"^{name} +(\S.*)$", described, re.MULTILINE)
    sentence = found[1][0].upper() + found[1][1:].rstrip(".") + "." if found else "What the stage asks for."
    kind, default = RECURRING.get(name, (Annotated[str | None, option(sentence)], None))
    return parameter(name, kind, default)


def as_asked() -> inspect.Parameter:
    """Settings, and what is common to all stages."""
    return parameter("asked", Asked, inspect.Parameter.empty)


def show_facts(made: Any) -> None:
    """What a record holds: small values as they are, of others how many."""
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        shape = getattr(value, "shape", None)
        if shape is not None:
            display.show(f"{field.name}: {' x '.join(f'{length:,}' for length in shape)}")
        elif isinstance(value, int | float | str | bool):
            display.show(f"{field.name}: {value}")
        elif value is not None:
            display.show(f"{field.name}: {len(value):,}")
