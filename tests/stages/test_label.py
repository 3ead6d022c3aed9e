"""Answers in: whatever table people bring is read, told, kept once, taken back, carried away and brought again."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import annotate
from annotate import cli
from annotate.errors import AnnotateError, InputError, StorageError
from annotate.progress import Silent
from annotate.records import IMPORTED, Embeddings, ImageFacts, Note, SkippedFile
from annotate.stages.labelling import Decision, Labelled
from annotate.store.connecting import FILE, Database
from annotate.store.place import NOTE, VARIABLE
from annotate.store.snapshot import Snapshot
from annotate.store.store import Store
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan

Plant = Callable[..., Workspace]
Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
NAMES = ["a.jpg", "B 1.JPG", "caf\u00e9.png", "deep/d.jpg", "deep/er/e.jpg", "twin.jpg", "deep/twin.jpg"]


@pytest.fixture
def images(plant: Plant, blobs: Blobs, tmp_path: Path) -> Path:
    """A workspace of 12 images in photos/, seven of them called NAMES, of the classes cat, dog, bird."""
    x, t, _ = blobs(n=12, k=3)
    place, folder = plant(x, t, ["cat", "dog", "bird"]), tmp_path / "photos"
    paths = [str(folder / name) for name in [*NAMES, *(f"{i}.jpg" for i in range(5))]]
    facts: list[ImageFacts | None] = [{"size": 1, "modified_ns": 0, "digest": f"{i:064}"} for i in range(12)]
    skipped: list[SkippedFile] = [{"path": str(folder / "broken.jpg"), "reason": "cut off"}]
    found = replace(place.read(Embeddings), image_paths=paths, images=facts, folder=str(folder), skipped=skipped)
    place.publish(Plan("embed", 1, {"source": IMPORTED}), found, ran_on={})
    return folder


def store() -> Store:
    return Store(Database(Path("artifacts") / FILE))


def answers(found: Snapshot | None = None) -> dict[str, str]:
    """The class of each image that people answered, by the name of its file."""
    found = found or store().snapshot()
    place = Workspace().read(Embeddings)
    names = {
        fact["digest"]: os.path.relpath(path, str(place.folder))
        for path, fact in zip(place.image_paths, place.images, strict=True)
        if fact
    }
    said = {names[image]: found.verdict(image) for image in found.answers}
    return {name: found.names[one[0]] if one and one[0] else "-" for name, one in said.items()}


def written(content: str | bytes, name: str = "known.csv") -> str:
    Path(name).write_bytes(content.encode() if isinstance(content, str) else content)
    return name


# -- whatever people's tables are like -----------------------------------------------------------------

TABLES: dict[str, str | bytes] = {
    "path.csv": "path,class\na.jpg,cat\ndeep/d.jpg,dog\n",
    "filename;species.csv": "Filename;Species\r\na.jpg;Cat\r\nd.jpg;Dogs\r\n",
    "image,label,date.csv": "image,label,date\na.jpg,cat,2020-01-01\nd.jpg,dog,2020-01-02\n",
    "columns in any order.csv": "id,species,note,where\n7,cat,x,photos/a.jpg\n8,dog,,photos/deep/d.jpg\n",
    "no titles.csv": "a.jpg,cat\nd.jpg,dog\n",
    "no titles, three columns.csv": "1,cat,a.jpg\n2,dog,d.jpg\n",
    "tabs.tsv": "file\tclass_name\na.jpg\tcat\nd.jpg\tdog\n",
    "bars.txt": "a.jpg|cat\nd.jpg|dog\n",
    "spaces.txt": "a.jpg cat\nd.jpg dog\n",
    "told by Excel.csv": "sep=;\r\npath;class\r\na.jpg;cat\r\nd.jpg;dog\r\n",
    "utf-16.csv": "path;class\r\na.jpg;cat\r\nd.jpg;dog\r\n".encode("utf-16"),
    "utf-8 with a mark.csv": "path,class\na.jpg,cat\nd.jpg,dog\n".encode("utf-8-sig"),
    "windows.csv": b"path,class\r\nphotos\\a.jpg,cat\r\nphotos\\deep\\d.jpg,dog\r\n",
    "windows elsewhere.csv": b"path,class\nC:\\Users\\x\\photos\\a.jpg,cat\nC:\\Users\\x\\photos\\deep\\d.jpg,dog\n",
    "another machine.csv": "path,class\n/home/x/photos/a.jpg,cat\n/home/x/photos/deep/d.jpg,dog\n",
    "lines.jsonl": '{"image": "a.jpg", "label": "cat"}\n\n{"label": "dog", "image": "deep/d.jpg"}\n',
    "list.json": '[{"image": "a.jpg", "label": "cat"}, {"image": "d.jpg", "label": "dog"}]',
    "blank lines and cells.csv": "\npath,class\n\na.jpg,cat\n ,\nb 1.jpg,\nd.jpg,dog\n,,\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_read_whoever_wrote_it(images: Path, name: str) -> None:
    made = annotate.label(written(TABLES[name], name))
    assert (made.answers, made.images) == (2, 2)
    assert answers() == {"a.jpg": "cat", "deep/d.jpg": "dog"}


def test_a_spreadsheet_is_read_as_excel_and_libreoffice_write_it(images: Path) -> None:
    from openpyxl import Workbook

    book = Workbook()
    book.create_sheet("answers")
    for row in (["nr", "Filename", "Species"], [1, "a.jpg", "cat"], [], [2, "deep/d.jpg", "dog"], [3, "0.jpg", None]):
        book["answers"].append(row)
    book.save("known.xlsx")
    assert annotate.label("known.xlsx").answers == 2
    assert answers() == {"a.jpg": "cat", "deep/d.jpg": "dog"}
    Path("half.xlsx").write_bytes(Path("known.xlsx").read_bytes()[:-200])
    with pytest.raises(InputError, match=r"half\.xlsx: not a whole spreadsheet") as caught:
        annotate.label("half.xlsx")
    assert "close it" in caught.value.hint


def test_numbers_of_a_spreadsheet_are_names_of_classes(plant: Plant, blobs: Blobs) -> None:
    from openpyxl import Workbook

    x, t, _ = blobs(n=4, k=3)
    plant(x, t, ["0", "1", "2"])
    book = Workbook()
    for row in (["path", "class"], ["00000.png", 2], ["00001.png", 0]):
        book.active.append(row)
    book.save("known.xlsx")
    annotate.label("known.xlsx")
    assert sorted(annotate.answers()["classes"].items()) == [("0", 1), ("2", 1)]  # type: ignore[index]


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_accents_are_read_in_any_form_and_encoding(images: Path, encoding: str, form: str) -> None:
    name = unicodedata.normalize(form, "caf\u00e9.png")  # type: ignore[arg-type]
    if encoding == "cp1252" and form == "NFD":
        pytest.skip("that encoding has no loose accents")
    annotate.label(written(f"path,class\n{name},cat\n".encode(encoding)))
    assert answers() == {"caf\u00e9.png": "cat"}


@pytest.mark.parametrize("path", ["b 1.jpg", "photos/B 1.jpg", "./photos/b 1.JPG", "{top}/B 1.JPG"])
def test_a_path_is_found_in_other_case_and_from_wherever_it_starts(images: Path, path: str) -> None:
    annotate.label(written(f"path,class\n{path.format(top=images)},cat\n"))
    assert answers() == {"B 1.JPG": "cat"}


@pytest.mark.parametrize("path", ["twin.png", "other/a.jpg", "/home/x/other/a.jpg", "D:\\other\\d.jpg"])
def test_a_path_that_is_not_clear_names_nothing(images: Path, path: str) -> None:
    made = annotate.label(written(f"path,class\n{path},cat\n0.jpg,dog\n"))
    assert answers() == {"0.jpg": "dog"}
    assert list(made.strangers) == [(2, path)]
    assert made.in_words[1] == f"1 row names no image: row 2 ({path})"


def test_a_bare_name_that_two_images_share_is_meant_where_it_is_a_whole_path(images: Path) -> None:
    annotate.label(written("path,class\ntwin.jpg,cat\ndeep/twin.jpg,dog\n"))
    assert answers() == {"twin.jpg": "cat", "deep/twin.jpg": "dog"}


def test_one_number_per_class_is_votes(images: Path) -> None:
    annotate.label(written("image;cat;dog;bird\na.jpg;3;1;0\nd.jpg;0,25;0,75;0\n0.jpg;;;\n"))
    found = store().snapshot()
    said = [next(iter(people.values())).payload for people in found.answers.values()]
    named = [{found.names[k]: n for k, n in one["votes"].items()} for one in said]
    assert named == [{"cat": 3, "dog": 1}, {"cat": 0.25, "dog": 0.75}]
    assert answers() == {"a.jpg": "cat", "deep/d.jpg": "dog"}
    annotate.label(written('{"image": "0.jpg", "votes": {"cat": 1, "bird": 4}}\n', "votes.jsonl"))
    assert answers()["0.jpg"] == "bird"


def test_several_people_are_all_kept_and_a_disagreement_is_told(images: Path) -> None:
    annotate.label(written("image,annotator,label\na.jpg,ann,cat\na.jpg,bob,dog\na.jpg,eve,dog\n0.jpg,ann,cat\n"))
    assert store().snapshot().people == {"ann": 2, "bob": 1, "eve": 1}
    assert answers() == {"a.jpg": "dog", "0.jpg": "cat"}
    told = Told()
    made = annotate.refine(progress=told)
    assert "people disagree about 1 image: a.jpg; what most say counts, and of as many the later" in told.notes
    assert made.answered_by == {"0": "bob, eve", "7": "ann"}


def test_who_is_told_by_the_settings_where_the_table_does_not(images: Path) -> None:
    annotate.label(written("path,class\na.jpg,cat\n"), who="ann")
    annotate.label(written("path,class\na.jpg,dog\n"), who="bob")
    assert store().snapshot().people == {"ann": 1, "bob": 1}


def test_several_classes_and_none_of_them_are_answers(images: Path) -> None:
    annotate.label(written("path,class\na.jpg,cat; dog\n0.jpg,none of these\n1.jpg,empty\n"))
    kinds = [event.kind for people in store().snapshot().answers.values() for event in people.values()]
    assert kinds == ["classes", "none", "empty"]
    made = annotate.refine()
    assert made.answers is not None and made.answers[[0, 7, 8]].tolist() == [0, -2, -2]
    assert made.answered.sum() == 3 and made.outside.sum() == 2
    summary = annotate.report().summary
    assert summary["counted"] == 9
    assert [row["class"] for row in summary["given"]["list"]] == ["cat", "none of these", "none of these"]


# -- what is kept --------------------------------------------------------------------------------------


class Told(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, note: Note) -> None:
        self.notes.append(note["message"])


def test_the_same_table_twice_adds_nothing(images: Path) -> None:
    table = written("path,class\na.jpg,cat\n0.jpg,dog\n1.jpg,none of these\n2.jpg,dog; bird\n")
    assert annotate.label(table).answers == 4
    again = annotate.label(table)
    assert (again.answers, again.unchanged) == (0, 4)
    assert len(store().everything()[0]) == 4


def test_answers_count_in_refine_without_being_asked_and_never_in_accuracy(images: Path) -> None:
    labels = annotate.refine().labels
    other = [(["cat", "dog", "bird"][(k + 1) % 3]) for k in labels[:2]]
    annotate.label(written(f"path,class\na.jpg,{other[0]}\nB 1.JPG,{other[1]}\n"))
    assert "answers" in annotate.status()["refine"].why
    made = annotate.refine()
    assert made.labels[:2].tolist() == [(k + 1) % 3 for k in labels[:2]]
    assert annotate.status()["refine"].fresh
    assert annotate.report().summary["counted"] == 10


def test_undo_takes_the_last_table_back_and_not_the_one_before(images: Path) -> None:
    annotate.label(written("path,class\na.jpg,cat\n"))
    annotate.label(written("path,class\na.jpg,dog\n0.jpg,dog\n"))
    assert annotate.undo_label() == 2
    assert answers() == {"a.jpg": "cat"}
    assert annotate.undo_label() == 1
    assert annotate.undo_label() == 0
    assert annotate.answers() is None


def test_an_export_brings_everything_back_into_an_empty_workspace(images: Path) -> None:
    annotate.label(written("path,class\na.jpg,cat\n0.jpg,none of these\n"), who="ann")
    annotate.label(written("image,cat,dog\n1.jpg,1,2\n"), who="bob")
    annotate.label(written("path,class\na.jpg,dog\n"))
    annotate.undo_label()
    before = store().snapshot()
    assert annotate.export_answers("out.jsonl") == 5
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [line["path"] for line in lines if line.get("kind") == "votes"] == [str(images / "1.jpg")]
    os.rename(f"artifacts/{FILE}", "away.db")
    assert annotate.label("out.jsonl").answers == 5
    assert store().snapshot().digest == before.digest
    assert annotate.label("out.jsonl").answers == 0


def test_a_new_class_is_made_only_where_somebody_says_so(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint))
    annotate.refine(["red", "green"], method="direct")
    table = written("path,class\nblue/0.png,blue\nred/1.png,red\n")
    made = annotate.label(table)
    assert (made.kept, made.in_words[1]) == (1, "1 class is new: 'blue' (add it? `--new-classes`)")
    with pytest.raises(InputError, match="none of its names is a class: 'blue'") as caught:
        annotate.label(written("path,class\nblue/0.png,blue\n", "blue.csv"))
    assert "the classes are red, green" in caught.value.hint
    made = annotate.label(table, new_classes=True)
    assert (made.kept, made.in_words[1]) == (1, "1 class is new: 'blue'")
    refined = annotate.refine(method="direct")
    assert refined.class_prototypes.shape[0] == 3
    assert refined.labels[0] == 2  # blue/0.png


def test_without_any_words_all_names_are_classes(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint))
    annotate.label(written("path,class\nblue/0.png,blue\nred/1.png,red\n"))
    assert answers() == {"blue/0.png": "blue", "red/1.png": "red"}


def test_a_renamed_class_keeps_its_answers(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint))
    annotate.refine(["red", "green"], method="direct")
    annotate.label(written("path,class\nblue/0.png,red\n"))
    annotate.rename_class("red", "crimson")
    annotate.rename_class("green", "emerald")  # which nobody has answered
    made = annotate.refine(method="direct")
    assert list(Workspace().manifest("text")["config"]["classes"]) == ["crimson", "emerald"]  # type: ignore[index]
    assert made.answers is not None and made.answers[0] == 0
    assert answers() == {"blue/0.png": "crimson"}


def test_somebody_is_asked_before_anything_is_written(images: Path) -> None:
    table, asked = written("path,class\na.jpg,cat\n0.jpg,pelican\n"), list[Labelled]()

    def no(made: Labelled) -> Decision:
        asked.append(made)
        return Decision(False, False)

    annotate.label(table, confirm=no)
    assert (asked[0].answers, asked[0].kept, list(asked[0].new)) == (2, 1, ["pelican"])
    assert not Path("artifacts", FILE).exists()
    annotate.label(table, confirm=lambda made: Decision(True, True))
    assert answers() == {"a.jpg": "cat", "0.jpg": "pelican"}


def test_the_command_says_what_it_keeps(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*words: str) -> str:
        cli.app(["label", *words], standalone_mode=False)
        return capsys.readouterr().out

    table = written("path,class\na.jpg,cat\n0.jpg,pelican\nnone.jpg,cat\nbroken.jpg,dog\n")
    assert said(table).splitlines() == [
        "1 answer for 1 image",
        "1 row names no image: row 4 (none.jpg)",
        "1 row names a file that could not be read: row 5 (broken.jpg)",
        "1 class is new: 'pelican' (add it? `--new-classes`)",
    ]
    assert said("--export", "out.jsonl") == "1 answer is in out.jsonl\n"
    cli.app(["status"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "answers for 1 image, by " in shown and "cat 1" in shown
    assert said("--undo") == "1 answer is taken back\n"
    for wrong in ([], ["--undo", table], ["--rename", "cat"]):
        with pytest.raises(InputError) as caught:
            said(*wrong)
        assert caught.value.hint


# -- bad input -----------------------------------------------------------------------------------------

BAD: list[tuple[str | bytes, str]] = [
    ("path,class\nnowhere.jpg,cat\n", "says nothing about any of the 12 images"),
    ("path,class\na.jpg,pelican\n", "none of its names is a class: 'pelican'"),
    ("path,class\na.jpg,cat\na.jpg,dog\n", "line 3: a.jpg is 'dog' here and 'cat' before"),
    ("path,who,class\na.jpg,ann,cat\na.jpg,ann,dog\n", "line 3: a.jpg is 'dog' here and 'cat' before by ann"),
    ("image,cat,dog\na.jpg,0.5,0.2\n", "line 2: the shares of the classes sum to 0.7, not to 1"),
    ("image,cat,dog\na.jpg,-1,2\n", "line 2: '-1' is no number of votes for 'cat'"),
    ("image,cat,dog\na.jpg,nan,2\n", "line 2: 'nan' is no number of votes for 'cat'"),
    ("path,class\na.jpg,cat\nd.jpg", "line 3: expected path,class, found 1 column"),
    ('path,class\na.jpg,cat\n"d.jpg,dog\n', "a quotation mark is opened and never closed"),
    ("", "empty"),
    ("\n \n", "empty"),
    (b"\x89PNG\r\n\x1a\n\0\0", "not a table of text"),
    ("path,class\n", "no rows below the titles"),
    ("a.jpg\n0.jpg\n", "expected path,class, found 1 column"),
    ("path,colour\na.jpg,red\n", "no column 'class' among 'path', 'colour'"),
    ("colour,size\nred,3\n", "says nothing about any of the 12 images"),
]


@pytest.mark.parametrize(("content", "message"), BAD)
def test_a_table_that_cannot_be_used_says_why_and_writes_nothing(
    images: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        annotate.label(written(content))
    assert message in str(caught.value)
    assert caught.value.hint and len(str(caught.value).splitlines()) == 1
    assert not Path("artifacts", FILE).exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("known.jsonl", '{"path": "a.jpg", "class": "cat"}\n{"path": "d.j', "line 2: not readable as JSON"),
        ("known.json", "[1, 2]", "line 1: not an object"),
        ("known.jsonl", "", "empty"),
        ("known.xlsx", "no spreadsheet", "not a whole spreadsheet"),
        ("~$known.xlsx", "x", "what Excel leaves beside a file that is open"),
    ],
)
def test_a_file_that_is_not_whole_writes_nothing(images: Path, name: str, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace("$", r"\$")) as caught:
        annotate.label(written(content, name))
    assert caught.value.hint
    assert not Path("artifacts", FILE).exists()


def test_a_file_that_a_program_holds_is_told(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = written("path,class\na.jpg,cat\n")
    written("", ".~lock.known.csv#")
    assert "is open in another program" in annotate.label(table).in_words[-1]

    def held(*_: object, **__: object) -> None:
        raise PermissionError(13, "held by Excel", table)

    monkeypatch.setattr("annotate.store.sheets.lists.refuse_long_lines", held)
    with pytest.raises(StorageError, match="cannot be read now") as caught:
        annotate.label(table)
    assert "close it" in caught.value.hint


def test_what_is_not_there_is_told(images: Path) -> None:
    for source in ("nowhere.csv", "photos"):
        with pytest.raises(InputError) as caught:
            annotate.label(source)
        assert caught.value.hint
    with pytest.raises(AnnotateError, match="no answers yet"):
        annotate.export_answers("out.jsonl")
    with pytest.raises(AnnotateError, match="no embed artifacts"):
        annotate.label(written("path,class\na.jpg,cat\n"), workspace="other")


# -- in a database of many -----------------------------------------------------------------------------


def test_answers_in_a_database_are_used_and_never_forgotten(
    images: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = written("path,class\na.jpg,cat\n")
    annotate.label(table, database=server)
    assert not Path("artifacts", FILE).exists()
    made = annotate.refine(database=server)
    assert made.answers is not None and made.answers[0] == 0
    assert server not in Path("artifacts/refine/manifest.json").read_text()
    assert server in Path("artifacts", NOTE).read_text()
    for act in (annotate.refine, lambda: annotate.label(table), annotate.answers):
        with pytest.raises(InputError, match="the answers of artifacts/ are in postgresql://") as caught:
            act()
        assert "--database" in caught.value.hint
    monkeypatch.setenv(VARIABLE, server)
    assert annotate.status()["refine"].fresh
    assert annotate.undo_label() == 1


def test_answers_of_the_workspace_are_not_left_behind_for_a_database(images: Path) -> None:
    annotate.label(written("path,class\na.jpg,cat\n"))
    with pytest.raises(InputError, match="has answers of its own") as caught:
        annotate.refine(database="postgresql://nobody@127.0.0.1:1/none")
    assert "label --export" in caught.value.hint
    with pytest.raises(InputError, match="not the address of a database"):
        annotate.answers(database="mysql://x", workspace="other")
