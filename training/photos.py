"""Pick the photos of `annotate demo`: twenty each of twelve everyday things, none of which `tiny` was trained on.

    python training/photos.py --data DIR

writes photos.zip and sources.csv into annotate/sources/demo/. The photos are the files of the sets as they are, under
names that say nothing of their class; sources.csv says which file of which set each is. The same sets give the same
bytes. What the sets are, by whom and under which licence, is in ATTRIBUTION.md beside them.
"""

import argparse
import csv
import io
import random
import zipfile
from pathlib import Path

from data import HELD_OUT, members

DEMO = Path(__file__).parent.parent / "annotate" / "sources" / "demo"
SEED = 12
OF_EACH = 20
CLASSES = {
    "groceries": ("apple", "banana", "mushroom", "tomato"),
    "clothing": ("dress", "hat", "pants", "shoes", "t-shirt"),
    "vehicles": ("bike", "car", "truck"),
}
EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of every member, so that the same photos make the same archive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the zip files")
    parser.add_argument("--out", type=Path, default=DEMO)
    arguments = parser.parse_args()
    picked = picked_photos(arguments.data)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_sources(arguments.out / "sources.csv", picked)
    write_archive(arguments.out / "photos.zip", arguments.data, picked)


def picked_photos(data: Path) -> list[tuple[str, str, str]]:
    """(class, set, file in the set) of every photo, in the order of the demo."""
    chance = random.Random(SEED)
    picked = []
    for image_set, classes in CLASSES.items():
        held_out = [(path, name) for path, name, split in members(data, image_set) if split == HELD_OUT]
        for wanted in classes:
            paths = [path for path, name in held_out if name == wanted]
            picked += [(wanted, image_set, path) for path in chance.sample(paths, OF_EACH)]
    chance.shuffle(picked)
    return picked


def write_sources(file: Path, picked: list[tuple[str, str, str]]) -> None:
    content = io.StringIO()
    table = csv.writer(content, lineterminator="\n")
    table.writerow(("photo", "class", "set", "file"))
    table.writerows((photo_name(number), *row) for number, row in enumerate(picked, 1))
    file.write_text(content.getvalue(), "utf-8")


def write_archive(file: Path, data: Path, picked: list[tuple[str, str, str]]) -> None:
    """Stored, not compressed: a JPEG file has nothing left to squeeze out."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for number, (_, image_set, path) in enumerate(picked, 1):
            with zipfile.ZipFile(data / f"{image_set}.zip") as source:
                archive.writestr(zipfile.ZipInfo(photo_name(number), EPOCH), source.read(path))


def photo_name(number: int) -> str:
    return f"photo-{number:03}.jpg"


if __name__ == "__main__":
    main()
