"""Questions to people: what is written, and how right labels are by those that were drawn at random."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate.errors import DamagedArtifact, InputError, MissingArtifact
from annotate.workspace import Workspace


@pytest.fixture
def labelled(photos: Path, checkpoint: Path) -> Path:
    annotate.embed(photos, model=str(checkpoint))
    annotate.refine(["red", "<b>&green"], method="direct")
    return photos


def rows_of(folder: Path) -> list[dict[str, str]]:
    with open(folder / "queries.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def content_of(page: str) -> dict[str, object]:
    found = re.search(r'id="content">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, object] = json.loads(found.group(1))
    return content


def test_a_table_a_sheet_and_a_page_are_written(labelled: Path) -> None:
    made = annotate.query(5)
    rows = rows_of(made.folder)
    assert [row["path"] for row in rows] == [question.path for question in made.questions]
    assert all(Path(row["path"]).exists() and row["answer"] == "" for row in rows)
    assert [row["number"] for row in rows] == list("12345")
    page = (made.folder / "ask.html").read_text("utf-8")
    content = content_of(page)
    assert content["classes"] == ["red", "<b>&green"]
    assert [image["path"] for image in content["images"]] == [row["path"] for row in rows]  # type: ignore[attr-defined]
    assert all(image["picture"].startswith("data:image/") for image in content["images"])  # type: ignore[attr-defined]
    for text in (page, (made.folder / "sheet.html").read_text("utf-8")):
        assert "<b>&green" not in text
        assert not re.search(r'(src|href)="(?!data:)', text)  # nothing is fetched
    with Image.open(io.BytesIO((made.folder / "sheet.png").read_bytes())) as sheet:
        assert sheet.width > 5 * 150


def test_a_page_cannot_be_ended_by_a_name(labelled: Path) -> None:
    annotate.refine(["red", "</script><script>alert(1)"], method="direct")
    page = (annotate.query(5).folder / "ask.html").read_text("utf-8")
    assert page.count("</script>") == 2
    assert content_of(page)["classes"] == ["red", "</script><script>alert(1)"]


def test_how_right_labels_are_is_told_by_those_drawn_at_random(labelled: Path, tmp_path: Path) -> None:
    first = annotate.query(12, strategy="random")
    assert all(question.random for question in first.questions)
    assert first.known == (0, 0)
    right = {question.path: question.label for question in first.questions[:6]}
    other = {"red": "<b>&green", "<b>&green": "red"}
    wrong = {question.path: other[question.label] for question in first.questions[6:8]}
    given = [f'{path},"{name}"' for path, name in (right | wrong).items()]
    (tmp_path / "known.csv").write_text("\n".join(["path,class", *given]) + "\n")
    annotate.refine(given=tmp_path / "known.csv", method="direct")
    second = annotate.query(4)
    assert second.known == (8, 6)
    share, low, high = second.share
    assert share == 0.75
    assert 0.3 < low < 0.75 < high < 1
    assert not {question.path for question in second.questions} & (right | wrong).keys()


def test_images_without_a_file_are_asked_about_by_name(
    plant: Callable[..., Workspace], blobs: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> None:
    images, texts, _ = blobs(n=40)
    plant(images, texts)
    annotate.refine()
    made = annotate.query(6)
    assert "00" in (made.folder / "sheet.html").read_text("utf-8")
    assert all(image["picture"] is None for image in content_of((made.folder / "ask.html").read_text())["images"])  # type: ignore[attr-defined]


def test_what_makes_no_sense_is_refused(labelled: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no strategy 'magic'"):
        annotate.query(5, strategy="magic")
    with pytest.raises(InputError, match="--budget 0"):
        annotate.query(0)
    with pytest.raises(MissingArtifact):
        annotate.query(5, workspace=tmp_path / "nothing")
    assert not (tmp_path / "questions").exists()


def test_remembered_questions_that_are_damaged_are_told(labelled: Path, tmp_path: Path) -> None:
    annotate.query(5)
    (tmp_path / "artifacts" / "questions.json").write_text("{}")
    with pytest.raises(DamagedArtifact, match=r"questions\.json"):
        annotate.query(5)
