"""Boxes of a project: taken in from the files of other programs, kept as answers, and exported again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import annotate
from annotate.errors import InputError
from annotate.exports.boxes.reading import read_boxes
from annotate.exports.formats import formats
from annotate.stages.boxes import Drawn
from annotate.stages.labelling import Decision
from tests.exports.conftest import Plant, Scene
from tests.exports.readers import environment_without_network, run_python

BOXES: dict[str, list[Any]] = {
    "red/0.png": [("dog", 1.5, 2.25, 4, 5)],
    "red/2.png": [("cat", 0, 0, 8, 12), ("dog", 2, 3, 3, 3)],  # which lies on its side: 8 wide and 12 high
    "green/1.png": [],
    "blue/7.png": [("cat", 3, 1, 6, 6)],
    **{f"green/{i}.png": [("cat", 1, 1, 5, 5)] for i in range(5, 20)},
}
FILES = {
    "coco": "annotations",
    "yolo": "",
    "voc": "",
    "cvat": "annotations.xml",
    "label-studio": "tasks.json",
    "csv": "boxes.csv",
}


def coco_of(boxes: dict[str, list[Any]], file: str = "boxes.json") -> str:
    """A COCO file in which ids have holes and classes come in the order dog, cat, owl; nobody drew an owl."""
    ids = {"dog": 18, "cat": 5, "owl": 40}
    images = [{"id": 3 * n, "file_name": path} for n, path in enumerate(boxes)]
    annotations = [
        {"image_id": 3 * n, "category_id": ids[name], "bbox": sides}
        for n, drawn in enumerate(boxes.values())
        for name, *sides in drawn
    ]
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    Path(file).write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


@pytest.fixture
def drawn(plain: Scene) -> Scene:
    annotate.label(coco_of(BOXES))
    return plain


def by_original(output: str, source: str) -> dict[str, list[tuple[str, float, float, float, float]]]:
    """What a format's reader finds in an export, by the paths of the originals."""
    with open(Path(output, "images.csv"), encoding="utf-8", newline="") as file:
        originals = {Path(row["file"]).name: row["original"] for row in csv.DictReader(file)}
    sizes = {"red__2.jpg": (8, 12)}
    found = read_boxes(Path(output, source), lambda name: sizes.get(Path(name).name, (12, 8)))
    return {
        originals[Path(image.name).name]: [
            (found.class_names[box.kind], box.x, box.y, box.width, box.height) for box in image.boxes
        ]
        for image in found.images
    }


@pytest.mark.parametrize("name", FILES)
def test_boxes_are_exported_as_they_were_drawn(name: str, drawn: Scene) -> None:
    made = annotate.export("out", format=name, boxes=True)
    found = by_original("out", FILES[name])
    assert found.keys() == BOXES.keys()
    for path, boxes in BOXES.items():
        assert [one[0] for one in found[path]] == [one[0] for one in boxes]
        for one, box in zip(found[path], boxes, strict=True):
            assert one[1:] == pytest.approx(box[1:], abs=0.75 if name == "voc" else 0.01)
    assert (made.images, made.left_out) == (len(BOXES), 60 - len(BOXES))
    assert list(made.classes) == ["dog", "cat", "owl"]


def test_pixels_under_boxes_are_upright(drawn: Scene) -> None:
    annotate.export("out", format="yolo")
    (path,) = Path("out/images").rglob("red__2.jpg")
    with Image.open(path) as image:
        assert image.size == (8, 12)
    (label,) = Path("out/labels").rglob("red__2.txt")
    assert label.read_text().splitlines()[0] == "1 0.50000000 0.50000000 1.00000000 1.00000000"


def test_yolo_has_an_empty_file_where_somebody_saw_nothing_and_none_where_nobody_looked(drawn: Scene) -> None:
    annotate.export("out", format="yolo", include_unlabelled=True)
    labels = {path.stem: path.read_text() for path in Path("out/labels").rglob("*.txt")}
    assert len(labels) == len(BOXES)
    assert labels["green__1"] == ""
    unseen = {path.stem for path in Path("out/images/unlabelled").iterdir()}
    assert len(unseen) == 60 - len(BOXES) and not unseen & labels.keys()


def test_hugging_face_reads_the_boxes(drawn: Scene) -> None:
    annotate.export("out", format="hf", boxes=True)
    code = """if True:
        import json, os, sys
        from datasets import Image, load_dataset
        names_of = lambda rows: rows.features["objects"]["categories"].feature.names
        print(json.dumps([
            [row["image"]["path"].rsplit("/", 1)[1], row["objects"], names_of(rows)]
            for rows in load_dataset(os.getcwd(), cache_dir=sys.argv[1]).values()
            for row in rows.cast_column("image", Image(decode=False))
        ]))
    """
    rows = json.loads(run_python(code, Path("out"), environment_without_network(Path("cache").resolve())))
    assert len(rows) == len(BOXES)
    found = {name: objects for name, objects, _ in rows}
    assert found["red__2.jpg"] == {"bbox": [[0, 0, 8, 12], [2, 3, 3, 3]], "categories": [1, 0]}
    assert rows[0][2] == ["dog", "cat", "owl"]


def test_an_export_that_comes_back_from_another_program_finds_its_images(drawn: Scene) -> None:
    annotate.export("out", format="cvat", boxes=True)
    text = Path("out/annotations.xml").read_text().replace('label="dog"', 'label="wolf"')
    Path("elsewhere").mkdir()
    Path("elsewhere/annotations.xml").write_text(text.replace("<name>dog<", "<name>wolf<"))
    made = annotate.label("elsewhere/annotations.xml")
    assert made.in_words[:1] == ["3 boxes on 2 images, 2 classes (1 new)"]
    assert made.unchanged == len(BOXES) - 2
    assert not made.strangers


@pytest.mark.parametrize(
    ("name", "file"),
    [("coco", "annotations/labels_train.json"), ("label-studio", "tasks.json"), ("cvat", "annotations.xml")],
)
def test_exported_classes_come_back_as_answers(name: str, file: str, scene: Plant) -> None:
    paths = {f"{folder}/{i}.png": i % 3 for folder in "ab" for i in range(20)}
    answers = {"a/0.png": 2, "a/1.png": 0, "b/3.png": 1}
    made = scene(paths, answers=answers)
    annotate.export("out", format=name, what="answers", splits=(100, 0, 0))
    found = annotate.label(Path("out", file))
    assert (found.kept, found.strangers) == (3, [])
    store = annotate.Project().answers()
    assert store is not None
    wanted = [made.class_names[k] for k in answers.values()]
    assert store["classes"] == {name: wanted.count(name) for name in wanted}


def test_the_same_file_twice_adds_nothing(drawn: Scene) -> None:
    made = annotate.label(coco_of(BOXES))
    assert (made.kept, made.unchanged) == (0, len(BOXES))


def test_a_summary_comes_before_anything_is_kept(plain: Scene) -> None:
    said: list[list[str]] = []

    def no(made: Any) -> Decision:
        said.append(made.in_words)
        return Decision(False, False)

    boxes = {"red/0.png": [("dog", 1, 1, 3, 3), ("cat", 2, 2, 0, 4), ("cat", -3, 2, 6, 4)], "lost.png": []}
    made = annotate.label(coco_of(boxes), confirm=no)
    assert said == [
        [
            "2 boxes on 1 image, 2 classes (2 new)",
            "1 row of the file name no image that is here: lost.png",
            "1 box not used: boxes.json: annotation 2: the box has no area",
            "1 box reached over the edge and were cut there",
        ]
    ]
    assert made.kept == 0
    with pytest.raises(InputError, match="no image has boxes yet"):
        annotate.export("out", format="yolo")


def test_taken_back_boxes_are_gone(drawn: Scene) -> None:
    annotate.label(coco_of({"red/0.png": []}))
    annotate.export("out", format="csv", boxes=True)
    assert by_original("out", "boxes.csv")["red/0.png"] == []
    annotate.undo_label()
    annotate.export("out", format="csv", boxes=True)  # the answers changed, so it is written again
    assert by_original("out", "boxes.csv")["red/0.png"] == [pytest.approx(BOXES["red/0.png"][0])]


def test_boxes_need_no_labels_of_classes(scene: Plant) -> None:
    """Somebody who only draws never runs `refine`."""
    made = scene({f"{i}.png": 0 for i in range(6)})
    for stage in ("text", "refine"):
        for path in sorted(Path("artifacts", stage).iterdir()):
            path.unlink()
        Path("artifacts", stage).rmdir()
    annotate.label(coco_of({f"{i}.png": [("dog", 1, 1, 3, 3)] for i in range(6)}))
    assert annotate.export("out", format="voc").images == len(made.labels)


def test_a_format_without_boxes_says_which_have_them(drawn: Scene) -> None:
    with pytest.raises(InputError, match="has no boxes") as refused:
        annotate.export("out", format="cleanlab", boxes=True)
    assert all(name in refused.value.hint for name in FILES)
    with pytest.raises(InputError, match="no boxes yet"):
        annotate.export("out", format="yolo", what="labels")


@pytest.mark.parametrize("name", sorted(name for name, one in formats().items() if one.boxes or one.boxes_only))
def test_the_same_boxes_make_the_same_bytes_and_a_readme(name: str, drawn: Scene) -> None:
    annotate.export("out", format=name, boxes=True)
    annotate.export("again", format=name, boxes=True)
    assert files("out") == files("again")
    text = Path("out/README.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    assert 1 <= len(code.splitlines()) <= 3
    compile(code, name, "exec")
    assert "There is nothing on 1 image: somebody looked." in text


def files(folder: str) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


def test_splits_of_boxes_are_those_of_classes(drawn: Scene) -> None:
    annotate.export("classes", format="csv")
    annotate.export("boxes", format="csv", boxes=True)
    splits = {}
    for output in ("classes", "boxes"):
        with open(Path(output, "images.csv"), encoding="utf-8", newline="") as file:
            splits[output] = {row["original"]: row["split"] for row in csv.DictReader(file)}
    assert splits["boxes"].items() <= splits["classes"].items()


def test_coordinates_are_of_the_upright_picture(plain: Scene) -> None:
    """A file that says the size of the picture before it is turned is told."""
    content = json.loads(Path(coco_of({"red/2.png": [("dog", 1, 1, 3, 3)]})).read_text())
    content["images"][0] |= {"width": 12, "height": 8}
    Path("boxes.json").write_text(json.dumps(content))
    made = annotate.label("boxes.json")
    assert "before it is turned upright" in made.in_words[-1]
    assert isinstance(made, Drawn) and made.boxes == 1
