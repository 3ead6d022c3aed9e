"""What to do about a stage whose artifacts are missing or damaged."""

from __future__ import annotations

from annotate.errors import Hint
from annotate.records.declared import record_classes


def command_for(stage: str) -> str:
    """The command that makes a stage."""
    commands = [record.command for record in record_classes(stage) if record.command]
    return commands[0] if commands else f"annotate {stage}"


def first_make(stage: str) -> Hint:
    """Of a stage that is missing."""
    return Hint(f"the step '{stage}' comes first", f"run `{command_for(stage)}` first")


def repair(stage: str) -> Hint:
    """Of a stage that is damaged. Texts are made again by their own command without being forced to."""
    force = " --force" if stage != "text" else ""
    return Hint(f"do the step '{stage}' again", f"run `{command_for(stage)}{force}`")
