from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

import annotate
from annotate.errors import InputError
from tests.kernels.test_copies import textures


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """set/: 12 textures in train, 6 in valid; one of valid mirrors one of train, one has the bytes of another."""
    folder = tmp_path / "set"
    for i, pixels in enumerate(textures(18)):
        place = folder / ("train" if i < 12 else "valid") / "cat"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).convert("RGB").save(place / f"{i:02}.png")
    with Image.open(folder / "train/cat/03.png") as picture:
        picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "valid/cat/mirrored.jpg")
    (folder / "valid/cat/same.png").write_bytes((folder / "train/cat/05.png").read_bytes())
    return folder


def test_copies_in_two_parts_of_a_foreign_dataset_are_named_the_same_bytes_first(foreign: Path) -> None:
    (foreign / "valid/cat/broken.jpg").write_bytes(b"no image")
    (foreign / "train/cat/copy.png").write_bytes((foreign / "train/cat/01.png").read_bytes())  # in one part: no leak
    found = annotate.check_dataset(foreign)
    assert [(leak.first, leak.second, leak.exact) for leak in found.leaks] == [
        ("train/cat/05.png", "valid/cat/same.png", True),
        ("train/cat/03.png", "valid/cat/mirrored.jpg", False),
    ]
    assert found.leaked == {"val": 2}
    assert found.images == {"train": 13, "val": 9}
    assert found.unreadable == ["valid/cat/broken.jpg"]


def test_a_folder_without_parts_is_refused(foreign: Path) -> None:
    with pytest.raises(InputError, match="fewer than two parts"):
        annotate.check_dataset(foreign / "train")
    with pytest.raises(InputError, match="no folder"):
        annotate.check_dataset("nowhere")
