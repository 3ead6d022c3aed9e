"""Tables in the documents, between two marks."""

from __future__ import annotations

from pathlib import Path


def write(document: Path, part: str, table: str) -> None:
    """Replace what stands between `<!-- part -->` and `<!-- end of part -->`."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    head, found, rest = document.read_text().partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{document.name}: no place for '{part}'")
    document.write_text(f"{head}{begin}\n{table}\n{end}{tail}")
