"""Class names that anybody could think of survive every format's papers, without a disk."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from annotate.classes.folders import fold, folder_names
from annotate.classes.names import as_read, clean_class_names
from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import formats
from annotate.exports.papers import papers
from annotate.exports.pieces import NOT_IN_XML, csv_rows, xml_name

HARD = "<>&\"'`\\|,;:=-#%{}[]\n\t 07eEnNaAé\u0301ßİ\N{FOX FACE}\u202e\x00\x1f\x7f\x85\u2028\ufeff\ufffe"
LETTERS = st.sampled_from(HARD) | st.characters(exclude_categories=["Cs"])
NAMES = st.lists(st.text(LETTERS, min_size=1, max_size=8), min_size=2, max_size=6).map(
    lambda names: [name for name in names if as_read(name)]
)


def catalogue_of(names: list[str]) -> Catalogue:
    """An image of each class, named by nothing but its number."""
    entries = [
        Entry(k, f"/p/{k}.png", f"{k}.png", "train", None, k, 0.5, 4, 4, 1, f"{k:064}") for k in range(len(names))
    ]
    return Catalogue(names, folder_names(names), entries)


def written(name: str, catalogue: Catalogue) -> dict[str, bytes]:
    form = formats()[name]
    return {path: b"".join(pieces) for path, pieces in form.papers(catalogue)}


def usable(names: list[str]) -> list[str]:
    """As `refine` takes them: none twice for a reader."""
    once = {as_read(name.strip()): name for name in names if name.strip() and as_read(name.strip())}
    return clean_class_names(once.values()) if len(once) > 1 else ["a", "b"]


@settings(max_examples=120, deadline=None)
@given(NAMES.map(usable))
def test_every_format_says_the_names_as_they_are(names: list[str]) -> None:
    catalogue = catalogue_of(names)
    coco = json.loads(written("coco", catalogue)["annotations/labels_train.json"])
    assert [one["name"] for one in coco["categories"]] == names
    assert [one["category_id"] for one in coco["annotations"]] == [k + 1 for k in range(len(names))]
    fiftyone = json.loads(written("fiftyone", catalogue)["train/labels.json"])
    assert fiftyone["classes"] == names
    shown = [xml_name(name) for name in names]
    cvat = ET.fromstring(written("cvat", catalogue)["annotations.xml"])
    assert [tag.get("label") for tag in cvat.iter("tag")] == shown
    assert [label.findtext("name") for label in cvat.iter("label")] == shown
    studio = written("label-studio", catalogue)
    offered = [choice.get("value") for choice in ET.fromstring(studio["label_config.xml"]).iter("Choice")]
    assert offered == shown
    tasks = json.loads(studio["tasks.json"])
    assert [task["predictions"][0]["result"][0]["value"]["choices"] for task in tasks] == [[name] for name in shown]


@settings(max_examples=120, deadline=None)
@given(NAMES.map(usable))
def test_the_card_and_data_yaml_say_the_names_as_they_are(names: list[str]) -> None:
    catalogue = catalogue_of(names)
    head = formats()["hf"].card(catalogue).split("---\n")[1]
    (config,) = yaml.safe_load(head)["configs"]
    (label,) = [one for one in config["features"] if one["name"] == "label"]
    assert label["dtype"]["class_label"]["names"] == {str(k): name for k, name in enumerate(names)}
    content = b"".join(dict(formats()["yolo"].papers(catalogue))["data.yaml"])
    assert yaml.safe_load(content)["names"] == dict(enumerate(names))


@settings(max_examples=60, deadline=None)
@given(NAMES.map(usable))
def test_folders_of_classes_are_distinct_on_every_disk(names: list[str]) -> None:
    catalogue, place = catalogue_of(names), formats()["imagefolder"].place
    places = {place(catalogue, entry) for entry in catalogue.entries}
    folders = [str(place).split("/")[1] for place in places]
    assert len({fold(folder) for folder in folders}) == len(names)


@settings(max_examples=40, deadline=None)
@given(NAMES.map(usable))
def test_archives_and_readmes_of_any_names_are_whole(names: list[str]) -> None:
    catalogue, form = catalogue_of(names), formats()["webdataset"]

    def contents(entries: Iterable[Entry]) -> Iterator[tuple[Entry, bytes]]:
        yield from ((entry, b"x" * (entry.row + 1) * 300) for entry in entries)

    assert form.pack
    ((_, pieces),) = form.pack(catalogue, contents)
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        found = {member.name: archive.extractfile(member) for member in archive}
        for k, name in enumerate(names):
            about, number = found[f"{k}.json"], found[f"{k}.cls"]
            assert about and number
            assert json.loads(about.read())["class"] == name
            assert int(number.read()) == k
    for _, rows in papers(form, catalogue, {}, None):
        assert b"".join(rows).decode("utf-8")


@given(st.lists(st.lists(st.text(LETTERS | st.just("\udcff"), max_size=5), min_size=1, max_size=4), max_size=4))
@settings(max_examples=60, deadline=None)
def test_rows_of_a_table_come_back(rows: list[list[str]]) -> None:
    text = b"".join(csv_rows(rows)).decode("utf-8")
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert read == [[cell.encode("utf-8", "backslashreplace").decode() for cell in row] for row in rows]


def test_letters_that_xml_cannot_write_are_replaced() -> None:
    assert xml_name("a\x00b\ufffe") == "a\ufffdb\ufffd"
    assert not NOT_IN_XML.search("\t\n é\N{FOX FACE}")
