"""organize and report where images are in archives or behind addresses."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate import sources
from annotate.errors import InputError, StaleArtifact, StorageError
from annotate.records import IMPORTED, Embeddings, ImageFacts
from annotate.workspace import Workspace
from annotate.workspace.plan import Plan

Plant = Callable[..., Workspace]
NAMES = ["cat", "dog"]
N = 8


def picture(number: int) -> bytes:
    content = io.BytesIO()
    Image.new("L", (60, 60), 30 * number).save(content, "PNG")
    return content.getvalue()


PICTURES = {f"{NAMES[i % 2]}/{i // 2}.png": picture(i) for i in range(N)}  # the same file names in both folders


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def site(tmp_path: Path) -> Iterator[str]:
    """The address of a server that shows site/, which holds the pictures."""
    for name, content in PICTURES.items():
        (tmp_path / "site" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / name).write_bytes(content)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["zip", "tar", "addresses"])
def asked(request: pytest.FixtureRequest) -> str:
    """A source with eight pictures, in folders cat and dog."""
    if request.param == "zip":
        return archive("photos.zip", PICTURES)
    if request.param == "tar":
        return archive("photos.tar", PICTURES)
    url = request.getfixturevalue("site")
    Path("list.txt").write_text("".join(f"{url}/{name}?size=4/3\n" for name in PICTURES))
    return "list.txt"


def archive(file: str, pictures: dict[str, bytes]) -> str:
    if file.endswith(".zip"):
        with zipfile.ZipFile(file, "w") as members:
            for name, content in pictures.items():
                members.writestr(name, content)
    else:
        with tarfile.open(file, "w") as tar:
            for name, content in pictures.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return file


def fact_of(location: str) -> ImageFacts:
    content, status = sources.fetch(location), sources.image_status(location)
    return {
        "size": len(content),
        "modified_ns": status.modified_ns if status else 0,
        "digest": hashlib.sha256(content).hexdigest(),
    }


def labelled(plant: Plant, asked: str) -> list[str]:
    """A workspace that has embedded the source, each image nearest to the class of its folder; returns locations."""
    found = sources.listing(asked)
    kinds = [NAMES.index(sources.path_without_query(location).split("/")[-2]) for location in found.locations]
    workspace = plant(np.eye(2)[kinds] + 0.1, np.eye(2), NAMES)
    images = replace(
        workspace.read(Embeddings),
        image_paths=list(found.locations),
        images=[fact_of(location) for location in found.locations],
        folder=found.top,
    )
    workspace.publish(Plan("embed", 1, {"source": IMPORTED}), images, ran_on={})
    annotate.refine(method="direct")
    return list(found.locations)


@pytest.mark.parametrize("link", ["copy", "auto"])
def test_images_are_copied_out_of_archives_and_from_addresses(plant: Plant, asked: str, link: str) -> None:
    locations = labelled(plant, asked)
    made = annotate.organize("out", link=link)
    assert made.folders == {"cat": 4, "dog": 4}
    told = json.loads(Path("out/metadata.json").read_text())["images"]
    assert [image["original_path"] for image in told] == locations
    for image in told:
        copy = Path("out", image["organized_path"])
        assert image["organized_path"] in PICTURES
        assert copy.read_bytes() == PICTURES[image["organized_path"]]
        assert Path("out/splits", image["split"], image["organized_path"]).read_bytes() == copy.read_bytes()
        if not asked.endswith(".txt"):
            assert copy.stat().st_mtime_ns == os.stat(asked).st_mtime_ns


def test_a_second_run_does_nothing_and_a_changed_one_replaces(plant: Plant, asked: str) -> None:
    labelled(plant, asked)
    annotate.organize("out")
    before = Path("out/manifest.json").stat().st_ino
    annotate.organize("out")
    assert Path("out/manifest.json").stat().st_ino == before
    assert annotate.organize("out", splits=(50, 25, 25)).splits != {"train": 6, "val": 1, "test": 1}
    assert Path("out/manifest.json").stat().st_ino != before


@pytest.mark.parametrize("link", ["hardlink", "symlink"])
def test_what_is_no_file_cannot_be_linked(plant: Plant, asked: str, link: str) -> None:
    labelled(plant, asked)
    with pytest.raises(InputError, match="there is no file to link to") as told:
        annotate.organize("out", link=link, dry_run=True)
    assert "--link copy" in told.value.hint
    assert not Path("out").exists()


def changed(asked: str, pictures: dict[str, bytes]) -> None:
    """The source with other pictures in it."""
    if asked != "list.txt":
        archive(asked, pictures)
        os.utime(asked, ns=(1, 1))
        return
    for name in PICTURES:
        Path("site", name).unlink(missing_ok=True)
    for name, content in pictures.items():
        Path("site", name).write_bytes(content)


def test_an_image_with_other_bytes_than_those_embedded_is_refused(plant: Plant, asked: str) -> None:
    labelled(plant, asked)
    changed(asked, {**PICTURES, "dog/1.png": picture(7)})
    with pytest.raises(StaleArtifact, match=r"dog/1\.png.* was edited since it was embedded"):
        annotate.organize("out")
    assert not Path("out").exists()


def test_an_archive_that_was_written_again_with_the_same_images_will_do(plant: Plant) -> None:
    labelled(plant, archive("photos.zip", PICTURES))
    changed("photos.zip", {"new.png": picture(3), **PICTURES})
    assert annotate.organize("out").images == N


def test_an_image_that_is_gone_stops_it_before_anything_is_replaced(plant: Plant, asked: str) -> None:
    labelled(plant, asked)
    changed(asked, {name: content for name, content in PICTURES.items() if name != "dog/1.png"})
    with pytest.raises(InputError, match=r"dog/1\.png"):
        annotate.organize("out")
    assert not Path("out").exists()


def test_a_dataset_that_holds_the_only_copies_is_kept(plant: Plant, asked: str) -> None:
    labelled(plant, asked)
    annotate.organize("out")
    changed(asked, {})
    archive("others.zip", {f"{kind}/{i}.png": picture(i)[:-1] + b"?" for i in range(4) for kind in NAMES})
    labelled(plant, "others.zip")
    with pytest.raises(InputError, match="holds the only copy of"):
        annotate.organize("out")
    changed(asked, PICTURES)
    annotate.organize("out")


def test_a_full_disk_is_noticed_before_anything_is_fetched(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    labelled(plant, archive("photos.zip", PICTURES))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 99, 1))
    for link in ("copy", "auto"):
        with pytest.raises(StorageError, match="copies need"):
            annotate.organize("out", link=link)


def test_a_copys_name_is_safe_whatever_an_address_calls_it(plant: Plant, site: str) -> None:
    names = ["cat/a%2F..%2Fb%00.png", "cat/..%5Ccon?.png", "cat/%2e%2e.png", "cat/200?id=3", "dog/1.png", "dog/2.png"]
    Path("list.txt").write_text("".join(f"{site}/{name}\n" for name in names))
    workspace = plant(np.eye(2)[[0, 0, 0, 0, 1, 1]] + 0.1, np.eye(2), NAMES)
    locations = list(sources.listing("list.txt").locations)
    images = replace(workspace.read(Embeddings), image_paths=locations)
    workspace.publish(Plan("embed", 1, {"source": IMPORTED}), images, ran_on={})
    annotate.refine(method="direct")
    fetch = sources.fetch
    with pytest.MonkeyPatch.context() as patch:  # a server that has a picture wherever it is asked
        patch.setattr(sources, "fetch", lambda location, **_: picture(1) if "/cat/" in location else fetch(location))
        annotate.organize("out")
    assert {path.name for path in Path("out/cat").iterdir()} == {"b_.png", "_.._con.jpg", "_...png.jpg", "200.jpg"}


# -- report --------------------------------------------------------------------------------------------


def test_a_report_shows_images_wherever_they_are(plant: Plant, asked: str) -> None:
    labelled(plant, asked)
    summary = annotate.report(truth="folders").summary
    assert summary["truth"]["accuracy"] == 1
    page = Path("artifacts/report/report.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") >= N
    assert "None of the image files can be read" not in page


def test_folders_in_archives_and_addresses_tell_the_truth_unasked(plant: Plant, asked: str) -> None:
    labelled(plant, asked)
    assert annotate.report().summary["truth"]["source"] == "folder names"


@pytest.mark.parametrize("kind", ["csv", "tree"])
def test_a_truth_finds_images_wherever_they_are(plant: Plant, asked: str, kind: str) -> None:
    labelled(plant, asked)
    if kind == "csv":
        named = sources.listing(asked).locations if asked == "list.txt" else PICTURES
        Path("truth.csv").write_text(
            "path,class\n" + "".join(f"{name},{sources.path_without_query(name).split('/')[-2]}\n" for name in named)
        )
        truth = "truth.csv"
    else:
        truth = "truth"
        for name, content in PICTURES.items():
            Path("truth", name).parent.mkdir(parents=True, exist_ok=True)
            Path("truth", name).write_bytes(content)
    assert annotate.report(truth=truth).summary["truth"]["images"] == N
    assert annotate.report(truth=truth).summary["truth"]["accuracy"] == 1


def test_an_archive_that_is_gone_leaves_a_report_without_pictures(plant: Plant) -> None:
    labelled(plant, archive("photos.zip", PICTURES))
    Path("photos.zip").unlink()
    annotate.report()
    assert "None of the image files can be read here" in Path("artifacts/report/report.html").read_text("utf-8")
