"""Write the README's command reference and table of settings: python docs/reference.py"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

from annotate.config import SECTIONS

README = Path(__file__).parent.parent / "README.md"
COMMANDS = ("run", "embed", "import", "cluster", "refine", "organize", "report", "status", "check", "demo")


def commands() -> str:
    """Every command's help, as a terminal of 100 columns shows it."""
    parts = []
    for command in COMMANDS:
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
    """Every knob with default, bounds and meaning."""
    rows = ["| setting | default | bounds | meaning |", "|---|---|---|---|"]
    for section, cls in SECTIONS.items():
        for field in dataclasses.fields(cls):
            default = "chosen" if field.default is None else field.default
            if isinstance(default, tuple):
                default = ",".join(map(str, default))
            rows.append(f"| `{section}.{field.name}` | {default} | {bounds(field)} | {field.metadata['about']} |")
    return "\n".join(rows) + "\n"


def bounds(field: dataclasses.Field[object]) -> str:
    low, high, above, choices = (field.metadata[key] for key in ("low", "high", "above", "choices"))
    if choices:
        return ", ".join(choices)
    if above is not None:
        return f"above {above:g}"
    if low is None:
        return ""
    return f"{low:g} or more" if high is None else f"{low:g} to {high:g}"


def generated(readme: str) -> str:
    """The README with both sections as they should be."""
    for name, content in (("commands", commands()), ("settings", settings())):
        pattern = rf"(<!-- {name}: [^\n]* -->\n).*?(<!-- end of {name} -->)"
        assert re.search(pattern, readme, re.DOTALL), f"no place for {name}"
        start, end = re.split(pattern, readme, flags=re.DOTALL)[1:3]
        before, after = readme.split(start)[0], readme.split(end)[1]
        readme = f"{before}{start}\n{content}\n{end}{after}"
    return readme


if __name__ == "__main__":
    README.write_text(generated(README.read_text("utf-8")), "utf-8")
