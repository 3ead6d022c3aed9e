"""annotate check-dataset: does a dataset that is split already leak?"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import annotate
from annotate.cli import bars, display
from annotate.cli.options import AsJson, argument
from annotate.cli.parsing import command
from annotate.cli.show import print_json
from annotate.errors import printable

SHOWN = 20  # leaks that are listed on a terminal


@command(name="check-dataset")
def check_dataset(
    folder: Annotated[Path, argument("FOLDER", "Dataset with folders train, val and test, whoever made it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Say which pictures of a dataset lie in more than one part.

    Looks for files of the same bytes, and for copies: cropped, mirrored, re-encoded, lighter, darker, resized.

    Example: annotate check-dataset dataset
    """
    found = annotate.check_dataset(folder, progress=bars.Terminal())
    if as_json:
        print_json({**asdict(found), "leaked": found.leaked})
        return
    for leak in found.leaks[:SHOWN]:
        how = "same bytes" if leak.exact else f"agreement {leak.agreement:.2f}"
        display.show(f"{printable(leak.first)} and {printable(leak.second)}: {how}")
    if len(found.leaks) > SHOWN:
        display.show(f"and {len(found.leaks) - SHOWN:,} more: --json lists all")
    if found.unreadable:
        display.show(f"{len(found.unreadable):,} files could not be read, the first {printable(found.unreadable[0])}")
    for part, leaked in found.leaked.items():
        of = found.images[part]
        display.show(f"{part}: {leaked:,} of {of:,} images ({100 * leaked / of:.1f} %) have a copy in another part")
