"""Each format read back: nothing is lost, renamed, turned or renumbered."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import annotate
from annotate.classes.folders import fold
from annotate.exports.formats import formats
from tests.exports.conftest import Plant, Scene
from tests.exports.readers import READERS


def table(output: str = "out") -> list[dict[str, str]]:
    with open(Path(output, "images.csv"), encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def expected(scene: Scene, output: str = "out") -> dict[str, str]:
    """File in the export to the class of its original, by the mapping that the export brings."""
    return {row["file"]: scene.class_names[scene.labels[row["original"]]] for row in table(output)}


def contents(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_every_format_has_a_reader() -> None:
    assert READERS.keys() == {name for name, form in formats().items() if not form.boxes_only}


@pytest.mark.parametrize("name", READERS)
def test_hostile_names_and_classes_come_back_as_they_were(name: str, hostile: Scene) -> None:
    annotate.export("out", format=name)
    assert READERS[name](Path("out")) == expected(hostile)
    assert len(table()) == len(hostile.labels)


@pytest.mark.parametrize("name", READERS)
def test_images_without_a_class_are_there_where_they_are_asked_for(name: str, plain: Scene) -> None:
    annotate.export("out", format=name, min_confidence=0.5, include_unlabelled=True)
    wanted = {
        row["file"]: None if row["original"] == "green/5.png" else plain.class_names[plain.labels[row["original"]]]
        for row in table()
    }
    assert READERS[name](Path("out")) == wanted
    assert len(wanted) == 60


@pytest.mark.parametrize("name", READERS)
def test_the_same_labels_make_the_same_bytes(name: str, plain: Scene) -> None:
    annotate.export("out", format=name)
    os.utime("artifacts/refine/manifest.json")
    annotate.export("again", format=name)
    assert contents("out") == contents("again")


@pytest.mark.parametrize("name", ["imagefolder", "csv", "coco", "hf", "fiftyone", "label-studio", "cvat", "parquet"])
def test_pixels_are_upright_and_all_other_images_the_same_bytes(name: str, plain: Scene) -> None:
    before = contents("photos")
    annotate.export("out", format=name)
    assert contents("photos") == before
    for row in table():
        original, file = plain.folder / row["original"], Path("out", row["file"])
        content = file.read_bytes()
        assert hashlib.sha256(content).hexdigest() == row["sha256"]
        with Image.open(original) as photo, Image.open(file) as there:
            assert there.size == (int(row["width"]), int(row["height"]))
            assert there.getexif().get(0x0112, 1) == 1
            if photo.getexif().get(0x0112, 1) == 1:
                assert content == original.read_bytes()
            else:
                seen = np.asarray(ImageOps.exif_transpose(photo), np.int16)
                assert np.abs(seen - np.asarray(there, np.int16)).mean() < 4  # encoded once more


def test_class_ids_are_in_the_users_order_everywhere(hostile: Scene) -> None:
    for name in ("coco", "hf", "csv"):
        annotate.export(f"out-{name}", format=name)
    names = [row["name"] for row in json.loads(Path("out-csv/classes.json").read_text("utf-8"))]
    assert names == list(hostile.class_names)
    document = json.loads(Path("out-coco/annotations/labels_train.json").read_text())
    assert [(one["id"], one["name"]) for one in document["categories"]] == list(enumerate(names, 1))
    for row in table("out-csv"):
        assert names[int(row["class_id"])] == row["class"]
    annotate.export("out-zero", format="coco", category_base=0)
    document = json.loads(Path("out-zero/annotations/labels_train.json").read_text())
    assert [one["id"] for one in document["categories"]] == list(range(len(names)))


def test_splits_are_those_of_organize(plain: Scene) -> None:
    annotate.organize("dataset")
    annotate.export("out")
    images = json.loads(Path("dataset/metadata.json").read_text())["images"]
    organized = {os.path.relpath(row["original_path"], plain.folder): row["split"] for row in images}
    assert {row["original"]: row["split"] for row in table()} == organized


def test_file_names_differ_without_regard_to_case_spelling_and_ending(hostile: Scene) -> None:
    annotate.export("out", format="csv")
    stems = [fold(Path(row["file"]).stem) for row in table()]
    assert len({*stems}) == len(stems)
    assert not any("." in stem for stem in stems)


def test_what_is_exported_can_be_chosen(plain: Scene) -> None:
    annotate.export("both", format="csv")
    annotate.export("labels", format="csv", what="labels")
    made = annotate.export("answers", format="csv", what="answers")
    said = {name: {row["original"]: row for row in table(name)} for name in ("both", "labels", "answers")}
    assert {*said["answers"]} == {"red/0.png", "red/1.png", "blue/3.png"}
    assert (made.images, made.answered, made.left_out) == (3, 3, 57)
    assert [said[name]["red/0.png"]["class"] for name in ("both", "answers", "labels")] == ["green", "green", "red"]
    assert [said[name]["red/0.png"]["said_by"] for name in ("both", "labels")] == ["answer", "label"]
    assert said["both"]["red/0.png"]["confidence"] == ""  # nobody measured how sure a person is
    assert said["labels"]["red/0.png"]["confidence"] == "0.3"


def test_doubtful_labels_are_left_out_and_answers_are_not(plain: Scene) -> None:
    made = annotate.export("out", format="csv", min_confidence=0.5)
    there = {row["original"] for row in table()}
    assert "green/5.png" not in there
    assert "red/0.png" in there  # a person said so, however doubtful the label was
    assert made.left_out == 1


def test_readers_that_number_folders_find_every_class_in_every_split(scene: Plant) -> None:
    """Ultralytics numbers the folders of each split for itself: one without images must not shift the others."""
    scene({**{f"a{i}.png": 0 for i in range(20)}, "b.png": 1, **{f"c{i}.png": 2 for i in range(20)}})
    annotate.export("out", format="yolo-classify")
    for part in ("train", "val", "test"):
        assert sorted(os.listdir(Path("out", part))) == ["blue", "green", "red"]
