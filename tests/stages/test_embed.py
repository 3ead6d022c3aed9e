from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate.errors import InputError
from annotate.progress import Silent
from annotate.records import Embeddings
from annotate.workspace import Workspace

STAGE = Path("artifacts/embed")


def bytes_of(stage: Path = STAGE) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in stage.iterdir() if path.name != "manifest.json"}


def test_every_image_becomes_a_unit_row_in_the_order_of_paths(photos: Path, checkpoint: Path) -> None:
    made = annotate.embed(photos, model=str(checkpoint))
    assert made.embeddings.shape == (12, 32)
    assert made.embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made.embeddings, axis=1), 1, atol=1e-5)
    assert made.image_paths == sorted(str(path) for path in photos.rglob("*.png"))
    assert (STAGE / "image_paths.txt").read_text().splitlines() == made.image_paths
    assert made.images[0] is not None
    assert made.images[0]["orientation"] == 1


def test_bad_images_are_rows_in_skipped_and_the_run_goes_on(photos: Path, checkpoint: Path) -> None:
    (photos / "text.jpg").write_text("not an image")
    (photos / "empty.png").touch()
    made = annotate.embed(photos, model=str(checkpoint))
    assert len(made.embeddings) == 12
    rows = json.loads((STAGE / "skipped.json").read_text())
    assert [(Path(row["path"]).name, row["reason"]) for row in rows] == [
        ("empty.png", "empty file"),
        ("text.jpg", "not an image"),
    ]


def test_skipped_images_do_not_change_their_neighbours_batches(photos: Path, checkpoint: Path) -> None:
    before = annotate.embed(photos, model=str(checkpoint), batch_size=4).embeddings
    (photos / "a-broken.png").touch()
    np.testing.assert_array_equal(annotate.embed(photos, model=str(checkpoint), batch_size=4).embeddings, before)


def test_the_same_inputs_give_the_same_bytes_whatever_the_workers(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint), workers=1)
    once = bytes_of()
    annotate.embed(photos, model=str(checkpoint), workers=7, force=True)
    assert bytes_of() == once


class Watcher(Silent):
    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []

    def started(self, stage: str, why: str) -> None:
        self.ran.append((stage, why))


def test_a_second_run_does_nothing_and_a_third_says_why(photos: Path, checkpoint: Path) -> None:
    watcher = Watcher()
    annotate.embed(photos, model=str(checkpoint), progress=watcher)
    annotate.embed(photos, model=str(checkpoint), progress=watcher)
    assert watcher.ran == [("embed", "first run")]
    annotate.embed(photos, model=str(checkpoint), batch_size=8, progress=watcher)
    assert watcher.ran[1:] == [("embed", "stale: batch_size changed: auto to 8")]


@pytest.mark.parametrize("change", ["new", "gone", "edited", "renamed", "mended", "touched"])
def test_changed_images_are_noticed_and_touched_ones_are_not(photos: Path, checkpoint: Path, change: str) -> None:
    (photos / "broken.png").touch()
    annotate.embed(photos, model=str(checkpoint))
    target = photos / "red" / "0.png"
    if change == "new":
        Image.new("RGB", (9, 9)).save(photos / "new.png")
    elif change == "gone":
        target.unlink()
    elif change == "edited":
        Image.new("RGB", (48, 40), "white").save(target)
    elif change == "renamed":
        target.rename(photos / "red" / "zero.png")
    elif change == "mended":
        Image.new("RGB", (9, 9)).save(photos / "broken.png")
    else:
        os.utime(target)
    watcher = Watcher()
    annotate.embed(photos, model=str(checkpoint), progress=watcher)
    assert bool(watcher.ran) == (change != "touched")


def test_originals_are_never_modified(photos: Path, checkpoint: Path) -> None:
    def state() -> dict[str, tuple[bytes, int]]:
        return {str(path): (path.read_bytes(), path.stat().st_mtime_ns) for path in photos.rglob("*.png")}

    before = state()
    annotate.run(photos, "dataset", ["red", "green"], model=str(checkpoint))
    assert state() == before


@pytest.mark.parametrize(
    "name", ["with space", "quote'\"s", "new\nline", "ünïcödé 猫", "-dash", "per%cent", "back\\slash"]
)
def test_paths_of_any_kind_work_to_the_end(tmp_path: Path, checkpoint: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for i in range(3):
        Image.new("RGB", (8, 8), (80 * i, 0, 0)).save(folder / f"{name}{i}.png")
    made = annotate.run(folder, tmp_path / "out", ["red", "black"], model=str(checkpoint))
    assert Workspace().read(Embeddings).image_paths == made.embeddings.image_paths
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text("utf-8"))
    for image in metadata["images"]:
        assert (tmp_path / "out" / image["organized_path"]).read_bytes() == Path(image["original_path"]).read_bytes()


def test_file_names_that_are_not_text_work_too(tmp_path: Path, checkpoint: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/photos"
    os.mkdir(folder)
    for i in range(3):
        content = Path(tmp_path / "x.png")
        Image.new("RGB", (8, 8), (80 * i, 0, 0)).save(content)
        os.rename(content, folder + b"/\xff\xfe%d.png" % i)
    made = annotate.run(tmp_path / "photos", tmp_path / "out", ["red", "black"], model=str(checkpoint))
    assert Workspace().read(Embeddings).image_paths == made.embeddings.image_paths
    assert sum(1 for path in (tmp_path / "out" / "splits").rglob("*.png")) == 3


def test_no_images_and_no_readable_images_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in empty"):
        annotate.embed("empty", model="tiny")
    (tmp_path / "empty" / "x.jpg").write_text("text")
    with pytest.raises(InputError, match="none of 1 images can be read"):
        annotate.embed("empty", model="tiny")
    assert not STAGE.exists()


def test_somebodys_own_files_in_the_workspace_are_never_touched(photos: Path, checkpoint: Path) -> None:
    for stage in ("embed", "report"):
        Path("artifacts", stage).mkdir(parents=True)
        Path("artifacts", stage, "thesis.txt").write_text("years of work")
        with pytest.raises(InputError, match="holds what annotate did not write: thesis"):
            annotate.run(photos, "out", ["red", "green"], model=str(checkpoint))
        assert Path("artifacts", stage, "thesis.txt").read_text() == "years of work"
        Path("artifacts", stage, "thesis.txt").unlink()


def test_the_workspace_inside_the_images_is_not_searched(photos: Path, checkpoint: Path) -> None:
    for _ in range(2):
        made = annotate.run(photos, "out", ["red", "green"], model=str(checkpoint), workspace=photos / "artifacts")
        assert len(made.embeddings.image_paths) == 12
    assert annotate.status(workspace=photos / "artifacts")["embed"].name == "fresh"


def test_images_in_formats_that_are_not_read_are_named(photos: Path, checkpoint: Path) -> None:
    (photos / "IMG_1.CR2").write_bytes(b"phone")
    watcher = Watcher()
    for _ in range(2):
        made = annotate.embed(photos, model=str(checkpoint), progress=watcher)
    assert made.skipped == [{"path": str(photos / "IMG_1.CR2"), "reason": ".cr2 is not read: convert it to JPEG"}]
    assert len(watcher.ran) == 1
