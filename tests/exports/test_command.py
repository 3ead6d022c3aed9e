"""annotate export: what it refuses, what it replaces, and what it says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate.errors import InputError
from annotate.exports.formats import formats
from annotate.exports.replacing import check_packed
from annotate.settings.declared import sections
from annotate.sources import listing
from annotate.sources.own import DATASET
from tests.exports.conftest import Plant, Scene


def test_the_setting_names_every_format() -> None:
    assert {*sections()["export"]["format"].choices} == formats().keys()


def test_what_is_fresh_is_not_written_again(plain: Scene) -> None:
    annotate.export("out", format="csv")
    before = os.stat("out/images.csv").st_ino
    annotate.export("out", format="csv")
    assert os.stat("out/images.csv").st_ino == before
    annotate.export("out", format="csv", min_confidence=0.5)
    assert os.stat("out/images.csv").st_ino != before


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_folder_that_somebody_worked_in_stays(plain: Scene, change: str) -> None:
    annotate.export("out", format="csv")
    table = Path("out/images.csv")
    if change == "edited":
        table.write_text("mine")
    elif change == "added":
        Path("out/mine.txt").write_text("mine")
    else:
        table.unlink()
    with pytest.raises(InputError, match=f"somebody {change}|somebody changed"):
        annotate.export("out", format="csv", min_confidence=0.5)
    assert len(list(Path("out/images").iterdir())) == 60


def test_a_dataset_and_an_export_do_not_replace_each_other(plain: Scene) -> None:
    annotate.organize("dataset")
    annotate.export("out")
    with pytest.raises(InputError, match="was made by `annotate organize`"):
        annotate.export("dataset")
    with pytest.raises(InputError, match="was made by `annotate export`"):
        annotate.organize("out")


def test_an_export_stops_where_an_image_was_edited(plain: Scene) -> None:
    Path("photos/red/7.png").write_bytes(Path("photos/red/8.png").read_bytes())
    with pytest.raises(annotate.StaleArtifact, match=r"7\.png was edited"):
        annotate.export("out")
    assert not Path("out").exists()


def test_an_export_below_the_photos_is_passed_over(plain: Scene) -> None:
    annotate.export("out", format="coco")
    Path("out").rename("photos/out")
    found = listing("photos")
    assert len(found.locations) == 60
    assert [row["reason"] for row in found.passed_over] == [DATASET]


def test_nothing_to_export_is_one_line_with_a_hint(scene: Plant) -> None:
    scene({"a.png": 0, "b.png": 1})
    with pytest.raises(InputError, match="no image has a class") as refused:
        annotate.export("out", what="answers")
    assert "annotate label" in refused.value.hint
    assert not Path("out").exists()


@pytest.mark.parametrize("link", ["hardlink", "symlink", "auto"])
def test_images_can_be_linked_and_stay_what_they_are(plain: Scene, link: str) -> None:
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in Path("photos").rglob("*.png")}
    annotate.export("out", format="csv", link=link)
    assert os.path.samefile("out/images/red__7.png", "photos/red/7.png")
    assert not os.path.samefile("out/images/red__2.jpg", "photos/red/2.png")  # which lies on its side
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    annotate.export("out", format="csv", link=link, min_confidence=0.5)  # nobody changed it


@pytest.mark.parametrize("name", sorted(name for name, form in formats().items() if not form.boxes_only))
def test_the_readme_says_how_to_load_it_in_three_lines(name: str, plain: Scene) -> None:
    annotate.export("out", format=name)
    text = Path("out/README.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert 1 <= len(code.splitlines()) <= 3
    compile(code, name, "exec")
    classes = json.loads(Path("out/classes.json").read_text("utf-8"))
    assert [(row["id"], row["name"], row["images"]) for row in classes] == [
        (0, "red", 19),
        (1, "green", 21),
        (2, "blue", 20),
    ]
    assert all(f"{row['id']}  {row['name']}" in text for row in classes)


RUNNABLE = {
    "csv": "print(len(train))",
    "parquet": "print(len(train))",
    "coco": "print(len(classes))",
    "webdataset": "print(sum(picture.size in ((12, 8), (8, 12)) and label in (0, 1, 2) for picture, label in pairs))",
    "label-studio": "print(sum(task['data']['split'] == 'train' for task in tasks))",
    "cvat": "print(sum(image.get('subset') == 'train' for image in ET.parse('annotations.xml').iter('image')))",
}


@pytest.mark.parametrize("name", RUNNABLE)
def test_the_three_lines_load_it(name: str, plain: Scene) -> None:
    made = annotate.export("out", format=name)
    code = Path("out/README.md").read_text("utf-8").split("```python\n")[1].split("```")[0]
    ended = subprocess.run(
        [sys.executable, "-c", code + RUNNABLE[name]], cwd="out", capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    assert int(ended.stdout.split()[-1]) == made.splits["train"]


def test_cleanlab_finds_the_answers_that_annotate_contradicts(scene: Plant) -> None:
    from cleanlab.filter import find_label_issues

    labels = {f"{i:02}.png": i % 3 for i in range(60)}
    wrong = {"07.png": 0, "20.png": 1}  # 1 and 2
    scene(labels, answers={**labels, **wrong})
    annotate.export("out", format="cleanlab", what="both")
    found = find_label_issues(np.load("out/labels.npy"), np.load("out/pred_probs.npy"), n_jobs=1)
    files = [row.split(",")[1] for row in Path("out/images.csv").read_text().splitlines()[1:]]
    assert [file for file, doubtful in zip(files, found, strict=True) if doubtful] == [*wrong]


def test_an_archive_with_the_only_copy_of_an_image_stays(plain: Scene) -> None:
    annotate.export("out", format="webdataset")
    Path("photos/red/7.png").rename("elsewhere.png")
    with pytest.raises(InputError, match="only copy"):
        check_packed(Path("out"))
    Path("elsewhere.png").rename("photos/red/7.png")
    check_packed(Path("out"))


def test_sizes_are_read_where_nobody_knows_them(plain: Scene) -> None:
    """Of embeddings made elsewhere nothing is known but the paths."""
    paths = sorted(str(path) for path in Path("photos").rglob("*.png"))
    Path("paths.txt").write_text("\n".join(os.path.abspath(path) for path in paths))
    rng = np.random.default_rng(0)
    np.save("e.npy", rng.normal(size=(60, 8)))
    np.save("t.npy", rng.normal(size=(2, 8)))
    where = {"workspace": "imported"}
    annotate.import_embeddings("e.npy", "paths.txt", text_embeddings="t.npy", classes=["x", "y"], **where)
    annotate.refine(method="direct", **where)
    annotate.export("out", format="coco", **where)
    for part in ("train", "val", "test"):
        for row in json.loads(Path(f"out/annotations/labels_{part}.json").read_text())["images"]:
            with Image.open(Path("out", part, row["file_name"])) as image:
                assert image.size == (row["width"], row["height"])
                assert image.getexif().get(0x0112, 1) == 1
