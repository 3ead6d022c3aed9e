from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import annotate
from annotate.sources import listing
from annotate.sources.own import DATASET, FIGURES, SECOND_NAMES, in_archive, stage_in_manifest
from annotate.stages import stages


@pytest.fixture
def made(photos: Path, checkpoint: Path) -> list[str]:
    """A dataset and the workspace of its run below the photos; returns the photos alone."""
    alone = listing(photos).locations
    annotate.run(photos, "out", ["red", "green"], model=str(checkpoint))
    shutil.copytree("out", photos / "old")
    shutil.copytree("artifacts", photos / "red" / "artifacts")
    return list(alone)


def test_an_older_dataset_and_workspace_below_the_photos_are_passed_over_and_named(
    made: list[str], photos: Path, checkpoint: Path
) -> None:
    again = annotate.embed(photos, model=str(checkpoint), workspace="other")
    assert list(again.image_paths) == made
    assert again.skipped == [
        {"path": str(photos / "old"), "reason": DATASET},
        {"path": str(photos / "red" / "artifacts" / "report"), "reason": FIGURES},
    ]
    assert annotate.status(workspace="other")["embed"].name == "fresh"


def test_a_dataset_that_the_user_names_is_searched_and_its_images_are_found_once(made: list[str]) -> None:
    found = listing("out")
    assert len(found.locations) == len(made)
    assert found.passed_over == [{"path": os.path.abspath("out/splits"), "reason": SECOND_NAMES}]
    assert len(listing("out/splits").locations) == len(made)
    assert listing("artifacts/report").locations


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("{}"),
        lambda path: path.write_text('{"stage": "organize"}'),
        lambda path: path.write_text("{" * 100_000),
        lambda path: path.write_text(json.dumps({"stage": "photos", "version": 1, "config": {}})),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("nowhere"),
    ],
)
def test_photos_beside_a_manifest_of_something_else_are_found(photos: Path, spoil: Callable[[Path], None]) -> None:
    spoil(photos / "red" / "manifest.json")
    assert len(listing(photos).locations) == 12


def test_every_manifest_of_annotate_is_known_by_its_beginning(made: list[str]) -> None:
    for stage in [stage.name for stage in stages()]:
        path = Path("artifacts", stage, "manifest.json")
        if path.exists():
            assert stage_in_manifest(path.read_bytes()[:256]) == stage
    assert stage_in_manifest(Path("out/manifest.json").read_bytes()[:256]) == "organize"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_older_dataset_in_an_archive_is_passed_over_unless_it_is_all_there_is(made: list[str], kind: str) -> None:
    shutil.rmtree("photos/red/artifacts")
    photos = shutil.make_archive("photos", kind, ".", "photos")
    found = listing(photos)
    assert len(found.locations) == len(made)
    assert found.passed_over == [{"path": f"{photos}/photos/old/", "reason": DATASET}]
    alone = listing(shutil.make_archive("alone", kind, "out"))
    assert len(alone.locations) == len(made)
    assert [row["reason"] for row in alone.passed_over] == [SECOND_NAMES]


def test_many_manifests_in_an_archive_take_no_more_time_than_its_images() -> None:
    names = [f"album-{i}/{i}.jpg" for i in range(20_000)]
    start = time.process_time()
    assert in_archive(names, {f"album-{i}/": "" for i in range(20_000)}) == {}
    over = in_archive(names, {f"album-{i}/": "organize" for i in range(20_000)})
    assert len(over) == len(names)
    assert time.process_time() - start < 5
