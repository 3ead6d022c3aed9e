"""Write the generated parts of the docs, commands and settings: python docs/reference.py"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import typer

from annotate.cli import app
from annotate.settings.declared import sections

DOCS = Path(__file__).parent


def command_names() -> list[str]:
    """Every command, in the order of `annotate --help`."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return group.list_commands(typer.Context(group))


def with_rows(page: str) -> str:
    """The page with a row for every command in its table; rows that are there stay as somebody wrote them."""
    first, end = page.index("| `annotate "), page.index("\n\n", page.index("| `annotate "))
    rows = page[first:end].splitlines()
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for name in command_names():
        if not any(row.startswith((f"| `annotate {name}`", f"| `annotate {name} ")) for row in rows):
            command = group.get_command(typer.Context(group), name)
            assert command is not None
            about = (command.help or "").partition("\n")[0].rstrip(".")
            rows.append(f"| `annotate {name}` | {about[:1].lower()}{about[1:]} |")
    return "\n".join([page[:first].rstrip("\n"), *rows]) + page[end:]


def commands() -> str:
    """Every command's help, as a terminal of 100 columns shows it."""
    parts = []
    for command in command_names():
        environment = {**os.environ, "COLUMNS": "100", "TERMINAL_WIDTH": "100"}
        shown = subprocess.run(
            [sys.executable, "-m", "annotate", command, "--help"],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        ).stdout
        usage = re.sub(r"^Usage: .*?(annotate|__main__\.py|-m annotate) ", "Usage: annotate ", shown)
        parts.append(f"### annotate {command}\n\n```text\n{usage.strip()}\n```\n")
    return "\n".join(parts)


def settings() -> str:
    """Every setting with default, bounds and meaning."""
    rows = ["| setting | default | bounds | meaning |", "|---|---|---|---|"]
    for section in sections().values():
        for setting in section.values():
            rows.append(f"| `{setting.key}` | {setting.shown_default} | {setting.bounds} | {setting.sentence} |")
    return "\n".join(rows) + "\n"


GENERATED = {"commands": commands, "settings": settings}  # each in the page of its name


def generated(name: str) -> str:
    """The page as it should be: `name` between its markers, the rest as it is."""
    page = (DOCS / f"{name}.md").read_text("utf-8")
    pattern = rf"(<!-- {name}: [^\n]* -->\n).*?(<!-- end of {name} -->)"
    assert re.search(pattern, page, re.DOTALL), f"no place for {name}"
    before, start, end, after = re.split(pattern, page, flags=re.DOTALL)
    whole = f"{before}{start}\n{GENERATED[name]()}\n{end}{after}"
    return with_rows(whole) if name == "commands" else whole


if __name__ == "__main__":
    for name in GENERATED:
        (DOCS / f"{name}.md").write_text(generated(name), "utf-8")
