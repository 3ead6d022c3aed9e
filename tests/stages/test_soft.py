"""Soft labels end to end: a file in, a file and its figures out."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate.errors import InputError, MissingArtifact
from annotate.kernels.vectors import unit
from annotate.votes import files
from annotate.workspace import Workspace

Plant = Callable[..., Workspace]


@pytest.fixture
def data_set(tmp_path: Path, plant: Plant) -> Path:
    """D-slice1.json of 40 planted images in two classes, `=dog` among them, with nine votes on each."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    centres = unit(rng.normal(size=(2, 8)))
    plant(unit(centres[labels] + 0.2 * rng.normal(size=(40, 8))), centres, ["cat", "=dog"], 10.0)
    images = [
        {"path": f"D/fold{i % 5 + 1}/{i:05}.png", "split": files.split_of_fold(i % 5 + 1, 1), "info": {}}
        for i in range(40)
    ]
    votes = [
        {"image_path": image["path"], "class_label": ["cat", "=dog"][label if j else 1 - label]}
        for image, label in zip(images, labels.tolist(), strict=True)
        for j in range(9)
    ]
    (tmp_path / "D").mkdir()
    content = {"name": "D", "v_fold": 1, "classes": ["cat", "=dog"], "images": images}
    (tmp_path / "D" / "D-slice1.json").write_text(json.dumps(content))
    (tmp_path / "D" / "annotations.json").write_text(json.dumps([{"annotations": votes}]))
    return tmp_path


def test_labels_figures_and_tables_are_written(data_set: Path) -> None:
    made = annotate.soft("D", fold=1, data_root=data_set, budget=0.5, output="out")
    again = files.read(made.path)
    assert made.path == Path("out/D-posterior-01-0.50/D-posterior-01-0.50-1.json")
    assert again.content.budget == 0.5
    assert again.shares == pytest.approx(made.shares)
    names = {path.name for path in made.path.parent.iterdir()}
    assert {"labels.csv", "curve.csv", "map-label.png", "map-confidence.png", "histogram.png", "kl.png"} < names
    with open(made.path.parent / "labels.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["votes"]) for row in rows) == 20 == made.votes.sum()
    assert {row["label"] for row in rows} == {"cat", "'=dog"}  # no formula
    assert set(made.scores) == {"all", "train", "val", "test"}
    assert made.scores["all"]["accuracy"] > 0.9


def test_the_split_test_can_be_spared(data_set: Path) -> None:
    made = annotate.soft(data_set / "D" / "D-slice1.json", budget=1, spare_test=True)
    splits = np.array(files.read(data_set / "D" / "D-slice1.json").splits)
    assert made.votes[splits == "test"].sum() == 0
    assert made.votes.sum() == (splits != "test").sum()


def test_all_labels_of_a_file_serve_as_votes(data_set: Path) -> None:
    file = data_set / "D" / "D-slice1.json"
    full = files.labelled(files.read(file), np.tile([0.8, 0.2], (40, 1)))
    files.write(data_set / "full.json", full)
    assert annotate.soft(file, votes=data_set / "full.json", budget=2).shares[:, 0].mean() > 0.6


def test_images_that_are_not_embedded_are_named(data_set: Path) -> None:
    file = data_set / "D" / "D-slice1.json"
    content = json.loads(file.read_text())
    content["images"].append({"path": "D/fold1/new.png", "split": "train", "soft_gt": [1, 0]})
    file.write_text(json.dumps(content))
    known = files.labelled(files.read(file), np.tile([0.8, 0.2], (41, 1)))
    files.write(data_set / "full.json", known)
    with pytest.raises(MissingArtifact, match="1 of 41 images are not embedded: new"):
        annotate.soft(file, votes=data_set / "full.json")


@pytest.mark.parametrize(("asked", "said"), [({"method": "magic"}, "no method"), ({"budget": -1}, "--budget -1")])
def test_what_makes_no_sense_is_refused(asked: dict[str, object], said: str, data_set: Path) -> None:
    with pytest.raises(InputError, match=said):
        annotate.soft(data_set / "D" / "D-slice1.json", **asked)
    assert not (data_set / "soft").exists()
