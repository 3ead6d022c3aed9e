"""The benchmark's JSON is read and written exactly, and what is not it is refused in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annotate.errors import InputError
from annotate.votes import files


def written(path: Path, **changed: Any) -> Path:
    """A file of two images, one with a label and one without; `images` and the like replace a field."""
    known = {"path": "D/fold1/a.png", "split": "train", "gt_verbose": "cat", "gt": 0, "soft_gt": [0.5, 0.5], "info": {}}
    unknown = {"path": "D/fold3/b.png", "split": "test", "gt_verbose": "unknown", "gt": -1, "soft_gt": [], "info": {}}
    content = {"name": "D", "v_fold": 1, "classes": ["cat", "dog"], "budget": 0.0, "weighted_budget": 0.0}
    path.write_text(json.dumps({**content, "images": [known, unknown], **changed}))
    return path


def test_a_file_that_is_read_and_written_is_the_same(tmp_path: Path) -> None:
    first = written(tmp_path / "D.json")
    cut = files.read(first)
    files.write(tmp_path / "again.json", cut.content)
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(first.read_text())
    assert cut.shares.tolist() == [[0.5, 0.5], [0, 0]]


def test_labels_go_in_and_what_has_none_becomes_unlabeled_and_comes_back(tmp_path: Path) -> None:
    cut = files.read(written(tmp_path / "D.json"))
    shares = np.array([[0.2, 0.8], [0.6, 0.4]])
    content = files.labelled(cut, shares, [True, False], budget=0.5, weighted_budget=0.5)
    one, other = content.images
    assert (one.gt, one.gt_verbose, one.soft_gt, one.split) == (1, "dog", [0.2, 0.8], "train")
    assert (other.gt, other.gt_verbose, other.soft_gt, other.split) == (-1, "unknown", [], "unlabeled")
    assert other.info == {"original_split": "test"}
    files.write(tmp_path / "out.json", content)
    back = files.labelled(files.read(tmp_path / "out.json"), shares)
    assert [image.split for image in back.images] == ["train", "test"]


def test_of_equal_shares_the_first_is_the_label(tmp_path: Path) -> None:
    cut = files.read(written(tmp_path / "D.json"))
    assert files.labelled(cut, np.full((2, 2), 0.5)).images[0].gt == 0


@pytest.mark.parametrize(
    ("path", "name"), [("D/fold1/a.png", "a"), ("fold2/a-[3].png", "a"), ("x\\y\\a.b.png", "a.b"), ("a.jpg", "a.jpg")]
)
def test_the_name_of_an_image_is_the_end_of_its_path(path: str, name: str) -> None:
    assert files.name_of(path) == name


def test_slice_one_validates_on_fold_two_and_tests_on_fold_three() -> None:
    """As the benchmark's code cuts; its description says otherwise."""
    assert [files.split_of_fold(fold, 1) for fold in range(1, 6)] == ["train", "val", "test", "train", "train"]
    assert [files.split_of_fold(fold, 4) for fold in range(1, 6)] == ["test", "train", "train", "train", "val"]
    for v_fold in range(1, 6):
        cut = [files.split_of_fold(fold, v_fold) for fold in range(1, 6)]
        assert sorted(cut) == ["test", "train", "train", "train", "val"]


def test_shares_that_do_not_sum_to_one_are_scaled(tmp_path: Path) -> None:
    image = {"path": "a.png", "split": "train", "gt_verbose": "cat", "gt": 0, "soft_gt": [3, 1], "info": {}}
    assert files.read(written(tmp_path / "D.json", images=[image])).shares.tolist() == [[0.75, 0.25]]


IMAGE = {"path": "a.png", "split": "train", "gt_verbose": "cat", "gt": 0, "soft_gt": [1, 0], "info": {}}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"v_fold": 6}, "v_fold is 6"),
    ({"v_fold": "one"}, "Expected `int`"),
    ({"classes": ["cat", "cat"]}, "the class 'cat' twice"),
    ({"images": []}, "no images"),
    ({"images": [IMAGE, {**IMAGE, "path": "other/a.png"}]}, "there twice: a"),
    ({"images": [{**IMAGE, "split": "dev"}]}, "no split 'dev'"),
    ({"images": [{**IMAGE, "soft_gt": [1, 0, 0]}]}, "3 shares for 2 classes"),
    ({"images": [{**IMAGE, "soft_gt": [2, -1]}]}, "negative"),
    ({"images": [{**IMAGE, "soft_gt": [0, 0]}]}, "negative or no number"),
    ({"images": [{"split": "train"}]}, "missing required field `path`"),
]


@pytest.mark.parametrize(("changed", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_not_the_benchmarks_is_refused(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        files.read(written(tmp_path / "D.json", **changed))
    assert said in str(refused.value)
    assert refused.value.hint


@pytest.mark.parametrize("content", ["", "[", "[1]", "{}", "nan", "\udcff"])
def test_other_text_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "D.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError):
        files.read(tmp_path / "D.json")


def test_a_slice_is_found_by_name_and_what_there_is_is_said(tmp_path: Path) -> None:
    (tmp_path / "D").mkdir()
    written(tmp_path / "D" / "D-slice2.json")
    assert files.find("D", 2, tmp_path).name == "D-slice2.json"
    with pytest.raises(InputError) as refused:
        files.find("D", 3, tmp_path)
    assert "slices 2" in refused.value.hint


@pytest.mark.parametrize(
    ("votes", "name"), [(0.1, "D-m-01-0.10"), (1, "D-m-01-1.00"), (3, "D-m-03-1.00"), (1.5, "D-m-02-0.75")]
)
def test_an_output_is_named_as_the_benchmark_does(votes: float, name: str, tmp_path: Path) -> None:
    content = files.read(written(tmp_path / "D.json")).content
    assert files.output_path(tmp_path, content, "m", votes) == tmp_path / name / f"{name}-1.json"


def test_another_slice_is_cut_by_folds(tmp_path: Path) -> None:
    cut: Callable[..., files.FileContent] = files.of_fold
    content = cut(files.read(written(tmp_path / "D.json")).content, [1, 3], 2)
    assert [(image.split, image.soft_gt) for image in content.images] == [("train", []), ("val", [])]
