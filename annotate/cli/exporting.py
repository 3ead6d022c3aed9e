"""annotate export: the dataset in the format of another program."""

from __future__ import annotations

import annotate
from annotate.cli import display
from annotate.cli.options import Asked, Output
from annotate.cli.parsing import command
from annotate.errors import printable


@command("export", "organize", "answers")
def export(output: Output, *, asked: Asked) -> None:
    """Write the dataset in the format of another program.

    Example: annotate export out --format coco --min-confidence 0.8
    """
    made = annotate.export(output, **asked)
    display.show_counts("class", made.classes)
    parts = ", ".join(f"{name} {count:,}" for name, count in made.splits.items())
    display.show(f"{made.images:,} images are in {printable(output)}/ in the format {made.format}: {parts}")
    if made.left_out:
        display.show(f"{made.left_out:,} images have no class here and were left out")
    display.show(f"next: {printable(output)}/README.md shows how to load it")
