"""Class names as the command line takes them: in arguments, in flags, in files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from annotate.errors import InputError, printable


def names_from(arguments: Sequence[str], file: Path | None) -> list[str]:
    """Class names of flags and arguments, split at commas (`\\,` is a comma in a name), and of a file, as they are."""
    names = [name.replace("\\,", ",") for argument in arguments for name in re.split(r"(?<!\\),", argument)]
    return names + (read_names(file) if file else [])


def read_names(path: Path) -> list[str]:
    shown = printable(path)
    try:
        content = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"no file {shown}", hint="check the path") from None
    except IsADirectoryError:
        raise InputError(
            f"{shown}: a folder, not a file of class names", hint="give a file with one name a line"
        ) from None
    except UnicodeDecodeError:
        raise InputError(f"{shown}: not UTF-8 text", hint="save it as UTF-8, one class name a line") from None
    if path.suffix.lower() in (".json", ".yaml", ".yml"):
        from annotate.settings import config, yamlfile
        from annotate.workspace import jsonfile

        reader = jsonfile if path.suffix.lower() == ".json" else yamlfile
        names = config.as_names(reader.parse(content, shown=shown, hint="give a list of names"), shown=shown)
    else:
        names = [line for line in content.splitlines() if line.strip()]
    if not names:
        raise InputError(f"{shown}: no class names in it", hint="write one name a line")
    return names
