"""The demo's images: scikit-learn's handwritten digits as PNG files, with a CSV that says what each shows."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from annotate.errors import Hint, InputError, printable
from annotate.workspace.artifacts import write_bytes
from annotate.workspace.opening import replacing_file

ELSEWHERE = Hint("give the demo a folder of its own", "give the demo a folder of its own: `annotate demo FOLDER`")
DEMO_FILES = r"digit-\d{4}\.png|\..*|Thumbs\.db|desktop\.ini"  # and what file managers and notebooks leave everywhere
FULL = 16  # scikit-learn's digits count ink in 4x4 blocks of a bitmap: 0 to 16


def write_digits(folder: Path) -> tuple[Path, Path]:
    """Write 1,797 PNG files (8x8, grey) and truth.csv; files that are there already are left alone.

    returns  the folder of images and the CSV
    raises   InputError where the folder holds files that are not the demo's
    source   E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI 1998 (CC BY 4.0)
    """
    from PIL import Image
    from sklearn.datasets import load_digits

    images, truth = folder / "images", folder / "truth.csv"
    for place in (folder, images):
        if place.exists() and not place.is_dir():
            raise InputError(f"{printable(place)}: a file, not a folder", hint=ELSEWHERE)
    images.mkdir(parents=True, exist_ok=True)
    strangers = sorted(path.name for path in images.iterdir() if not re.fullmatch(DEMO_FILES, path.name))
    if strangers:
        raise InputError(
            f"{printable(images)} holds other files, for example {printable(strangers[0])}", hint=ELSEWHERE
        )
    bunch = load_digits()
    rows = [("path", "class")]
    for number, (ink, digit) in enumerate(zip(bunch.images, bunch.target, strict=True)):
        name = f"digit-{number:04d}.png"
        if not (images / name).exists():
            picture = io.BytesIO()
            Image.fromarray((ink * 255 / FULL).round().astype("uint8")).save(picture, "PNG")
            with replacing_file(images / name) as file:  # whole or not there, and never through a link
                file.write(picture.getvalue())
        rows.append((name, str(digit)))
    content = io.StringIO()
    csv.writer(content, lineterminator="\n").writerows(rows)
    if not truth.exists():
        write_bytes(truth, content.getvalue().encode())
    elif truth.read_bytes() != content.getvalue().encode():
        raise InputError(f"{printable(truth)} is another file than the demo's", hint=ELSEWHERE)
    return images, truth
