from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate.images.look import look_at, shot_of
from annotate.records import Duplicates
from annotate.workspace import Workspace
from tests.kernels.test_copies import textures


@pytest.fixture
def copied(tmp_path: Path, checkpoint: Path) -> Path:
    """photos/: 20 textures; of texture 0 a mirror image, of 1 one with a border, of 2 the same bytes again."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, pixels in enumerate(textures(20)):
        Image.fromarray(pixels).convert("RGB").save(folder / f"{'abcdefghijklmnopqrstuvwxyz'[i]}.png")
    first, second = (Image.open(folder / f"{name}.png") for name in "ab")
    first.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.jpg", quality=80)
    framed = Image.new("RGB", (200, 200), "white")
    framed.paste(second, (20, 20))
    framed.save(folder / "framed.png")
    (folder / "same.png").write_bytes((folder / "c.png").read_bytes())
    annotate.embed(folder, model=str(checkpoint), classes=["red", "green"])
    annotate.refine()
    return folder


def rows() -> list[tuple[str, str, str]]:
    with open("artifacts/duplicates/groups.csv", newline="", encoding="utf-8") as file:
        return [(row["group"], os.path.basename(row["path"]), row["kind"]) for row in csv.DictReader(file)]


def splits() -> dict[str, str]:
    told = json.loads(Path("out/metadata.json").read_text("utf-8"))["images"]
    return {os.path.basename(image["original_path"]): image["split"] for image in told}


def test_copies_are_listed_and_lie_in_one_split_whatever_the_seed(copied: Path) -> None:
    for seed in range(4):
        annotate.organize("out", splits=(34, 33, 33), seed=seed)
        found = splits()
        for one, other in (("a.png", "mirrored.jpg"), ("b.png", "framed.png"), ("c.png", "same.png")):
            assert found[one] == found[other]
    assert rows() == [
        ("0", "a.png", "near"),
        ("0", "mirrored.jpg", "near"),
        ("1", "b.png", "near"),
        ("1", "framed.png", "near"),
        ("2", "c.png", "exact"),
        ("2", "same.png", "exact"),
    ]


def test_only_the_first_of_copies_is_in_the_dataset_where_somebody_asks(copied: Path) -> None:
    made = annotate.organize("out", duplicates="first")
    assert made.images == 20
    assert not {"mirrored.jpg", "framed.png", "same.png"} & splits().keys()
    assert len(list(copied.iterdir())) == 23


def test_nobody_looks_for_copies_that_are_kept_as_they_come(copied: Path) -> None:
    annotate.organize("out", duplicates="keep")
    assert not Path("artifacts/duplicates").exists()
    assert len(splits()) == 23


def test_looks_are_kept_and_the_second_run_reads_no_image(
    copied: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate.organize("out")
    before = Workspace().read(Duplicates)
    monkeypatch.setattr("annotate.stages.looks.look_at", None)  # calling it would fail
    (copied / "z.png").write_bytes((copied / "a.png").read_bytes())  # bytes that are known
    annotate.embed(copied, model=str(checkpoint), classes=["red", "green"])
    annotate.refine()
    annotate.organize("out")
    assert (before.groups >= 0).sum() + 1 == (Workspace().read(Duplicates).groups >= 0).sum()


def test_a_border_and_the_way_up_do_not_change_a_look(tmp_path: Path) -> None:
    picture = Image.fromarray(textures(1)[0]).convert("RGB")
    framed = Image.new("RGB", (200, 200), "black")
    framed.paste(picture, (20, 20))
    picture.save("plain.png")
    framed.save("framed.png")
    exif = Image.Exif()
    exif[0x0112], exif[271], exif[306] = 6, "Maker", "2024:05:06 07:08:09"
    picture.transpose(Image.Transpose.ROTATE_90).save("turned.jpg", quality=97, exif=exif)
    looks = [look_at(Path(name).read_bytes(), max_megapixels=9) for name in ("plain.png", "framed.png", "turned.jpg")]
    for other in looks[1:]:
        assert np.abs(looks[0].grey.astype(int) - other.grey).mean() < 6
    shot = shot_of(Path("turned.jpg").read_bytes())
    assert shot.camera == "Maker"
    assert shot.seconds is not None and shot.seconds % 60 == 9
    assert shot_of(Path("plain.png").read_bytes()).seconds is None
