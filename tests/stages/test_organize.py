from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate.errors import InputError, StaleArtifact, StorageError, WorkspaceBusy
from annotate.exports.replacing import claimed
from annotate.kernels.vectors import Ints
from annotate.progress import Silent
from annotate.records import Embeddings, ImageFacts, Note, Refinement
from annotate.stages import organize as module
from annotate.workspace import Workspace
from annotate.workspace.digests import file_digest
from annotate.workspace.plan import Plan
from tests.kernels.test_unfit import SCALE, scene

Plant = Callable[..., Workspace]
Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]

NAMES = ["red", "green", "blue/cyan"]


@pytest.fixture
def labelled(photos: Path, checkpoint: Path) -> Path:
    annotate.embed(photos, model=str(checkpoint), classes=NAMES)
    annotate.refine()
    return photos


def metadata(folder: str = "out") -> dict[str, object]:
    content: dict[str, object] = json.loads(Path(folder, "metadata.json").read_text("utf-8"))
    return content


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_image_is_in_its_class_and_in_one_split(labelled: Path) -> None:
    made = annotate.organize("out")
    labels = np.load("artifacts/refine/labels.npy")
    content = metadata()
    assert content["class_names"] == NAMES
    assert content["class_folders"] == {"red": "red", "green": "green", "blue/cyan": "blue_cyan"}
    assert content["num_images"] == 12
    assert made.splits == content["splits"]
    images = content["images"]
    assert isinstance(images, list)
    for image, label in zip(images, labels, strict=True):
        assert image["class_index"] == label
        assert image["class_name"] == NAMES[label]
        original = Path(image["original_path"])
        place = Path("out", image["organized_path"])
        assert place.read_bytes() == original.read_bytes()
        assert place.stat().st_mtime_ns == original.stat().st_mtime_ns  # copy2 keeps times
        assert Path("out/splits", image["split"], image["organized_path"]).read_bytes() == original.read_bytes()
        assert next(iter(image["similarities"])) == NAMES[label]  # the likeliest first
    assert sum(1 for path in Path("out/splits").rglob("*.png")) == 12


def packages_of(stage: str) -> dict[str, str]:
    packages: dict[str, str] = (Workspace().manifest(stage) or {})["ran_on"]["packages"]
    return packages


def test_metadata_says_where_it_came_from(labelled: Path) -> None:
    annotate.organize("out")
    provenance = metadata()["provenance"]
    assert isinstance(provenance, dict)
    assert provenance["prompts"]["red"] == ["a photo of a red"]
    assert provenance["digests"].keys() >= {"embed/embeddings.npy", "refine/labels.npy", "text/text_embeddings.npy"}
    assert provenance["config"]["organize"]["seed"] == 42
    assert len(provenance["model"]["digest"]) == 64
    assert provenance["packages"]["numpy"] == np.__version__
    used = {package for stage in ("embed", "text", "refine") for package in packages_of(stage)}
    assert provenance["packages"].keys() == used  # whatever else this process has loaded
    assert "scikit-learn" not in used
    assert np.load("out/class_prototypes.npy").shape == (3, 32)


def test_with_many_classes_the_twenty_nearest_are_kept(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint), classes=[f"class {k}" for k in range(30)])
    annotate.refine()
    annotate.organize("out")
    images = metadata()["images"]
    assert isinstance(images, list)
    assert {len(image["similarities"]) for image in images} == {20}


def test_names_never_collide(photos: Path, checkpoint: Path) -> None:
    for folder in ("p", "q", "q/r"):
        (photos / folder).mkdir()
        Image.new("RGB", (8, 8), "red").save(photos / folder / "Same.png")
        Image.new("RGB", (8, 8), "red").save(photos / folder / "same.png")
    annotate.run(photos, "out", ["x", "y"], model=str(checkpoint))
    assert sum(1 for path in Path("out/x").rglob("*.png")) + sum(1 for path in Path("out/y").rglob("*.png")) == 18


@pytest.mark.parametrize("link", ["hardlink", "symlink", "auto"])
def test_images_can_be_linked(labelled: Path, link: str) -> None:
    annotate.organize("out", link=link)
    images = metadata()["images"]
    assert isinstance(images, list)
    for image in images:
        for place in (
            Path("out", image["organized_path"]),
            Path("out/splits", image["split"], image["organized_path"]),
        ):
            assert os.path.samefile(place, image["original_path"])
            assert place.is_symlink() == (link == "symlink")


def test_a_second_run_does_nothing_and_a_changed_one_replaces(labelled: Path) -> None:
    annotate.organize("out")
    before = Path("out/manifest.json").stat().st_ino
    annotate.organize("out")
    assert Path("out/manifest.json").stat().st_ino == before
    earlier = metadata()["splits"]
    annotate.organize("out", splits=(10, 45, 45))
    assert metadata()["splits"] != earlier
    assert not [path for path in Path().iterdir() if path.name.startswith(".out")]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("add a file", "somebody added red/mine.txt"),
        ("edit a file", "somebody changed"),
        ("remove a file", "1 image was moved or removed"),
        ("lose the originals", "holds the only copy of"),
    ],
)
def test_a_folder_that_somebody_worked_in_is_refused_and_kept(labelled: Path, change: str, said: str) -> None:
    annotate.organize("out")
    if change == "add a file":
        Path("out/red/mine.txt").write_text("notes")
    elif change == "remove a file":
        next(Path("out").glob("*/*.png")).unlink()
    elif change == "edit a file":
        next(Path("out").glob("*/*.png")).write_bytes(b"retouched")
    else:
        shutil.rmtree(labelled / "red")
    before = files(Path("out"))
    with pytest.raises(InputError, match=said):
        annotate.organize("out", seed=7)
    assert files(Path("out")) == before


def test_an_image_that_was_only_renamed_is_not_lost(labelled: Path, checkpoint: Path) -> None:
    annotate.organize("out")
    (labelled / "red" / "0.png").rename(labelled / "renamed.png")
    annotate.run(labelled, "out", NAMES, model=str(checkpoint))
    assert len(list(Path("out").glob("*/renamed.png"))) == 1


def test_a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    listed = os.scandir

    def broken(path: int | str | os.PathLike[str]) -> object:
        if str(path) == "out":
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return listed(path)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(OSError, match="Too many open files"):
        annotate.organize("out")
    assert Path("out/thesis.txt").read_text() == "years of work"


def test_a_folder_that_annotate_did_not_make_is_refused(labelled: Path) -> None:
    Path("out").mkdir()
    Path("out/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="was not made by annotate"):
        annotate.organize("out", force=True)
    assert Path("out/thesis.txt").read_text() == "years of work"
    Path("out/manifest.json").write_text('{"stage": "organize"}')
    with pytest.raises(InputError, match="was not made by annotate"):
        annotate.organize("out", force=True)


def test_a_file_added_while_it_runs_is_kept(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotate.organize("out")
    write_papers = module.write_papers

    def meanwhile(*args: object) -> None:
        Path("out/red/mine.txt").write_text("notes")
        write_papers(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_papers", meanwhile)
    with pytest.raises(InputError, match=r"somebody added red/mine\.txt"):
        annotate.organize("out", seed=7)
    assert Path("out/red/mine.txt").read_text() == "notes"
    assert metadata()["num_images"] == 12


def test_an_image_edited_since_it_was_embedded_is_refused(labelled: Path) -> None:
    Image.new("RGB", (48, 40), "white").save(labelled / "red" / "0.png")
    with pytest.raises(StaleArtifact, match="edited since it was embedded"):
        annotate.organize("out")
    assert not Path("out").exists()


def test_what_a_kill_left_beside_the_dataset_is_cleaned_up(labelled: Path) -> None:
    annotate.organize("out")
    Path(".out.annotate-new/red").mkdir(parents=True)
    Path("out").rename(".out.annotate-old")
    annotate.organize("out")
    assert metadata()["num_images"] == 12
    assert not [path for path in Path().iterdir() if path.name.startswith(".out")]


def test_the_workspace_learns_of_a_dataset_that_was_whole_before_it_could_be_noted(labelled: Path) -> None:
    annotate.organize("out")
    shutil.rmtree("artifacts/organize")
    annotate.organize("out")
    assert annotate.status()["organize"].name == "fresh"


def test_two_runs_on_one_dataset_are_refused(labelled: Path) -> None:
    with claimed(Path("out")), pytest.raises(WorkspaceBusy, match="out is being written by another run"):
        annotate.organize("out")


def test_a_dry_run_of_a_fresh_dataset_touches_nothing(labelled: Path) -> None:
    annotate.organize("out")
    before = Path("out/manifest.json").stat().st_mtime_ns
    annotate.organize("out", dry_run=True)
    assert Path("out/manifest.json").stat().st_mtime_ns == before


def test_an_empty_folder_is_taken(labelled: Path) -> None:
    Path("out").mkdir()
    annotate.organize("out")
    assert metadata()["num_images"] == 12


@pytest.mark.parametrize("output", ["photos/out", "photos", ".", "artifacts", "artifacts/out"])
def test_an_output_inside_the_images_or_around_them_is_refused(labelled: Path, output: str) -> None:
    before = files(labelled)
    with pytest.raises(InputError, match="lie"):
        annotate.organize(output)
    assert files(labelled) == before


def test_an_output_in_another_dataset_is_refused(labelled: Path) -> None:
    annotate.organize("out")
    for inside in ("out/red/deeper", "out/splits"):
        with pytest.raises(InputError, match="which annotate made"):
            annotate.organize(inside)
    assert annotate.check()["dataset"] == ""


@pytest.mark.parametrize("link", ["copy", "symlink"])
def test_an_output_that_holds_images_of_the_run_is_refused(labelled: Path, checkpoint: Path, link: str) -> None:
    annotate.organize("out")
    copies = sorted(Path("out").glob("[rgb]*/*.png"))
    Path("list.txt").write_text("".join(f"{copy}\n" for copy in copies))
    annotate.embed("list.txt", model=str(checkpoint))
    annotate.refine()
    with pytest.raises(InputError, match="holds an image that is to be organized"):
        annotate.organize("out", link=link)
    assert all(copy.exists() for copy in copies)


def test_a_dry_run_touches_nothing(labelled: Path) -> None:
    made = annotate.organize("out", dry_run=True)
    assert sum(made.folders.values()) == 12
    assert not Path("out").exists()
    assert not Path("artifacts/organize").exists()


def test_an_image_that_is_gone_stops_it_before_anything_is_replaced(labelled: Path) -> None:
    (labelled / "red" / "0.png").unlink()
    with pytest.raises(InputError, match="is gone"):
        annotate.organize("out")
    assert not Path("out").exists()


def test_a_full_disk_is_noticed_before_copying(labelled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    with pytest.raises(StorageError, match="copies need"):
        annotate.organize("out")
    annotate.organize("out", link="symlink")


def test_the_split_does_not_depend_on_where_the_images_lie(labelled: Path, checkpoint: Path) -> None:
    annotate.organize("out")
    elsewhere = Path("elsewhere")
    for i, path in enumerate(sorted(labelled.rglob("*.png"), reverse=True)):
        elsewhere.mkdir(exist_ok=True)
        shutil.copy(path, elsewhere / f"{i:02}.png")
    annotate.run(elsewhere, "out2", NAMES, model=str(checkpoint), workspace="artifacts2")

    def split_of(folder: str) -> dict[str, str]:
        images = metadata(folder)["images"]
        assert isinstance(images, list)
        return {image["sha256"]: image["split"] for image in images}

    assert split_of("out") == split_of("out2")


def test_somebodys_own_files_in_the_workspace_stop_it_before_anything_is_written(labelled: Path) -> None:
    Path("artifacts/organize").mkdir()
    Path("artifacts/organize/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds what annotate did not write: thesis"):
        annotate.organize("out")
    assert Path("artifacts/organize/thesis.txt").read_text() == "years of work"
    assert not Path("out").exists()


def strangers(plant: Callable[..., Workspace], tmp_path: Path, names: list[str]) -> Ints:
    """A workspace of ten kinds of pictures with names and one without; returns the kinds."""
    x, t, kinds = scene([30] * 10 + [40], named=10)
    plant(x, t, names, SCALE)
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(len(x)):
        (folder / f"{i:05}.png").write_bytes(b"picture %d" % i)
    annotate.refine()
    return kinds


@pytest.mark.parametrize("last", ["goose", "unknown"])
def test_images_that_fit_no_name_go_apart_where_that_is_asked(plant: Plant, tmp_path: Path, last: str) -> None:
    kinds = strangers(plant, tmp_path, [*"abcdefghi", last])
    made = Workspace().read(Refinement)
    assert made.strangers is not None
    assert "fit none of the class names" in made.notes[-1]["message"]
    apart = np.flatnonzero(made.strangers >= 0)
    assert (kinds[apart] == 10).all() and len(apart) > 30

    kept = annotate.organize("kept")
    assert "unknown" not in kept.folders or last == "unknown"
    out = annotate.organize("out", unknown="apart")
    assert out.folders["unknown"] == len(apart)
    assert sum(out.folders.values()) == out.images == len(kinds)
    assert {path.name for path in Path("out/unknown").iterdir()} == {f"{i:05}.png" for i in apart}
    assert not list(Path("out/splits").glob("*/unknown"))
    assert sum(out.splits.values()) == len(kinds) - len(apart)
    told = json.loads(Path("out/metadata.json").read_text())
    assert len(told["unknown"]) == len(apart)
    assert sum(told["class_distribution"].values()) == len(kinds) - len(apart)
    assert {image["split"] for image in told["images"] if image["organized_path"].startswith("unknown/")} == {None}
    assert set(told["class_folders"].values()) == {*"abcdefghi", "goose" if last == "goose" else "unknown-2"}


def test_without_such_images_there_is_no_such_folder(plant: Plant, blobs: Blobs, tmp_path: Path) -> None:
    plant(*blobs(n=60)[:2])
    (tmp_path / "images").mkdir()
    for i in range(60):
        (tmp_path / "images" / f"{i:05}.png").write_bytes(b"%d" % i)
    annotate.refine()
    assert "unknown" not in annotate.organize("out", unknown="apart").folders


def test_an_image_whose_class_is_given_is_no_stranger(plant: Plant, tmp_path: Path) -> None:
    kinds = strangers(plant, tmp_path, list("abcdefghij"))
    paths = Workspace().read(Embeddings).image_paths
    given = np.flatnonzero(kinds == 10)[:6]
    Path("known.csv").write_text("path,class\n" + "".join(f"{paths[i]},a\n" for i in given))
    made = annotate.refine(given="known.csv")
    assert made.strangers is not None
    assert (made.strangers[given] == -1).all()
    annotate.organize("out", unknown="apart")
    assert not {f"{i:05}.png" for i in given} & {path.name for path in Path("out/unknown").iterdir()}
    assert "unknown/" in Path("out/report.txt").read_text()


def test_where_nobody_looked_for_strangers_that_is_told(plant: Plant, tmp_path: Path) -> None:
    strangers(plant, tmp_path, list("abcdefghij"))
    annotate.refine(method="dynamic")
    watching = Watching()
    annotate.organize("out", unknown="apart", progress=watching)
    assert any("nobody looked" in note["message"] for note in watching.notes)


def flip_a_byte(path: Path) -> None:
    """Change a byte and nothing else: size and times are those from before."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def a_copy(folder: str = "out") -> Path:
    return next(path for path in sorted(Path(folder).glob("*/*.png")))


@pytest.mark.parametrize("force", [False, True])
def test_an_edited_copy_that_kept_size_and_time_is_not_replaced(labelled: Path, force: bool) -> None:
    annotate.organize("out")
    flip_a_byte(a_copy())
    before = files(Path("out"))
    with pytest.raises(InputError, match="somebody changed"):
        annotate.organize("out", seed=42 if force else 7, force=force)
    with pytest.raises(InputError, match="somebody changed"):
        annotate.organize("out", seed=7, dry_run=True)
    assert files(Path("out")) == before


@pytest.mark.parametrize("paper", ["metadata.json", "report.txt", "class_prototypes.npy", "manifest.json"])
def test_an_edited_paper_that_kept_size_and_time_is_not_replaced(labelled: Path, paper: str) -> None:
    annotate.organize("out")
    flip_a_byte(Path("out", paper))
    before = files(Path("out"))
    with pytest.raises(InputError, match=f"somebody changed.*{paper}"):
        annotate.organize("out", seed=7)
    assert files(Path("out")) == before


def test_a_copy_that_was_only_touched_is_replaced(labelled: Path) -> None:
    annotate.organize("out")
    os.utime(a_copy())
    annotate.organize("out", seed=7)
    assert annotate.status()["organize"].name == "fresh"


def test_an_edit_while_it_runs_that_keeps_size_and_time_is_kept(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate.organize("out")
    write_papers = module.write_papers

    def meanwhile(*args: object) -> None:
        flip_a_byte(a_copy())
        write_papers(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_papers", meanwhile)
    with pytest.raises(InputError, match="somebody changed"):
        annotate.organize("out", seed=7)


def test_a_copy_of_an_original_that_changed_and_kept_size_and_time_is_refused(labelled: Path) -> None:
    flip_a_byte(next(labelled.rglob("*.png")))
    with pytest.raises(StaleArtifact, match="was edited since it was embedded"):
        annotate.organize("out")
    assert not Path("out").exists()


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_an_edit_of_the_image_itself_does_not_hinder_replacing_links_to_it(
    labelled: Path, checkpoint: Path, link: str
) -> None:
    annotate.organize("out", link=link)
    image = next(labelled.rglob("*.png"))
    Image.new("RGB", (48, 40), "white").save(image)
    annotate.embed(labelled, model=str(checkpoint))
    annotate.refine()
    annotate.organize("out", link=link)
    assert annotate.check()["dataset"] == ""


def test_a_link_that_somebody_led_elsewhere_is_not_replaced(labelled: Path) -> None:
    annotate.organize("out", link="symlink")
    link, other = a_copy(), Path("mine.png").absolute()
    other.write_bytes(b"mine")
    link.unlink()
    link.symlink_to(other)
    with pytest.raises(InputError, match="somebody changed"):
        annotate.organize("out", link="symlink", seed=7)


@pytest.mark.parametrize(
    "kept_by_systems", [".DS_Store", "Thumbs.db", "desktop.ini", "red/._0.png", "red/@eaDir/x.jpg"]
)
def test_what_systems_strew_about_is_nobodys_work(labelled: Path, kept_by_systems: str) -> None:
    annotate.organize("out")
    litter = Path("out", a_copy().parent.name if "/" in kept_by_systems else "", kept_by_systems.removeprefix("red/"))
    litter.parent.mkdir(exist_ok=True)
    litter.write_bytes(b"litter")
    assert annotate.status()["organize"].name == "fresh"
    assert annotate.check()["dataset"] == ""
    annotate.organize("out", seed=7)
    assert not litter.exists()


def test_a_folder_of_nothing_but_litter_is_taken(labelled: Path) -> None:
    Path("out").mkdir()
    Path("out/.DS_Store").write_bytes(b"litter")
    annotate.organize("out")
    assert metadata()["num_images"] == 12


def test_a_name_without_images_has_no_folder(labelled: Path, checkpoint: Path) -> None:
    annotate.organize("out")
    content = metadata()
    counts, folders = content["class_distribution"], content["class_folders"]
    assert isinstance(counts, dict) and isinstance(folders, dict)
    assert 0 in counts.values()
    assert {path.name for path in Path("out").iterdir() if path.is_dir()} == {
        "splits", *(folders[name] for name, count in counts.items() if count)
    }  # fmt: skip
    assert all(any(folder.iterdir()) for folder in Path("out").rglob("*") if folder.is_dir())


def test_every_copy_has_an_ending_that_loaders_know(labelled: Path, checkpoint: Path) -> None:
    jpeg = labelled / "red" / "phone.jfif"
    Image.new("RGB", (40, 40), "red").save(jpeg, "JPEG")
    (labelled / "red" / "1.png").rename(labelled / "red" / "bare")
    (labelled / "red" / "2.png").rename(labelled / "red" / "2.png_large")
    annotate.run(labelled, "out", NAMES, model=str(checkpoint))
    names = {path.name for path in Path("out").glob("*/*") if path.is_file()}
    assert {"phone.jfif.jpg", "bare.png", "2.png_large.png", "0.png"} <= names


def test_a_split_of_zero_percent_has_no_folder(labelled: Path) -> None:
    annotate.organize("out", splits=(80, 20, 0))
    assert {path.name for path in Path("out/splits").iterdir()} == {"train", "val"}


# -- loaders -------------------------------------------------------------------------------------------


def as_torchvision(folder: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """Classes and samples as ImageFolder finds them: every folder is a class and must hold an image."""
    classes = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    assert classes
    samples = []
    for index, name in enumerate(classes):
        found = [str(Path(here, file)) for here, _, names in os.walk(folder / name) for file in sorted(names)]
        assert found, f"Found no valid file for the classes {name}"
        samples += [(path, index) for path in found if path.lower().endswith((".jpg", ".jpeg", ".png", ".webp"))]
    return classes, samples


def as_hugging_face(folder: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """As the imagefolder of `datasets` does: the folder that an image lies in is its label; the labels are sorted."""
    found = sorted(str(path) for path in folder.rglob("*.png"))
    classes = sorted({Path(path).parent.name for path in found})
    return classes, [(path, classes.index(Path(path).parent.name)) for path in found]


def as_keras(folder: Path) -> tuple[list[str], list[tuple[str, int]]]:
    """As image_dataset_from_directory does: the sorted folders that do not begin with a dot."""
    classes = [name for name in sorted(os.listdir(folder)) if (folder / name).is_dir() and not name.startswith(".")]
    samples = [
        (str(path), index)
        for index, name in enumerate(classes)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix in (".bmp", ".gif", ".jpeg", ".jpg", ".png")
    ]
    return classes, samples


@pytest.mark.parametrize("walk", [as_torchvision, as_hugging_face, as_keras])
def test_loaders_number_classes_alike_in_every_split_and_as_metadata_says(
    plant: Plant, blobs: Blobs, tmp_path: Path, walk: Callable[[Path], tuple[list[str], list[tuple[str, int]]]]
) -> None:
    planted(plant, blobs, tmp_path, n=400, names=["zebra", "Ant", "ape", "éland", "🐶"])
    annotate.organize("out")
    content = metadata()
    numbers, images = content["class_to_idx"], content["images"]
    assert isinstance(numbers, dict) and isinstance(images, list)
    assert content["missing_in_splits"] == {}
    told = {f"out/splits/{image['split']}/{image['organized_path']}": image["loader_index"] for image in images}
    seen: dict[str, int] = {}
    for split in ("train", "val", "test"):
        classes, samples = walk(Path("out/splits", split))
        assert {name: index for index, name in enumerate(classes)} == numbers
        seen |= dict(samples)
    assert seen == told
    for image in images:
        assert numbers[image["organized_path"].split("/")[0]] == image["loader_index"]


def planted(plant: Plant, blobs: Blobs, tmp_path: Path, n: int, names: list[str]) -> None:
    """Labelled images of as many kinds as there are names, about as many of each."""
    x, t, _ = blobs(n=n, k=len(names))
    plant(x, t, names)
    (tmp_path / "images").mkdir()
    for i in range(n):
        (tmp_path / "images" / f"{i:05}.png").write_bytes(b"%d" % i)
    annotate.refine(method="direct")


class Watching(Silent):
    """Keeps the notes that it is given."""

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def note(self, note: Note) -> None:
        self.notes.append(note)


def test_a_class_that_is_too_small_for_every_split_is_named(plant: Plant, blobs: Blobs, tmp_path: Path) -> None:
    planted(plant, blobs, tmp_path, n=7, names=["cat", "dog", "owl", "ape", "fox"])
    watching = Watching()
    annotate.organize("out", progress=watching)
    content = metadata()
    counts, missing = content["class_distribution"], content["missing_in_splits"]
    assert isinstance(counts, dict) and isinstance(missing, dict)
    for split in ("train", "val", "test"):
        there = {path.parent.name for path in Path("out/splits", split).glob("*/*.png")}
        assert missing.get(split, []) == [name for name in counts if counts[name] and name not in there]
    assert missing["val"]
    assert f"val has none of {missing['val'][0]}" in watching.notes[-1]["message"]
    assert f"splits/val has no image of {missing['val'][0]}" in Path("out/report.txt").read_text()


def test_copies_with_other_labels_lie_in_one_split(plant: Plant, blobs: Blobs, tmp_path: Path) -> None:
    planted(plant, blobs, tmp_path, n=60, names=["cat", "dog"])
    labels = np.load("artifacts/refine/labels.npy")
    images = Path("images")
    for i in range(0, 60, 4):  # a quarter of the pictures twice, once of each class
        assert labels[i] != labels[i + 1]
        shutil.copy(images / f"{i:05}.png", images / f"{i + 1:05}.png")
    manifest = Workspace().manifest("embed")
    assert manifest
    workspace, record = Workspace(), Workspace().read(Embeddings)
    facts = [image_facts(Path(path)) for path in record.image_paths]
    with workspace.lock():
        workspace.publish(
            Plan("embed", manifest["version"], manifest["config"]), replace(record, images=facts), ran_on={}
        )
    annotate.organize("out")
    told = metadata()["images"]
    assert isinstance(told, list)
    splits: dict[str, set[str]] = {}
    for image in told:
        splits.setdefault(image["sha256"], set()).add(image["split"])
    assert len(splits) == 45
    assert all(len(found) == 1 for found in splits.values())


def image_facts(path: Path) -> ImageFacts:
    status = path.stat()
    return {"size": status.st_size, "modified_ns": status.st_mtime_ns, "digest": file_digest(path)}


def test_a_pipe_called_like_a_manifest_is_not_waited_for(labelled: Path) -> None:
    Path("pipes").mkdir()
    os.mkfifo("pipes/manifest.json")
    with pytest.raises(InputError, match="was not made by annotate"):
        annotate.organize("pipes")


def split_of_each() -> dict[str, str]:
    """Split of each image, by its original path relative to where it is run."""
    told = metadata()["images"]
    assert isinstance(told, list)
    return {os.path.relpath(image["original_path"]): image["split"] for image in told}


def test_images_of_a_folder_lie_in_one_split_where_somebody_asks(labelled: Path) -> None:
    annotate.organize("out", group_by="folder", splits=(40, 30, 30))
    folders: dict[str, set[str]] = {}
    for path, split in split_of_each().items():
        folders.setdefault(os.path.dirname(path), set()).add(split)
    assert len(folders) == 3
    assert all(len(splits) == 1 for splits in folders.values())
    annotate.organize("out", splits=(40, 30, 30))
    assert len({split for path, split in split_of_each().items() if "red" in path}) > 1


def test_images_with_one_value_in_a_column_lie_in_one_split(photos: Path, checkpoint: Path) -> None:
    rows = [f"{path.relative_to(photos.parent)},{path.stem}" for path in sorted(photos.rglob("*.png"))]
    Path("list.csv").write_text("\n".join(["path,Patient", *rows]))
    annotate.embed("list.csv", model=str(checkpoint), classes=NAMES)
    annotate.refine()
    annotate.organize("out", group_by="patient", splits=(40, 30, 30))
    patients: dict[str, set[str]] = {}
    for path, split in split_of_each().items():
        patients.setdefault(Path(path).stem, set()).add(split)
    assert len(patients) == 4
    assert all(len(splits) == 1 for splits in patients.values())
    with pytest.raises(InputError, match="no column 'doctor' among 'path', 'Patient'"):
        annotate.organize("out", group_by="doctor")


def test_further_images_move_none(labelled: Path, checkpoint: Path) -> None:
    annotate.organize("out", splits=(40, 30, 30))
    before = split_of_each()
    rng = np.random.default_rng(1)
    for i in range(10, 30):
        Image.fromarray(rng.integers(0, 255, (40, 48, 3), np.uint8)).save(labelled / "red" / f"{i}.png")
    annotate.embed(labelled, model=str(checkpoint), classes=NAMES)
    annotate.refine()
    annotate.organize("out", splits=(40, 30, 30))
    after = split_of_each()
    assert len(after) == 32
    assert {path: after[path] for path in before} == before
