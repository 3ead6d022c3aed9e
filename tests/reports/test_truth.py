"""What the images really show."""

from pathlib import Path

import pytest
from PIL import Image

from annotate.classes.spelling import matcher
from annotate.errors import InputError
from annotate.records import ImageFacts
from annotate.reports import truth
from annotate.reports.truth import FOLDERS, implied_truth, read_truth
from annotate.sources import lists
from annotate.workspace.digests import file_digest

CLASSES = ["cat", "dog"]


def picture(path: Path, shade: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), shade).save(path)
    return str(path)


def facts(path: str) -> ImageFacts:
    return {"size": Path(path).stat().st_size, "modified_ns": 0, "digest": file_digest(Path(path))}


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Two images below a folder, one deeper than the other."""
    return [picture(tmp_path / "images" / "a.png", 10), picture(tmp_path / "images" / "deep" / "b.png", 20)]


def csv(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "truth.csv"
    file.write_text(text, "utf-8")
    return file


# -- names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("class_name", "folder"),
    [
        ("t-shirt", "T Shirt"),
        ("traffic_light", "traffic light"),
        ("Café", "Cafe\u0301"),
        ("two", "2"),
        ("7", "Seven"),
        ("cats", "cat"),
        ("dog", "Dogs"),
        ("狗", "狗"),
        ("🐶", "🐶"),
    ],
)
def test_spelling_does_not_part_a_class_from_its_name(class_name: str, folder: str) -> None:
    assert matcher(["something else", class_name])(folder) == 1


def test_a_spelling_that_two_classes_share_means_neither_unless_it_is_exact() -> None:
    class_of = matcher(["glass", "glasses", "t-shirt", "tshirt"])
    assert class_of("Glass") == 0
    assert class_of("tshirt") == 3
    assert class_of("T SHIRT") is None


def test_a_name_that_is_no_class_is_none() -> None:
    assert matcher(["cat", "dog"])("horse") is None
    assert matcher(["a", "b"])("") is None


# -- sources -------------------------------------------------------------------------------------------


def test_folders_means_the_parent_of_each_image() -> None:
    truth = read_truth(Path(FOLDERS), ["/x/cat/1.png", "/x/Dogs/1.png", "/x/horse/2.png"], CLASSES)
    assert truth.labels.tolist() == [0, 1, -1]
    assert truth.outside == {"horse": 1}


@pytest.mark.parametrize("header", ["", "path,class\n", "Image,Label\n"])
def test_a_csv_gives_paths_relative_to_the_images(tmp_path: Path, images: list[str], header: str) -> None:
    file = csv(tmp_path, f"{header}a.png,cat\ndeep/b.png,dog\n")
    assert read_truth(file, images, CLASSES, folder=str(tmp_path / "images")).labels.tolist() == [0, 1]


@pytest.mark.parametrize("path", ["b.png", "deep/b.png", "images/deep/b.png", "./images/deep/b.png", "{absolute}"])
def test_a_csv_may_name_an_image_in_any_way_that_is_clear(tmp_path: Path, images: list[str], path: str) -> None:
    file = csv(tmp_path, f"{path.format(absolute=images[1])},dog\n")
    truth = read_truth(file, images, CLASSES, folder=str(tmp_path / "images"))
    assert truth.labels.tolist() == [-1, 1]
    assert truth.unknown == 1


def test_a_header_finds_its_columns_wherever_they_are(tmp_path: Path, images: list[str]) -> None:
    file = csv(tmp_path, '\ufeffid,class,"path"\n1,"dog",a.png\n')
    assert read_truth(file, images, CLASSES).labels.tolist() == [1, -1]


def test_paths_with_commas_quotes_and_newlines_are_found(tmp_path: Path) -> None:
    path = picture(tmp_path / 'a, "b"\nc.png', 1)
    file = csv(tmp_path, '"a, ""b""\nc.png",cat\n')
    assert read_truth(file, [path], CLASSES).labels.tolist() == [0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_csv_of_windows_is_read_backslashes_and_all(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "truth.csv"
    file.write_bytes("path,class\r\ncats\\a.png,cat\r\ndeep\\é.png,dog\r\n".encode(encoding))
    paths = [str(tmp_path / "images" / "cats" / "a.png"), str(tmp_path / "images" / "deep" / "é.png")]
    assert read_truth(file, paths, CLASSES, folder=str(tmp_path / "images")).labels.tolist() == [0, 1]


def test_a_file_called_with_a_backslash_is_meant_where_there_is_one(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/cats\\a.png", f"{tmp_path}/cats/a.png"]
    assert read_truth(csv(tmp_path, "cats\\a.png,cat\n"), paths, CLASSES).labels.tolist() == [0, -1]


def test_members_of_an_archive_that_windows_made_are_found_by_slashes_or_backslashes(tmp_path: Path) -> None:
    paths = [f"{tmp_path}/photos.zip/cats\\a.png", f"{tmp_path}/photos.zip/deep\\b.png"]
    table = csv(tmp_path, "cats/a.png,cat\nphotos.zip\\deep\\b.png,dog\n")
    assert read_truth(table, paths, CLASSES, folder=f"{tmp_path}/photos.zip").labels.tolist() == [0, 1]


def test_copies_of_an_image_share_the_truth_that_was_said_last(tmp_path: Path, images: list[str]) -> None:
    picture(tmp_path / "images" / "copy.png", 10)
    twins = [images[0], str(tmp_path / "images" / "copy.png"), images[1]]
    known = [facts(path) for path in twins]
    for text, labels, disputed in (
        ("copy.png,dog\n", [1, 1, -1], 0),
        ("copy.png,dog\na.png,Cat\n", [0, 0, -1], 1),
        ("a.png,cat\ncopy.png,cats\n", [0, 0, -1], 0),
    ):
        truth = read_truth(csv(tmp_path, text), twins, CLASSES, folder=str(tmp_path / "images"), images=known)
        assert (truth.labels.tolist(), truth.disputed) == (labels, disputed)


def test_a_bare_name_that_two_images_share_is_no_answer(tmp_path: Path) -> None:
    file = csv(tmp_path, "1.png,cat\nother.png,dog\n")
    truth = read_truth(file, ["/x/a/1.png", "/x/b/1.png", "/x/other.png"], CLASSES)
    assert truth.labels.tolist() == [-1, -1, 1]
    assert truth.unused == 1


def test_a_tree_is_matched_by_relative_path(tmp_path: Path) -> None:
    image = picture(tmp_path / "images" / "cat" / "a.png", 1)
    picture(tmp_path / "truth" / "cat" / "a.png", 99)
    truth = read_truth(tmp_path / "truth", [image], CLASSES, folder=str(tmp_path / "images"))
    assert truth.labels.tolist() == [0]


def test_a_tree_is_matched_by_bytes_where_its_layout_differs(tmp_path: Path, images: list[str]) -> None:
    picture(tmp_path / "truth" / "dog" / "renamed.png", 10)
    picture(tmp_path / "truth" / "cat" / "other.png", 99)
    truth = read_truth(
        tmp_path / "truth", images, CLASSES, folder=str(tmp_path / "images"), images=[facts(path) for path in images]
    )
    assert truth.labels.tolist() == [1, -1]
    assert truth.unused == 1


def test_the_same_bytes_in_two_folders_are_no_answer(tmp_path: Path, images: list[str]) -> None:
    for name in CLASSES:
        picture(tmp_path / "truth" / name / "twin.png", 10)
    picture(tmp_path / "truth" / "dog" / "b.png", 20)
    truth = read_truth(tmp_path / "truth", images, CLASSES, images=[facts(path) for path in images])
    assert truth.labels.tolist() == [-1, 1]


# -- what cannot be used -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,colour\na.png,red\n", "no column 'class' among 'path', 'colour'"),
        ("a.png\n", "line 1: expected path,class, found 1 column"),
        ("a.png,wood,0.9\n", "line 1: expected path,class, found 3 columns"),
        ("path,class\na.png\n", "line 2: expected path,class, found 1 column"),
        ("a.png,cat\na.png,dog\n", "line 2: a.png is 'dog' here and 'cat' before"),
        ("elsewhere.png,cat\n", "says nothing about any of the 2 images"),
        ("", "truth.csv: empty"),
        ("a.png,horse\n", "none of its names is a class, for example 'horse'"),
    ],
)
def test_a_csv_that_cannot_be_used_says_why(tmp_path: Path, images: list[str], text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_truth(csv(tmp_path, text), images, CLASSES, folder=str(tmp_path / "images"))
    assert message in str(caught.value)
    assert caught.value.hint


def test_what_is_no_text_is_refused(tmp_path: Path, images: list[str]) -> None:
    file = tmp_path / "truth.csv"
    for content in (b"\xff\xfea\x00.", b"a.png,cat\0\n"):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"not (readable as )?a table"):
            read_truth(file, images, CLASSES)


def test_no_such_truth_lists_what_there_could_be(tmp_path: Path, images: list[str]) -> None:
    with pytest.raises(InputError, match="no truth at") as caught:
        read_truth(tmp_path / "nowhere.csv", images, CLASSES)
    assert "folders" in caught.value.hint


def test_folder_names_that_are_no_classes_are_refused(images: list[str]) -> None:
    with pytest.raises(InputError, match="folder names: none of its names is a class, for example 'images', 'deep'"):
        read_truth(Path(FOLDERS), images, CLASSES)


def test_folders_named_as_the_classes_are_the_truth_without_asking() -> None:
    truth = implied_truth(["/p/2/a.png", "/p/3/b.png", "/p/2/c.png"], ["two", "three", "four"])
    assert truth is not None
    assert truth.labels.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "paths", [["/p/2/a.png", "/p/b.png"], ["/p/2/a.png", "/p/2/b.png"], ["/p/2/a.png", "/p/x/b.png"]]
)
def test_other_folders_mean_something_else(paths: list[str]) -> None:
    assert implied_truth(paths, ["two", "three"]) is None


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_csv_as_excel_writes_it_elsewhere_is_read(tmp_path: Path, images: list[str], separator: str) -> None:
    file = csv(tmp_path, f"path{separator}class\na.png{separator}{CLASSES[0]}\n")
    assert read_truth(file, images, CLASSES, folder=str(tmp_path / "images")).labels.tolist()[0] == 0


def test_what_is_called_a_csv_and_has_no_lines_is_not_read_into_memory(images: list[str], tmp_path: Path) -> None:
    film = tmp_path / "film.csv"
    with open(film, "wb") as file:
        file.truncate(1 << 32)
    with pytest.raises(InputError, match="a line of more than"):
        read_truth(film, images, CLASSES)


def test_each_folder_above_the_images_is_looked_at_once(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []

    def look(folder: Path) -> str:
        looked.append(folder)
        return ""

    monkeypatch.setattr(truth, "made_by", look)
    places = [str(tmp_path / f"{i}") for i in range(100)]
    assert truth.own_dataset(places) is None
    assert len(looked) == len(set(looked)) == 100 + len(Path(places[0]).parents)


@pytest.mark.parametrize("column", lists.COLUMNS)
def test_a_table_that_embed_takes_as_a_list_can_be_the_truth(images: list[str], tmp_path: Path, column: str) -> None:
    table = tmp_path / "known.csv"
    table.write_text(f"class,{column}\n" + "".join(f"cat,{path}\n" for path in images))
    assert list(lists.read_list(str(table))) == images
    known = read_truth(table, images, CLASSES)
    assert (known.labels.tolist(), known.unused) == ([0, 0], 0)
