"""Answers: classes that people gave, kept for every later run, and never counted as accuracy."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate.errors import AnnotateError, DamagedArtifact, InputError
from annotate.exports.dataset import seal
from annotate.progress import Silent
from annotate.records import IMPORTED, Embeddings, ImageFacts, Note, Refinement
from annotate.store.connecting import FILE
from annotate.store.older import FILE as OLDER
from annotate.workspace import Workspace
from annotate.workspace.artifacts import as_json
from annotate.workspace.digests import content_digest
from annotate.workspace.plan import Plan

Plant = Callable[..., Workspace]
Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
METHODS = ["direct", "dynamic", "soft", "transductive"]


class Told(Silent):
    """What a run says to whoever watches."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, note: Note) -> None:
        self.notes.append(note["message"])

    def said(self, words: str) -> bool:
        return any(words in note for note in self.notes)


@pytest.fixture
def scene(plant: Plant, blobs: Blobs) -> tuple[Workspace, np.ndarray]:
    """120 images of four classes whose words are so poor that many labels are wrong; each has bytes of its own."""
    x, t, truth = blobs(n=120, k=4, d=24, spread=0.35, blur=0.35, seed=3)
    place = plant(x, t, None, 16.0)
    with_digests(place, [f"{i:064}" for i in range(120)])
    return place, truth


def with_digests(place: Workspace, digests: Sequence[str]) -> None:
    """The same images, with these bytes."""
    images = place.read(Embeddings)
    facts: list[ImageFacts | None] = [{"size": 1, "modified_ns": 0, "digest": digest} for digest in digests]
    place.publish(Plan("embed", 1, {"source": IMPORTED}), replace(images, images=facts), ran_on={})


def write_classes(rows: Iterable[int], classes: Iterable[int], file: str = "known.csv") -> str:
    paths = Workspace().read(Embeddings).image_paths
    lines = [f"{paths[row]},class {k}\n" for row, k in zip(rows, classes, strict=True)]
    Path(file).write_text("path,class\n" + "".join(lines))
    return file


# -- what is measured ----------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["dynamic", "transductive"])
def test_an_image_whose_class_was_given_takes_no_part_in_accuracy(
    scene: tuple[Workspace, np.ndarray], method: str
) -> None:
    _, truth = scene
    made = annotate.refine(method=method, given=write_classes(range(60), truth[:60]))
    summary = annotate.report(truth=write_classes(range(120), truth, "truth.csv")).summary
    scores, others = summary["truth"], slice(60, 120)
    assert (scores["images"], scores["left_out"]["given"]) == (60, 60)
    assert scores["accuracy"] == pytest.approx((made.labels == truth)[others].mean())
    assert scores["accuracy"] < 1
    assert scores["mean_confidence"] == pytest.approx(made.confidences[others].mean(), rel=1e-6)
    assert sum(row["images"] for row in scores["per_class"].values()) == 60
    assert summary["confidence"]["mean"] == pytest.approx(made.confidences[others].mean(), rel=1e-6)
    assert sum(summary["confidence"]["histogram"]) == summary["counted"] == 60
    assert max(row["images"] for row in summary["coverage"]) == 60
    assert summary["coverage"][0]["accuracy"] == scores["accuracy"]
    given = {row["path"] for row in summary["given"]["list"]}
    assert len(given) == 60
    assert not given & {row["path"] for row in summary["least_certain"]}


def test_a_truth_that_was_given_leaves_nothing_to_measure(scene: tuple[Workspace, np.ndarray]) -> None:
    place, truth = scene
    known = write_classes(range(120), truth)
    made = annotate.refine(given=known)
    summary = annotate.report(truth=known).summary
    assert made.mean_confidence is None
    assert (summary["truth"]["images"], summary["truth"]["accuracy"], summary["truth"]["ece"]) == (0, None, None)
    assert (summary["counted"], summary["confidence"]["mean"], summary["coverage"]) == (0, None, [])
    for name in ("report.txt", "report.html"):
        shown = " ".join((place.root / "report" / name).read_text("utf-8").split())
        assert "ot measured: the class of every image whose true class is known was given" in shown
        assert "100.0 %" not in shown.split("Classes")[0]


def test_report_and_dataset_say_which_images_were_given(scene: tuple[Workspace, np.ndarray], photos: Path) -> None:
    place, truth = scene
    files = [str(photos / f"{i}.png") for i in range(120)]
    for shade, file in enumerate(files):
        Image.new("L", (4, 4), shade).save(file)
    images = place.read(Embeddings)
    place.publish(
        Plan("embed", 1, {"source": IMPORTED}), replace(images, image_paths=files, images=[None] * 120), ran_on={}
    )
    wrong = [(k + 1) % 4 for k in truth[:3]]
    made = annotate.refine(given=write_classes([0, 1, 2], wrong), method="direct")
    annotate.organize("out")
    annotate.report()
    metadata = json.loads(Path("out/metadata.json").read_text())
    given = [entry for entry in metadata["images"] if entry.get("given")]
    assert [entry["original_path"] for entry in given] == files[:3]
    assert sorted(metadata["given"]) == sorted(entry["organized_path"] for entry in given)
    assert made.labels_without_answer is not None
    for row, entry in enumerate(given):
        assert entry["class_name"] == f"class {wrong[row]}"
        assert entry["without_answer"]["class_name"] == f"class {made.labels_without_answer[row]}"
    assert "the class of 3 images" in Path("out/report.txt").read_text()
    text, page = (Path("artifacts/report", name).read_text("utf-8") for name in ("report.txt", "report.html"))
    for path in files[:3]:
        assert path in text
        assert path in page
    assert "annotate would say" in text and "annotate would say" in page.replace("\u00a0", " ")


@pytest.mark.parametrize("temperature", [None, 0.05])
@pytest.mark.parametrize("method", METHODS)
def test_what_is_said_of_a_given_image_does_not_hear_its_own_answer(
    scene: tuple[Workspace, np.ndarray], method: str, temperature: float | None
) -> None:
    _, truth = scene
    rows = list(range(0, 60, 3))

    def said(answer: int) -> tuple[int, float]:
        classes = [answer, *truth[rows[1:]]]
        made = annotate.refine(method=method, temperature=temperature, given=write_classes(rows, classes))
        assert made.labels_without_answer is not None and made.confidences_without_answer is not None
        assert made.labels[0] == answer
        return int(made.labels_without_answer[0]), float(made.confidences_without_answer[0])

    first = said(0)
    assert all(said(answer) == first for answer in (1, 2, 3))
    assert 1 / 4 <= first[1] < 1


def test_without_answers_images_are_called_what_nobody_gave(scene: tuple[Workspace, np.ndarray]) -> None:
    """`direct` learns nothing but a temperature from answers: without its own an image has zero-shot's label."""
    _, truth = scene
    before = annotate.refine(method="direct")
    assert before.answers is None
    after = annotate.refine(method="direct", given=write_classes(range(120), truth))
    np.testing.assert_array_equal(after.labels, truth)
    assert after.labels_without_answer is not None
    np.testing.assert_array_equal(after.labels_without_answer, before.labels)


def test_mean_confidence_is_one_figure_wherever_it_is_said(
    scene: tuple[Workspace, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    from annotate import cli

    _, truth = scene
    made = annotate.refine(given=write_classes(range(50), truth[:50]))
    mean = made.mean_confidence
    assert mean is not None
    summary = annotate.report().summary
    assert summary["confidence"]["mean"] == mean
    cli.app(["refine"], standalone_mode=False)
    shown = capsys.readouterr()
    text, page = (Path("artifacts/report", name).read_text("utf-8") for name in ("report.txt", "report.html"))
    figure = f"{100 * mean:.1f} %"
    assert f"mean confidence is {figure}" in shown.out
    assert "mean confidence" not in shown.err  # the passes tell the model's certainty
    assert f"confidence  {figure} on average" in text
    assert f"{figure}</b><span>mean confidence</span>".replace(" %", "\u00a0%") in page


# -- what is remembered --------------------------------------------------------------------------------


def test_given_classes_count_in_every_later_refine_until_they_are_forgotten(
    scene: tuple[Workspace, np.ndarray],
) -> None:
    _, truth = scene
    wrong = (truth[:9] + 1) % 4
    untold = annotate.refine().labels
    annotate.refine(given=write_classes(range(9), wrong))
    for method in METHODS:
        told = Told()
        made = annotate.refine(method=method, progress=told)
        np.testing.assert_array_equal(made.labels[:9], wrong)
        assert told.said("the answers that were given before are used again: 9")
        assert told.said("`annotate refine --given none` forgets them")
    told = Told()
    np.testing.assert_array_equal(annotate.refine(given="none", progress=told).labels, untold)
    assert told.said("9 classes that were given are forgotten")
    told = Told()
    np.testing.assert_array_equal(annotate.refine(progress=told).labels, untold)
    assert not told.said("given before")


def test_classes_given_later_add_to_those_before_and_replace_them(scene: tuple[Workspace, np.ndarray]) -> None:
    annotate.refine(given=write_classes([0, 1], [0, 0]))
    told = Told()
    made = annotate.refine(given=write_classes([1, 2], [3, 3]), progress=told)
    assert made.answers is not None
    assert made.answers[:4].tolist() == [0, 3, 3, -1]
    assert told.said("given before are used again: 1")


def test_an_answer_follows_its_image_to_another_row_name_and_set(plant: Plant, blobs: Blobs) -> None:
    x, t, truth = blobs(n=60, k=4)
    place = plant(x, t)
    with_digests(place, [f"{i:064}" for i in range(60)])
    wrong = (truth[:5] + 1) % 4
    annotate.refine(given=write_classes(range(5), wrong))
    order = np.r_[59:-1:-1]
    more = np.concatenate([x[order], x[:3] + 0.01])
    place = plant(more, t)  # other rows, and so other names
    with_digests(place, [*(f"{i:064}" for i in order), *(f"{i:064}" for i in (100, 101, 102))])
    made = annotate.refine()
    assert made.answers is not None
    assert made.answers.tolist() == [-1] * 55 + wrong[::-1].tolist() + [-1] * 3


def test_an_answer_of_a_class_that_is_not_asked_for_waits_until_it_is(plant: Plant, blobs: Blobs) -> None:
    x, t, _ = blobs(n=40, k=3)
    plant(x, t, ["cat", "dog", "bird"])
    paths = Workspace().read(Embeddings).image_paths
    Path("known.csv").write_text(f"{paths[0]},bird\n{paths[1]},Cats\n")
    annotate.refine(given="known.csv")
    told = Told()
    plant(x, t[:2], ["dog", "cat"])
    made = annotate.refine(progress=told)
    assert made.answers is not None and made.answers[:2].tolist() == [-1, 1]
    assert told.said("1 of all that were given are of images or classes that are not here now")
    plant(x, t, ["bird", "dog", "cat"])
    made = annotate.refine()
    assert made.answers is not None and made.answers[:2].tolist() == [0, 2]


def test_copies_of_one_image_have_one_answer_the_later(plant: Plant, blobs: Blobs) -> None:
    x, t, _ = blobs(n=40, k=3)
    x[[7, 8]] = x[3]
    with_digests(plant(x, t), [f"{3 if i in (7, 8) else i:064}" for i in range(40)])
    for first, later in ((0, 1), (1, 0)):
        told = Told()
        made = annotate.refine(given=write_classes([7, 3], [first, later]), progress=told)
        assert made.labels[[3, 7, 8]].tolist() == [later] * 3
        assert made.answered.nonzero()[0].tolist() == [3, 7, 8]
        assert told.said("copies of the same image have different classes")
    told = Told()
    annotate.refine(given=write_classes([7, 3], [1, 1]), progress=told)
    assert not told.said("different classes")


def older(place: Workspace, *said: object) -> Path:
    """answers.json, as annotate wrote it before there was a store."""
    file = place.root / OLDER
    file.write_bytes(as_json({"answers": said, "sha256": content_digest(said)}))
    return file


def test_answers_of_before_the_store_count_from_the_first_run_and_are_taken_over_with_the_next(
    scene: tuple[Workspace, np.ndarray],
) -> None:
    place, _ = scene
    annotate.refine()
    file = older(place, *({"digest": f"{i:064}", "path": "x", "name": f"class {i % 3}"} for i in range(5)))
    assert "answers is new" in annotate.status()["refine"].why
    for _ in range(2):
        made = annotate.refine()
        assert made.answers is not None and made.answers[:6].tolist() == [0, 1, 2, 0, 1, -1]
        assert file.exists()  # who only reads writes nothing
    made = annotate.refine(given=write_classes([0, 7], [3, 3]))
    assert made.answers is not None and made.answers[:8].tolist() == [3, 1, 2, 0, 1, -1, -1, 3]
    assert not file.exists()
    counted = annotate.answers()
    assert counted is not None and counted["images"] == 6


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"answers": [], "sha256": "x"}', "[" * 100_000, (1,), ({"digest": "x", "path": 1},)]
)
def test_older_answers_that_are_not_those_written_are_said_not_dropped(
    scene: tuple[Workspace, np.ndarray], content: object
) -> None:
    place, _ = scene
    annotate.refine()
    if isinstance(content, str):
        (place.root / OLDER).write_text(content)
    else:
        older(place, *content)  # type: ignore[misc]  # a tuple
    for given in (None, write_classes([0], [1]), "none"):
        with pytest.raises(DamagedArtifact, match="not the answers that were written"):
            annotate.refine(given=given)
    assert annotate.status()["refine"].name == "damaged"
    assert "not the answers" in annotate.check()["answers"]
    (place.root / OLDER).unlink()
    assert annotate.status()["refine"].fresh


@pytest.mark.parametrize("name", [OLDER, FILE])
@pytest.mark.parametrize("put", [os.mkfifo, os.mkdir])
def test_what_is_no_file_where_answers_lie_is_not_waited_for(
    scene: tuple[Workspace, np.ndarray], put: Callable[[Path], None], name: str
) -> None:
    place, _ = scene
    put(place.root / name)
    with pytest.raises(AnnotateError) as caught:
        annotate.refine()
    assert caught.value.hint


def test_a_damaged_store_is_said_by_refine_status_and_check(scene: tuple[Workspace, np.ndarray]) -> None:
    place, _ = scene
    annotate.refine(given=write_classes([0], [1]))
    (place.root / FILE).write_bytes(b"no database " * 1000)
    with pytest.raises(DamagedArtifact, match="not the answers that were written"):
        annotate.refine()
    assert annotate.status()["refine"].name == "damaged"
    assert "not the answers" in annotate.check()["answers"]


def test_status_agrees_with_refine_about_given_classes(scene: tuple[Workspace, np.ndarray]) -> None:
    place, _ = scene
    annotate.refine(given=write_classes([0], [1]))
    assert annotate.status()["refine"].fresh
    assert "refine" in ran(lambda told: annotate.refine(given=write_classes([1], [1]), progress=told))
    assert annotate.status()["refine"].fresh
    assert "refine" not in ran(lambda told: annotate.refine(progress=told))
    facts = [None, *place.read(Embeddings).images[1:]]
    images = replace(place.read(Embeddings), images=facts)
    place.publish(Plan("embed", 1, {"source": IMPORTED}), images, ran_on={})
    assert not annotate.status()["refine"].fresh  # which image is which is known otherwise now
    assert "refine" in ran(lambda told: annotate.refine(progress=told))
    assert annotate.undo_label() == 1
    assert "answers" in annotate.status()["refine"].why
    assert "refine" in ran(lambda told: annotate.refine(progress=told))
    annotate.label(write_classes([2], [2]))  # and nobody refined since
    assert "answers" in annotate.status()["refine"].why


def ran(act: Callable[[Told], Refinement]) -> list[str]:
    """The stages that an act runs anew."""
    stages: list[str] = []

    class Watch(Told):
        def started(self, stage: str, why: str) -> None:
            stages.append(stage)

    act(Watch())
    return stages


# -- annotate's own labels -----------------------------------------------------------------------------


@pytest.fixture
def dataset(photos: Path) -> Path:
    """out/, as `organize` leaves it, with a CSV in it, and a link to it."""
    out = photos.parent / "made" / "out"
    for folder in ("red", "blue", "splits/train/red"):
        (out / folder).mkdir(parents=True)
        Image.new("L", (4, 4)).save(out / folder / "1.png")
    (out / "results.csv").write_text("path,class\n0.png,red\n")
    seal(out, Plan("organize", 1, {"link": "copy"}), {})
    (photos.parent / "link").symlink_to(out)
    (photos.parent / "link.csv").symlink_to(out / "results.csv")
    return out


OWN = [
    "made/out",
    "made/out/red",
    "made/out/splits",
    "made/out/splits/train",
    "made/out/results.csv",
    "made",
    "link",
    "link.csv",
]


@pytest.mark.parametrize("source", OWN)
def test_annotates_own_labels_are_nobodys_knowledge(
    scene: tuple[Workspace, np.ndarray], dataset: Path, source: str
) -> None:
    annotate.refine()
    for act in (lambda: annotate.refine(given=source), lambda: annotate.report(truth=source)):
        with pytest.raises(InputError, match="which annotate made") as caught:
            act()
        assert "write a CSV of path,class elsewhere" in caught.value.hint
    assert not Path("artifacts", FILE).exists()


def test_folders_of_a_dataset_that_annotate_made_are_no_truth(plant: Plant, blobs: Blobs, dataset: Path) -> None:
    x, t, _ = blobs(n=4, k=2)
    place = plant(x, t, ["red", "blue"])
    paths = [str(dataset / ("red", "blue")[i % 2] / f"{i}.png") for i in range(4)]
    place.publish(Plan("embed", 1, {"source": IMPORTED}), replace(place.read(Embeddings), image_paths=paths), ran_on={})
    annotate.refine()
    assert annotate.report().summary["truth"] is None
    for act in (lambda: annotate.refine(given="folders"), lambda: annotate.report(truth="folders")):
        with pytest.raises(InputError, match="which annotate made"):
            act()


@pytest.mark.parametrize("knobs", [{"given": "made/out"}, {"truth": "made/out/red"}])
def test_own_labels_are_refused_before_anything_is_embedded(photos: Path, dataset: Path, knobs: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="which annotate made"):
        annotate.run(photos, "new", ["red", "green"], model="tiny", **knobs)
    assert not Path("artifacts/embed").exists()
