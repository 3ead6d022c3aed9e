"""The demo's images, and that the folder for them is nobody else's."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import annotate
from annotate.errors import InputError
from annotate.sources.demo import Shown, photos, write_images
from annotate.sources.demo.digits import handwritten_digits
from annotate.sources.demo.photos import everyday_photos

MOST_BYTES = 1_500_000  # of all that comes with annotate for the demo
TWO = {"a.png": Shown("cat", lambda: b"first"), "b.png": Shown("dog, say", lambda: b"second")}


def test_the_photos_are_real_pictures_of_twelve_classes() -> None:
    shown = everyday_photos()
    assert Counter(Counter(one.class_name for one in shown.values()).values()) == {20: 12}
    for one in shown.values():
        with Image.open(io.BytesIO(one.content())) as picture:
            picture.load()
            assert picture.format == "JPEG"
            assert min(picture.size) >= 80
            assert not picture.getexif()  # nothing of whoever took it
    assert sum(path.stat().st_size for path in photos.HERE.iterdir() if path.is_file()) < MOST_BYTES


def test_every_photo_says_where_it_is_from() -> None:
    with open(photos.HERE / "sources.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    with zipfile.ZipFile(photos.HERE / "photos.zip") as archive:
        assert archive.namelist() == [row["photo"] for row in rows]
    assert len({(row["set"], row["file"]) for row in rows}) == 240
    assert all(row["file"].split("/")[-2] == row["class"] for row in rows)
    attribution = (photos.HERE / "ATTRIBUTION.md").read_text()
    for image_set in {row["set"] for row in rows}:
        assert f"| `{image_set}` |" in attribution


def test_the_digits_are_those_of_scikit_learn() -> None:
    shown = handwritten_digits()
    assert len(shown) == 1797
    bunch = load_digits()
    for number in (0, 1000, 1796):
        one = shown[f"digit-{number:04}.png"]
        assert int(one.class_name) == bunch.target[number]
        ink = np.asarray(Image.open(io.BytesIO(one.content())), np.float64) * 16 / 255
        np.testing.assert_allclose(ink, bunch.images[number], atol=0.1)


def test_images_are_written_once_with_what_they_show(tmp_path: Path) -> None:
    images, truth = write_images(tmp_path / "demo", "photos", TWO)
    assert (images, truth) == (tmp_path / "demo" / "photos", tmp_path / "demo" / "photos.csv")
    assert truth.read_text() == 'path,class\na.png,cat\nb.png,"dog, say"\n'
    (images / "a.png").write_bytes(b"drawn upon")
    write_images(tmp_path / "demo", "photos", TWO)
    assert [path.read_bytes() for path in sorted(images.iterdir())] == [b"drawn upon", b"second"]


@pytest.mark.parametrize("own", ["photos.csv", "photos/mine.png"])
def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, own: str) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / own).write_text("precious")
    with pytest.raises(InputError):
        write_images(tmp_path, "photos", TWO)
    assert (tmp_path / own).read_text() == "precious"


def test_what_file_managers_and_notebooks_leave_is_nobodys_work(tmp_path: Path) -> None:
    (tmp_path / "photos" / ".ipynb_checkpoints").mkdir(parents=True)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "photos" / name).touch()
    images, _ = write_images(tmp_path, "photos", TWO)
    assert len(list(images.glob("?.png"))) == 2


def test_a_file_of_the_folders_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    with pytest.raises(InputError, match="demo: a file, not a folder"):
        write_images(tmp_path / "demo", "photos", TWO)


def test_photos_and_digits_do_not_get_in_each_others_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(annotate, "run", lambda *given, **named: asked.append((given, named)))
    for digits in (False, True, False):
        annotate.demo("demo", digits=digits)
    (photos_first, _), (digits_then, named), (photos_again, _) = asked
    assert photos_first == photos_again
    assert len(photos_first[2]) == 12
    assert digits_then[2] == [str(digit) for digit in range(10)]
    assert named["truth"] == Path("demo/digits.csv")
