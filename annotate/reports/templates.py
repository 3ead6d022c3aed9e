"""The pages' templates, as Jinja reads them: what is put in is text, and a name that nobody gave is an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def environment() -> Any:
    """A new one each time, so that a page may add filters of its own."""
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
