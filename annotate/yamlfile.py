"""Reading YAML that people wrote, with reasons instead of tracebacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from annotate.errors import InputError, printable


def parse(text: str, *, shown: str, hint: str) -> Any:
    """The content of a YAML text.

    shown   what the user calls it, for the message
    raises  InputError where it is not YAML
    """
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # an impossible date is a ValueError
        raise InputError(f"{shown}: not readable as YAML: {str(error).splitlines()[0]}", hint=hint) from error


def read(path: Path, *, hint: str) -> Any:
    """The content of a YAML file in UTF-8."""
    shown = printable(path)
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown}: not UTF-8 text", hint="save it as UTF-8") from error
    return parse(text, shown=shown, hint=hint)
