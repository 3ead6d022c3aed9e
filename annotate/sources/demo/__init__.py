"""The images of `annotate demo`, each written once, and a CSV that says what each shows.

photos.py   240 photos of twelve everyday things, which come with annotate (ATTRIBUTION.md says from whom)
digits.py   scikit-learn's 1,797 handwritten digits
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from annotate.errors import Hint, InputError, printable
from annotate.workspace.artifacts import write_bytes
from annotate.workspace.opening import replacing_file

ELSEWHERE = Hint("give the demo a folder of its own", "give the demo a folder of its own: `annotate demo FOLDER`")
LITTER = r"\..*|Thumbs\.db|desktop\.ini"  # what file managers and notebooks leave everywhere


@dataclass(frozen=True)
class Shown:
    """An image of the demo: the class that it shows, and how its file's bytes are had."""

    class_name: str
    content: Callable[[], bytes]


def write_images(folder: Path, kind: str, images: Mapping[str, Shown]) -> tuple[Path, Path]:
    """Write the images below `folder`, and what they show beside them; files that are there already are left alone.

    kind     photos or digits: the folder of the images and the name of the CSV
    images   by the name of the file
    returns  the folder of images and the CSV
    raises   InputError where other files lie there
    """
    place, truth = folder / kind, folder / f"{kind}.csv"
    for needed in (folder, place):
        if needed.exists() and not needed.is_dir():
            raise InputError(f"{printable(needed)}: a file, not a folder", hint=ELSEWHERE)
    place.mkdir(parents=True, exist_ok=True)
    strangers = sorted(
        path.name for path in place.iterdir() if path.name not in images and not re.fullmatch(LITTER, path.name)
    )
    if strangers:
        raise InputError(f"{printable(place)} holds other files, for example {printable(strangers[0])}", hint=ELSEWHERE)
    for name, shown in images.items():
        if not (place / name).exists():
            with replacing_file(place / name) as file:  # whole or not there, and never through a link
                file.write(shown.content())
    content = io.StringIO()
    rows = ((name, shown.class_name) for name, shown in images.items())
    csv.writer(content, lineterminator="\n").writerows([("path", "class"), *rows])
    if not truth.exists():
        write_bytes(truth, content.getvalue().encode())
    elif truth.read_bytes() != content.getvalue().encode():
        raise InputError(f"{printable(truth)} is another file than the demo's", hint=ELSEWHERE)
    return place, truth
