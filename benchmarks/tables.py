"""Tables in the documents, between two marks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def show(parts: Mapping[str, str], document: Path | None) -> None:
    """Print the tables; put each into the document where one is given."""
    for part, table in parts.items():
        print(f"\n{part}\n\n{table}")
        if document:
            write(document, part, table)


def write(document: Path, part: str, table: str) -> None:
    """Replace what stands between `<!-- part -->` and `<!-- end of part -->`."""
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    head, found, rest = document.read_text().partition(begin)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise SystemExit(f"{document.name}: no place for '{part}'")
    document.write_text(f"{head}{begin}\n{table}\n{end}{tail}")
