"""The photos of the demo are none that `tiny` was trained on."""

from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import photos
import pytest
from data import HELD_OUT, split_of


def test_every_photo_of_the_demo_was_held_out_of_the_training() -> None:
    with open(photos.DEMO / "sources.csv", newline="") as table:
        files = [row["file"] for row in csv.DictReader(table)]
    assert len(files) == 240
    assert {split_of(file) for file in files} == {HELD_OUT}


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Zips of sets as the recipe expects them, with forty files of each class in either part."""
    for image_set, classes in photos.CLASSES.items():
        with zipfile.ZipFile(tmp_path / f"{image_set}.zip", "w") as archive:
            for name in (*classes, "something else"):
                for number in range(40):
                    for part in ("train", "test"):
                        path = f"{part}/{name}/{number}.jpg"
                        archive.writestr(path, f"{image_set}/{path}")
    return tmp_path


def test_the_same_sets_make_the_same_archive(sets: Path) -> None:
    picked = photos.picked_photos(sets)
    assert picked == photos.picked_photos(sets)
    assert len({path for _, _, path in picked}) == 240
    assert {split_of(path) for _, _, path in picked} == {HELD_OUT}
    for file in ("one.zip", "two.zip"):
        photos.write_archive(sets / file, sets, picked)
    assert (sets / "one.zip").read_bytes() == (sets / "two.zip").read_bytes()
    _, image_set, path = picked[6]
    with zipfile.ZipFile(sets / "one.zip") as archive:
        assert archive.read("photo-007.jpg").decode() == f"{image_set}/{path}"
