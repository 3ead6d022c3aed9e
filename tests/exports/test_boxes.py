"""Boxes in and out: every format comes back to half a pixel, and other programs read the same."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from annotate.errors import InputError
from annotate.exports.boxes import Box, Boxed, Drawings, coco, hf, label_studio, safe_xml
from annotate.exports.boxes.reading import read_boxes
from annotate.exports.boxes.sketch import Sketch
from benchmarks.box_formats import WRITERS

Papers = Iterable[tuple[str, Iterable[bytes]]]
CLASSES = ["zebra", "7", 'a & <b> "c"', "no", "Ü\N{FOX FACE}"]
SMALLEST = 1.5  # pixels of a side: a box of one pixel and less is one pixel in VOC
sides = st.floats(0, 1)


@st.composite
def scenes(draw: st.DrawFn) -> list[Boxed]:
    """A few images with boxes inside them, some of them empty."""
    images = []
    for number in range(draw(st.integers(1, 4))):
        width, height = draw(st.integers(4, 3000)), draw(st.integers(4, 3000))
        boxes = []
        for _ in range(draw(st.integers(0, 4))):
            w, h = SMALLEST + draw(sides) * (width - SMALLEST), SMALLEST + draw(sides) * (height - SMALLEST)
            x, y = draw(sides) * (width - w), draw(sides) * (height - h)
            boxes.append(Box(x, y, w, h, draw(st.integers(0, len(CLASSES) - 1))))
        part = draw(st.sampled_from(["train", "val", "test"]))
        images.append(Boxed(f"é {number}&.jpg", tuple(boxes), width, height, part))
    return images


def written(papers: Papers, folder: Path) -> Path:
    for name, pieces in papers:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"".join(pieces))
    return folder


def source(folder: Path, name: str) -> Path:
    single = {"label-studio": "tasks.json", "csv": "boxes.csv", "cvat": "annotations.xml"}
    return folder / single[name] if name in single else folder


def corners(box: Box) -> tuple[float, float, float, float]:
    return box.x, box.y, box.x + box.width, box.y + box.height


def assert_the_same(found: Drawings, images: Sequence[Boxed], *, within: float) -> None:
    there = {os.path.basename(image.name): image for image in found.images}
    assert there.keys() == {image.name for image in images}
    assert not found.dropped and not found.clipped
    for image in images:
        boxes = there[image.name].boxes
        assert len(boxes) == len(image.boxes)
        for box, original in zip(boxes, image.boxes, strict=True):
            assert found.class_names[box.kind] == CLASSES[original.kind]
            assert max(abs(a - b) for a, b in zip(corners(box), corners(original), strict=True)) <= within


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25, deadline=None)
@given(images=scenes())
def test_boxes_come_back_to_half_a_pixel(name: str, images: list[Boxed]) -> None:
    sizes = {image.name: (image.width or 0, image.height or 0) for image in images}
    with tempfile.TemporaryDirectory() as place:
        folder = written(WRITERS[name](images, CLASSES), Path(place))
        found = read_boxes(source(folder, name), lambda file: sizes.get(os.path.basename(file)))
    assert_the_same(found, images, within=0.5 if name == "voc" else 0.01)


@settings(max_examples=10, deadline=None)
@given(images=scenes())
def test_pycocotools_reads_the_same_boxes(images: list[Boxed]) -> None:
    from pycocotools.coco import COCO

    with tempfile.TemporaryDirectory() as place:
        folder = written(coco.write(images, CLASSES), Path(place))
        for path in sorted((folder / "annotations").iterdir()):
            known = COCO(str(path))
            for image in known.loadImgs(known.getImgIds()):
                (original,) = (one for one in images if one.name == image["file_name"])
                found = known.loadAnns(known.getAnnIds(imgIds=[image["id"]]))
                assert [one["category_id"] - 1 for one in found] == [box.kind for box in original.boxes]
                assert all(one["id"] > 0 for one in found)
                for one, box in zip(found, original.boxes, strict=True):
                    assert one["bbox"] == pytest.approx([box.x, box.y, box.width, box.height], abs=0.001)
                    assert one["area"] == pytest.approx(box.width * box.height, abs=0.01)


SCENE = [
    Boxed("a.jpg", (Box(10.25, 20.5, 30.5, 40.25, 0), Box(0, 0, 120, 90, 1)), 120, 90, "train"),
    Boxed("b.jpg", (Box(5, 6, 7, 8, 2),), 50, 60, "train"),
    Boxed("c.jpg", (), 50, 60, "train"),
]
NAMES = ["cat", "dog", "owl"]
PANLABEL = {"coco": "annotations/instances_train.json", "yolo": "", "voc": "", "cvat": "annotations.xml"}


@pytest.mark.parametrize("name", PANLABEL)
def test_an_independent_converter_reads_the_same_boxes(name: str, tmp_path: Path) -> None:
    folder = written(WRITERS[name](SCENE, NAMES), tmp_path / "out")
    for image in SCENE:
        for place in ("images/train", "JPEGImages"):
            (folder / place).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (image.width or 1, image.height or 1)).save(folder / place / image.name)
    tool = Path(sys.executable).with_name("panlabel")
    there = tmp_path / "there.json"
    kinds = ["--from", name, "--to", "coco", "--allow-lossy"]
    subprocess.run(
        [tool, "convert", *kinds, "--input", folder / PANLABEL[name], "--output", there],
        check=True,
        capture_output=True,
    )
    off = 1.5 if name == "voc" else 0.01  # it takes VOC's pixels as though they counted from 0
    assert as_found(read_boxes(there)) == pytest.approx(as_found(Drawings(NAMES, SCENE)), abs=off)


def as_found(found: Drawings) -> dict[str, float]:
    """Every corner of every box by image, class and place; classes and images may come in another order."""
    return {
        f"{os.path.basename(image.name)} {found.class_names[box.kind]} {side}": value
        for image in found.images
        for box in image.boxes
        for side, value in zip(("left", "top", "right", "bottom"), corners(box), strict=True)
    }


# -- what goes wrong in files of others ----------------------------------------------------------------


def coco_file(tmp_path: Path, **further: Any) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}, {"id": 9, "file_name": "empty.jpg"}],
        "categories": [{"id": 90, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [],
        **further,
    }
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps(content))
    return path


def test_ids_may_have_holes_and_images_without_boxes_are_kept(tmp_path: Path) -> None:
    boxes = [{"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4]}]
    found = read_boxes(coco_file(tmp_path, annotations=boxes))
    assert found.class_names == ["dog", "cat"]
    assert [(image.name, image.boxes) for image in found.images] == [
        ("a.jpg", (Box(1.0, 2.0, 3.0, 4.0, 1),)),
        ("empty.jpg", ()),
    ]


def test_what_is_not_used_is_named_by_its_row(tmp_path: Path) -> None:
    rows: list[Any] = [
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, 0, 4]},
        {"image_id": 8, "category_id": 3, "bbox": [1, 2, 3, 4]},
        {"image_id": 7, "category_id": 4, "bbox": [1, 2, 3, 4]},
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, "x", 4]},
        {"image_id": 7, "category_id": 3, "bbox": [math.nan, 2, 3, 4]},
        {"image_id": 7, "category_id": 3, "bbox": [200, 2, 3, 4]},
        {"image_id": 7, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 1},
        {"image_id": 7, "category_id": 3},
        "nonsense",
    ]
    found = read_boxes(coco_file(tmp_path, annotations=rows))
    assert not any(image.boxes for image in found.images)
    reasons = {line.split(": ")[1]: line.split(": ")[2] for line in found.dropped}
    assert reasons == {
        "annotation 1": "the box has no area",
        "annotation 2": "it names no image",
        "annotation 3": "it names no category",
        "annotation 4": "it has no box of four numbers",
        "annotation 5": "a coordinate is not a number",
        "annotation 6": "the box lies outside the image",
        "annotation 7": "a crowd, not one thing",
        "annotation 8": "it has no box of four numbers",
        "annotation 9": "it has no box of four numbers",
    }


def test_boxes_that_reach_over_the_edge_are_cut_there_and_counted(tmp_path: Path) -> None:
    boxes = [{"image_id": 7, "category_id": 3, "bbox": [-5, 10, 20, 100]}]
    found = read_boxes(coco_file(tmp_path, annotations=boxes))
    assert found.images[0].boxes == (Box(0, 10, 15, 40, 1),)
    assert found.clipped == 1


def test_a_file_that_knows_the_picture_on_its_side_is_told(tmp_path: Path) -> None:
    found = read_boxes(coco_file(tmp_path), {"a.jpg": (50, 100), "empty.jpg": (8, 8)}.get)
    assert found.disagreeing == [
        "a.jpg: the file says 100x50, which is the picture before it is turned upright; the image has 50x100"
    ]
    assert (found.images[0].width, found.images[0].height) == (50, 100)


VOC = """<annotation><filename>a.jpg</filename><size><width>100</width><height>50</height></size>
<object><name>cat</name><bndbox><xmin>{low}</xmin><ymin>11</ymin><xmax>100</xmax><ymax>50</ymax></bndbox></object>
</annotation>"""


def test_voc_counts_pixels_from_one_or_from_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(VOC.format(low=1))
    assert corners(read_boxes(path).images[0].boxes[0]) == (0, 10, 100, 50)
    assert corners(read_boxes(path, voc_base=0).images[0].boxes[0]) == (1, 11, 100, 50)
    path.write_text(VOC.format(low=0))  # no file that counts from one has that
    assert corners(read_boxes(path).images[0].boxes[0]) == (0, 11, 100, 50)


def test_xml_with_entities_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotations><image name="&b;"/></annotations>'
    )
    with pytest.raises(InputError, match="document type"):
        read_boxes(path)
    with pytest.raises(ValueError, match="deep"):
        safe_xml.parse(b"<a>" * 100_000)
    path.write_text("<annotation><open>")
    with pytest.raises(InputError, match="line 1 is not XML"):
        read_boxes(path)


def test_json_nested_too_deep_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("[" * 100_000)
    with pytest.raises(InputError):
        read_boxes(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("path,label,x1,y1,x2,y2\na.jpg,cat,10,20,30,40\nb.jpg,,,,,\n", (10, 20, 30, 40)),
        (
            "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,100,50,cat,10,20,30,40\nb.jpg,9,9,,,,,\n",
            (10, 20, 30, 40),
        ),
        ("image;name;x;y;w;h\na.jpg;cat;10;20;20;20\nb.jpg;;;;;\n", (10, 20, 30, 40)),
        ("image,label,x,y,width,height\na.jpg,cat,10,20,20,20\nb.jpg,,,,,\n", (10, 20, 30, 40)),
        ("path,label,x1,y1,x2,y2\na.jpg,cat,0.1,0.4,0.3,0.8\nb.jpg,,,,,\n", (10, 20, 30, 40)),
    ],
)
def test_tables_of_several_kinds_are_read(text: str, expected: tuple[float, ...], tmp_path: Path) -> None:
    path = tmp_path / "boxes.csv"
    path.write_text(text)
    found = read_boxes(path, lambda name: (100, 50))
    assert [image.name for image in found.images] == ["a.jpg", "b.jpg"]
    assert corners(found.images[0].boxes[0]) == pytest.approx(expected)
    assert found.images[1].boxes == ()
    assert found.class_names == ["cat"]


def test_a_yolo_folder_is_read_with_the_images_beside_it(tmp_path: Path) -> None:
    (tmp_path / "images/train").mkdir(parents=True)
    (tmp_path / "labels/train").mkdir(parents=True)
    Image.new("RGB", (100, 50)).save(tmp_path / "images/train/a.png")
    (tmp_path / "labels/train/a.txt").write_text("1 0.5 0.5 0.2 0.4\n0 0.1 0.1\n5 0.5 0.5 0.1 0.1\n\n")
    (tmp_path / "labels/train/empty.txt").write_text("")
    (tmp_path / "classes.txt").write_text("no\n1\n")
    found = read_boxes(tmp_path, lambda name: (100, 50))
    assert {image.name: len(image.boxes) for image in found.images} == {
        "images/train/a.png": 1,
        "images/train/empty.jpg": 0,
    }
    assert corners(found.images[0].boxes[0]) == pytest.approx((40, 15, 60, 35))
    assert found.class_names == ["no", "1"]
    assert [line.rpartition(": ")[2] for line in found.dropped] == [
        "3 numbers where a box has five; outlines are not read",
        "no class has the number 5",
    ]
    (tmp_path / "data.yaml").write_text("names:\n  0: no\n  1: yes\n  2: 012\n")
    assert read_boxes(tmp_path, lambda name: (100, 50)).class_names == ["no", "yes", "012"]


def test_proposals_of_label_studio_are_no_answers(tmp_path: Path) -> None:
    proposed = [Boxed("a.jpg", (Box(1, 2, 3, 4, 0, score=0.5),), 10, 10)]
    folder = written(label_studio.write(proposed, ["cat"]), tmp_path)
    (task,) = json.loads((folder / "tasks.json").read_text())
    assert "annotations" not in task and task["predictions"][0]["score"] == 0.5
    with pytest.raises(InputError, match="no boxes in it"):
        read_boxes(folder / "tasks.json")


@pytest.mark.parametrize("text", ["", "{}", "[1]", "[]", '{"images": 3}', "null", '{"images": [], "categories": [{}]}'])
def test_files_of_other_things_are_one_line_with_a_hint(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(InputError) as refused:
        read_boxes(path)
    assert refused.value.hint


KEYS = [*"images annotations categories id file_name name bbox image_id category_id".split()]  # noqa: SIM905
KEYS += ["data", "image", "result", "value", "type"]
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(content=JSON)
def test_no_json_ends_in_a_traceback(content: Any) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "a.json")
        path.write_text(json.dumps(content))
        with contextlib.suppress(InputError):
            read_boxes(path)


def test_hugging_face_rows_come_back(tmp_path: Path) -> None:
    folder = written(hf.write(SCENE, NAMES), tmp_path)
    sketch = Sketch()
    hf.read(sketch, folder / "data/train/metadata.jsonl", "train", NAMES)
    found = sketch.settled({image.name: (image.width or 0, image.height or 0) for image in SCENE}.get)
    assert list(found.images) == SCENE
