"""Corrections by hand: images dragged from folder to folder, and a table filled in, become answers."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import annotate
from annotate.errors import InputError, StaleArtifact
from annotate.exports.results import COLUMNS, safe
from annotate.records import Embeddings
from annotate.store.connecting import FILE
from annotate.workspace import Workspace

NAMES = ["red", "green", "blue"]


@pytest.fixture
def dataset(photos: Path, checkpoint: Path) -> Path:
    """out/, of twelve images, nine of which somebody answered; the model knows nothing."""
    annotate.embed(photos, model=str(checkpoint), classes=NAMES)
    known = "path,class\n" + "".join(f"{name}/{i}.png,{name}\n" for name in NAMES for i in (0, 1, 2))
    Path("known.csv").write_text(known)
    annotate.refine(method="direct", given="known.csv")
    annotate.organize("out")
    return Path("out")


def places(folder: str = "out") -> dict[str, str]:
    """Original, as colour/number, to the folder that it lies in."""
    content = json.loads(Path(folder, "metadata.json").read_text("utf-8"))
    rows = [(Path(row["original_path"]), row["organized_path"]) for row in content["images"]]
    return {f"{path.parent.name}/{path.name}": place.split("/")[0] for path, place in rows}


def file_of(original: str) -> Path:
    content = json.loads(Path("out/metadata.json").read_text("utf-8"))
    return next(
        Path("out", row["organized_path"]) for row in content["images"] if row["original_path"].endswith(original)
    )


def again() -> dict[str, str]:
    annotate.refine(method="direct")
    annotate.organize("out")
    return places()


def move(original: str, folder: str, name: str = "") -> None:
    path = file_of(original)
    Path("out", folder).mkdir(exist_ok=True)
    path.rename(Path("out", folder, name or f"moved-{path.name}"))


def test_a_dragged_image_is_an_answer_that_the_next_dataset_keeps(dataset: Path) -> None:
    before = places()
    assert before["red/0.png"] == "red"
    move("red/0.png", "green")
    with pytest.raises(InputError, match="1 image was moved or removed since annotate wrote it") as caught:
        annotate.organize("out")
    assert "annotate label out" in caught.value.hint
    made = annotate.label("out")
    assert (made.source, made.kept, made.images) == ("moved in out/", 1, 1)
    assert annotate.label("out").answers == 0
    with pytest.raises(StaleArtifact, match="older than the answers"):
        annotate.organize("out")
    assert again() == before | {"red/0.png": "green"}
    assert annotate.label("out").kept == 0  # nothing was moved since


def test_an_image_in_the_bin_shows_none_of_the_classes(dataset: Path) -> None:
    before = places()
    file_of("red/1.png").unlink()
    assert annotate.label("out").kept == 1
    assert again() == before | {"red/1.png": "unknown"}
    counted = annotate.answers()
    assert counted is not None and counted["none of these"] == 1
    content = json.loads(Path("out/metadata.json").read_text("utf-8"))
    assert len(content["unknown"]) == 1
    assert not [path for path in Path("out/splits").rglob("*") if "unknown" in path.parts]
    move("red/1.png", "red")  # taken out of the bin
    annotate.label("out")
    assert again() == before


def test_a_new_folder_is_a_new_class_where_somebody_says_so(dataset: Path) -> None:
    move("blue/0.png", "navy")
    with pytest.raises(InputError, match="none of its names is a class: 'navy'"):
        annotate.label("out")
    with pytest.raises(InputError, match="was moved"):
        annotate.organize("out")
    annotate.label("out", new_classes=True)
    assert again()["blue/0.png"] == "navy"


def test_renamed_files_and_a_lost_second_name_are_no_answers_and_cost_nothing(dataset: Path) -> None:
    before = places()
    path = file_of("red/0.png")
    path.rename(path.with_name("holiday.png"))
    shutil.rmtree("out/splits/train/green")
    assert annotate.label("out").answers == 0
    annotate.organize("out")
    assert places() == before
    assert not Path("out/red/holiday.png").exists()


def test_an_image_moved_only_within_the_splits_is_an_answer(dataset: Path) -> None:
    before, path = places(), next(Path("out/splits/train/green").iterdir())
    path.rename(Path("out/splits/train/red", path.name))
    assert annotate.label("out").kept == 1
    after = again()
    (changed,) = [name for name in before if before[name] != after[name]]
    assert (before[changed], after[changed]) == ("green", "red")


def test_two_images_that_changed_places_are_two_answers(dataset: Path) -> None:
    first, second = file_of("red/0.png"), file_of("green/0.png")
    first.rename("third.png")
    second.rename(first)
    Path("third.png").rename(second)
    status = os.stat(first)
    os.utime(second, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert annotate.label("out").kept == 2
    after = again()
    assert (after["red/0.png"], after["green/0.png"]) == ("green", "red")


def test_a_folder_that_was_only_renamed_is_no_answer(dataset: Path) -> None:
    Path("out/red").rename("out/crimson")
    made = annotate.label("out")
    assert made.answers == 0
    assert "annotate label --rename red=crimson" in made.in_words[-1]


def test_an_image_in_two_folders_says_nothing(dataset: Path) -> None:
    shutil.copy(file_of("red/0.png"), "out/green/copy.png")
    made = annotate.label("out")
    assert made.answers == 0
    assert made.in_words[-1] == "1 image lies in several folders, which is no answer: 0.png"


@pytest.mark.parametrize("name", ["red/own.png", "own.txt"])
def test_what_only_the_dataset_holds_is_never_replaced(dataset: Path, name: str) -> None:
    move("red/0.png", "green")
    Path("out", name).write_bytes(b"somebody's only copy")
    made = annotate.label("out")
    assert made.kept == 1 and "1 file is no image of this project" in made.in_words[-1]
    annotate.refine(method="direct")
    with pytest.raises(InputError, match="somebody"):
        annotate.organize("out")
    assert Path("out", name).read_bytes() == b"somebody's only copy"


def test_a_dataset_whose_originals_are_gone_is_not_replaced(dataset: Path, photos: Path) -> None:
    move("red/0.png", "green")
    annotate.label("out")
    annotate.refine(method="direct")
    (photos / "red" / "0.png").rename("elsewhere.png")
    with pytest.raises(InputError):
        annotate.organize("out")
    assert Path("out/green/moved-0.png").exists() or list(Path("out/green").glob("moved-*"))


def test_a_dataset_of_another_workspace_is_refused(dataset: Path, photos: Path, checkpoint: Path) -> None:
    for path in photos.rglob("*.png"):
        path.write_bytes(path.read_bytes() + b"\0")
    annotate.embed(photos, model=str(checkpoint), workspace="other", classes=NAMES)
    with pytest.raises(InputError, match="none of its images is one of this workspace"):
        annotate.label("out", workspace="other")
    shutil.rmtree("out/splits")
    for name in NAMES:
        shutil.rmtree(f"out/{name}", ignore_errors=True)
    with pytest.raises(InputError, match="all its images are gone"):
        annotate.label("out")
    assert annotate.answers(workspace="other") is None


def test_a_run_with_moves_that_nobody_kept_stops_before_it_begins(
    dataset: Path, photos: Path, checkpoint: Path
) -> None:
    move("red/0.png", "green")
    with pytest.raises(InputError, match="was moved or removed"):
        annotate.run(photos, "out", NAMES, model=str(checkpoint), method="direct")
    annotate.label("out")
    annotate.run(photos, "out", NAMES, model=str(checkpoint), method="direct")
    assert places()["red/0.png"] == "green"


# -- results -------------------------------------------------------------------------------------------


def table(file: str) -> list[dict[str, str]]:
    content = Path(file).read_bytes()
    assert content.startswith(b"\xef\xbb\xbf") and b"\r\n" in content
    rows = list(csv.DictReader(content.decode("utf-8-sig").splitlines()))
    assert tuple(rows[0]) == COLUMNS
    return rows


def fill_in(file: str, answers: dict[str, str]) -> None:
    rows = table(file)
    for row in rows:
        row["answer"] = answers.get(row["path"], row["answer"])
    with open(file, "w", encoding="utf-8-sig", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, delimiter=";")  # as a country's Excel saves it
        writer.writeheader()
        writer.writerows(rows)


def test_results_say_of_each_image_what_the_arrays_say(dataset: Path) -> None:
    annotate.report()
    made = annotate.refine(method="direct")
    rows = table("out/results.csv")
    assert [{**row, "split": ""} for row in rows] == table("artifacts/report/results.csv")
    paths = Workspace().read(Embeddings).image_paths
    assert [row["path"] for row in rows] == [os.path.relpath(path, "photos") for path in paths]
    assert [row["label"] for row in rows] == [NAMES[k] for k in made.labels]
    doubted = [row for row in rows if not row["answer"]]
    assert len(doubted) == 3
    assert sorted(doubted, key=lambda row: int(row["rank"])) == sorted(
        doubted, key=lambda row: float(row["confidence"])
    )
    for number, row in enumerate(rows):
        best, chances = made.likeliest([number], 2)
        if not row["answer"]:
            assert row["second"] == NAMES[best[0, 1]]
            assert float(row["second_confidence"]) == pytest.approx(float(chances[0, 1]), abs=1e-4)
        else:
            assert row["answer"] == row["path"].split("/")[0] and row["who"] and not row["rank"]


@pytest.mark.parametrize("file", ["out/results.csv", "artifacts/report/results.csv"])
def test_a_table_that_was_filled_in_is_read_back(dataset: Path, file: str) -> None:
    annotate.report()
    before = places()
    fill_in(file, {"red/3.png": "blue", "red/0.png": "green", "green/0.png": "green", "blue/3.png": "none of these"})
    made = annotate.label(file)
    assert (made.kept, made.unchanged) == (3, 8)
    assert again() == before | {"red/3.png": "blue", "red/0.png": "green", "blue/3.png": "unknown"}


def test_a_table_that_was_filled_in_and_not_given_back_is_not_replaced(dataset: Path) -> None:
    fill_in("out/results.csv", {"red/3.png": "blue"})
    with pytest.raises(InputError, match=r"somebody filled in results\.csv") as caught:
        annotate.organize("out")
    assert "annotate label out/results.csv" in caught.value.hint


def test_a_cell_that_a_spreadsheet_would_run_is_made_safe_and_read_back(photos: Path, checkpoint: Path) -> None:
    (photos / "red" / "0.png").rename(photos / "=1+1.png")
    (photos / "red" / "1.png").rename(photos / "@x.png")
    annotate.embed(photos, model=str(checkpoint), classes=["red", "-green"])
    annotate.refine(method="direct")
    annotate.organize("out")
    rows = table("out/results.csv")
    assert {row["path"] for row in rows} >= {"'=1+1.png", "'@x.png"}
    assert all(not cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    fill_in("out/results.csv", {"'=1+1.png": "'-green", "'@x.png": "red"})
    assert annotate.label("out/results.csv").kept == 2
    assert safe("a=b") == "a=b"


def test_images_below_a_confidence_go_apart_and_come_back_by_hand(dataset: Path) -> None:
    made = annotate.organize("out", min_confidence=0.999)
    unsure = {name for name, folder in places().items() if folder == "unsure"}
    assert unsure == {"red/3.png", "green/3.png", "blue/3.png"}  # nobody answered those
    assert made.folders["unsure"] == 3 and sum(made.splits.values()) == 9
    assert "Images in unsure/ have a lower confidence" in Path("out/report.txt").read_text("utf-8")
    move("red/3.png", "red")
    move("red/0.png", "unsure")  # which says nothing
    assert annotate.label("out").kept == 1
    annotate.refine(method="direct")
    annotate.organize("out", min_confidence=0.999)
    assert {name for name, folder in places().items() if folder == "unsure"} == {"green/3.png", "blue/3.png"}


def test_the_images_most_worth_a_look_lie_in_a_folder_by_doubt(dataset: Path) -> None:
    annotate.organize("out", review=2)
    rows = table("out/review.csv")
    assert [row["rank"] for row in rows] == ["1", "2"]
    found = sorted(os.listdir("out/review"))
    assert [name.split(" ")[0] for name in found] == ["1", "2"]
    for name, row in zip(found, rows, strict=True):
        assert name.split(" ")[1] == row["label"]
        assert Path("out/review", name).read_bytes() == Path("photos", row["path"]).read_bytes()
    for name in found:  # looked at, and done with
        Path("out/review", name).unlink()
    assert annotate.label("out").answers == 0
    annotate.organize("out", review=1)
    assert len(os.listdir("out/review")) == 1


@pytest.mark.parametrize("act", [lambda: annotate.label("out"), lambda: annotate.label("out/results.csv")])
def test_an_untouched_dataset_says_nothing(dataset: Path, act: Callable[[], object]) -> None:
    size = Path("artifacts", FILE).stat().st_size
    made = act()
    assert made.answers == 0  # type: ignore[attr-defined]
    assert Path("artifacts", FILE).stat().st_size == size
