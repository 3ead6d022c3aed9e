"""The demo's photos: everyday things, in an archive that comes with annotate (training/photos.py picked them)."""

from __future__ import annotations

import csv
import zipfile
from functools import partial
from pathlib import Path

from annotate.sources.demo import Shown

HERE = Path(__file__).parent


def everyday_photos() -> dict[str, Shown]:
    """240 JPEG files of 80 to 190 pixels, twenty of each class."""
    with open(HERE / "sources.csv", encoding="utf-8", newline="") as table:
        return {row["photo"]: Shown(row["class"], partial(read, row["photo"])) for row in csv.DictReader(table)}


def read(name: str) -> bytes:
    with zipfile.ZipFile(HERE / "photos.zip") as archive:
        return archive.read(name)
