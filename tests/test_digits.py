from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from annotate.errors import InputError
from annotate.sources.digits import write_digits


def test_the_digits_are_scikit_learns(tmp_path: Path) -> None:
    images, truth = write_digits(tmp_path / "demo")
    rows = truth.read_text().splitlines()[1:]
    assert len(rows) == 1797
    bunch = load_digits()
    for number in (0, 1000, 1796):
        name, digit = rows[number].split(",")
        assert int(digit) == bunch.target[number]
        ink = np.asarray(Image.open(images / name), np.float64) * 16 / 255
        np.testing.assert_allclose(ink, bunch.images[number], atol=0.1)
    write_digits(tmp_path / "demo")


@pytest.mark.parametrize("own", ["truth.csv", "images/mine.png"])
def test_a_folder_with_other_files_is_left_alone(tmp_path: Path, own: str) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / own).write_text("precious")
    with pytest.raises(InputError):
        write_digits(tmp_path)
    assert (tmp_path / own).read_text() == "precious"


def test_what_file_managers_and_notebooks_leave_is_nobodys_work(tmp_path: Path) -> None:
    (tmp_path / "images" / ".ipynb_checkpoints").mkdir(parents=True)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "images" / name).touch()
    images, _ = write_digits(tmp_path)
    assert len(list(images.glob("digit-*.png"))) == 1797


def test_a_file_of_the_folders_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "demo").touch()
    with pytest.raises(InputError, match="demo: a file, not a folder"):
        write_digits(tmp_path / "demo")
