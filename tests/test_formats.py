"""Which files are pictures: wherever they lie, whatever they are called."""

from __future__ import annotations

import io
import json
import os
import random
import socket
import tarfile
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import annotate
from annotate import sources
from annotate.images import formats, read_image
from annotate.images.formats import first_bytes, picture_format
from annotate.progress import Silent
from annotate.records import Note
from annotate.sources.folders import find_images
from annotate.sources.sieve import NO_PICTURE, Sieve


def picture(form: str = "JPEG", colour: str = "red") -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (20, 16), colour).save(content, form)
    return content.getvalue()


PICTURES = {
    "a.jpg": "JPEG", "b.jfif": "JPEG", "c.JPE": "JPEG", "d.pjpeg": "JPEG", "e.jpg_large": "JPEG", "f.mpo": "MPO",
    "g": "PNG", "h.png!d": "PNG", "i.ppm": "PPM", "j.tga": "TGA", "k.ico": "ICO", "l.dib": "DIB", "m.jpg?size=2": "GIF",
    "n.2019": "TIFF", "o~": "WEBP", "p.unknown": "BMP", "q.download": "AVIF",
}  # fmt: skip
NOT_READ = {"x.cr2": b"raw", "y": b"8BPS....", "z.page": b"<html>no picture</html>"}
REASONS = {
    "x.cr2": ".cr2 is not read: convert it to JPEG",
    "y": "PSD is not read: convert it to JPEG",
    "z.page": "not a picture: its first bytes are of no image format",
}
NO_PICTURES = "Thumbs.db a.xml b.json c.txt d.csv e.mp4 f.pdf g.XMP README .hidden desktop.ini .DS_Store"
BESIDE = dict.fromkeys(NO_PICTURES.split(), picture()) | {"empty": b""}
SYSTEM = (
    "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg", "#recycle/a.jpg", "$RECYCLE.BIN/$R1.jpg", "$Recycle.Bin/$R2.jpg",
    "__MACOSX/a.jpg", "lost+found/a.jpg", "System Volume Information/a.jpg", ".Trash-1000/files/a.jpg",
    ".thumbnails/a.jpg", ".@__thumb/a.jpg", "sub/@eaDir/b.jpg",
)  # fmt: skip


def put_all(folder: Path) -> dict[str, bytes]:
    files = {name: picture(form) for name, form in PICTURES.items()} | NOT_READ | BESIDE
    files |= dict.fromkeys(SYSTEM, picture())
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return files


def source(kind: str, bucket: str) -> str:
    """Everything above in a folder, an archive or below an address."""
    files = put_all(Path("photos"))
    if kind == "folder":
        return "photos"
    if kind == "address":
        import fsspec

        fs, _ = fsspec.url_to_fs(bucket)
        for name, content in files.items():
            fs.pipe_file(f"{bucket}/mixed/{name}", content)
        return f"{bucket}/mixed/"
    if kind == "tar":
        with tarfile.open("photos.tar", "w") as archive:
            archive.add("photos", ".")
        return "photos.tar"
    method = zipfile.ZIP_STORED if kind == "stored.zip" else zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(kind, "w", method) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return kind


@pytest.mark.parametrize("kind", ["folder", "tar", "stored.zip", "deflated.zip", "address"])
def test_every_file_is_read_or_named_or_known_to_be_no_picture(kind: str, bucket: str) -> None:
    asked = source(kind, bucket)
    found = sources.listing(asked)
    names = [os.path.basename(location) for location in found.locations]
    assert sorted(names) == sorted(PICTURES)
    assert {os.path.basename(row["path"]): row["reason"] for row in found.passed_over} == REASONS
    [note] = found.notes
    assert note.startswith("left out 11 folders in which the system keeps")
    assert "@eaDir" in note or "and 5 more" in note
    for location in found.locations:
        read_image(sources.fetch(location), resolution=8, max_megapixels=1)


def test_a_list_may_name_pictures_of_any_name(checkpoint: Path) -> None:
    put_all(Path("photos"))
    named = [*PICTURES, *NOT_READ]
    Path("list.txt").write_text("".join(f"photos/{name}\n" for name in named))
    made = annotate.embed("list.txt", model=str(checkpoint))
    assert [os.path.basename(path) for path in made.image_paths] == list(PICTURES)
    assert [os.path.basename(row["path"]) for row in made.skipped] == list(NOT_READ)


class Notes(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, note: Note) -> None:
        self.said.append(note["message"])


def test_folders_that_systems_make_are_told_in_one_line(photos: Path, checkpoint: Path) -> None:
    for name in ("@eaDir", "red/@eaDir", "#recycle"):
        (photos / name).mkdir()
        (photos / name / "x.jpg").write_bytes(picture())
    heard = Notes()
    made = annotate.embed(photos, model=str(checkpoint), progress=heard)
    assert len(made.image_paths) == 12
    assert heard.said == [
        "left out 3 folders in which the system keeps deleted files, previews and the like: #recycle, @eaDir"
    ]


def test_the_folder_that_was_asked_for_is_searched_whatever_it_is_called() -> None:
    for top in ("#recycle", "photos/lost+found"):
        Path(top).mkdir(parents=True)
        Path(top, "a.jpg").write_bytes(picture())
        assert len(sources.listing(top).locations) == 1


def test_names_that_tell_of_no_picture_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BESIDE:
        Path(name).write_bytes(picture())
    Path("empty").unlink()
    monkeypatch.setattr("annotate.sources.folders.first_bytes", lambda path: pytest.fail(path))
    walk = find_images(Path())
    assert (walk.images, walk.skipped) == ([], [])


def test_of_many_files_with_one_unknown_extension_only_the_first_are_opened() -> None:
    opened: list[int] = []
    sieve = Sieve(most_opened=5)

    def look(content: bytes) -> bytes:
        opened.append(1)
        return content

    for i in range(50):
        assert not sieve.takes(f"{i}.labels", f"/{i}.labels", lambda: look(b"text"))
        assert sieve.takes(f"{i}.shot", f"/{i}.shot", lambda: look(picture()[:32]))
    assert len(opened) == 5 + 50
    assert [row["reason"] for row in sieve.passed_over] == [NO_PICTURE] * 5 + [
        "one of 45 files that end in .labels that were not opened, because the first 5 of them are not pictures"
    ]


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "PPM", "TGA", "ICO"])
def test_a_picture_is_known_by_its_first_bytes(form: str) -> None:
    assert picture_format(picture(form)[: formats.MAGIC_BYTES])


@pytest.mark.parametrize("length", [0, 1, 17, 18, 32])
def test_noise_and_texts_are_no_pictures(length: int) -> None:
    rng = random.Random(length)
    assert not any(picture_format(rng.randbytes(length)) for _ in range(2000))
    for text in (b"BMW, Audi", b"P1 is a text? no", b"GIFTS", b"II. Act", b"\0" * 32, b"#!/bin/sh\n"):
        assert picture_format(text[:length]) in ("", "PNM")
    assert not picture_format(b"Plain text that begins with P")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_pipes_sockets_and_devices_among_images_are_not_waited_for() -> None:
    Path("photos").mkdir()
    Path("photos/a.jpg").write_bytes(picture())
    os.mkfifo("photos/pipe")
    os.mkfifo("photos/pipe.jpg")
    os.symlink("/dev/zero", "photos/zero")
    os.symlink("gone", "photos/nowhere")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("photos/socket")
        found = sources.listing("photos")
    assert [os.path.basename(path) for path in found.locations] == ["a.jpg", "pipe.jpg"]
    assert first_bytes("photos/zero") == first_bytes("photos/pipe") == b""
    assert [row["reason"] for row in found.passed_over] == ["No such file or directory"]


@pytest.mark.parametrize("name", ["list.txt", "list.csv", "photos.zip", "photos.tar", "photos"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")
def test_a_pipe_instead_of_a_source_is_told(name: str) -> None:
    os.mkfifo(name)
    with pytest.raises(annotate.InputError, match="a pipe or a device, not a file"):
        sources.listing(name)


def test_a_list_that_names_itself_a_folder_or_a_pipe_gives_rows(photos: Path, checkpoint: Path) -> None:
    os.mkfifo("pipe")
    Path("list.txt").write_text("list.txt\nphotos\npipe\nphotos/red/0.png\n")
    made = annotate.embed("list.txt", model=str(checkpoint))
    assert [row["reason"] for row in made.skipped] == ["not an image", "not a regular file", "not a regular file"]


def test_files_that_are_called_in_no_encoding_are_found_by_their_bytes() -> None:
    os.mkdir(b"photos")
    Path(os.fsdecode(b"photos/\xff\xfe")).write_bytes(picture())
    assert len(find_images(Path("photos")).images) == 1


def test_a_zero_filled_or_random_file_is_no_tga() -> None:
    rng = random.Random(0)
    for content in (bytes(1000), *(rng.randbytes(1000) for _ in range(200))):
        with pytest.raises(annotate.images.Unreadable, match=r"^not an image$"):
            read_image(content, resolution=8, max_megapixels=1)


def test_rows_of_skipped_json_name_what_is_not_read(photos: Path, checkpoint: Path) -> None:
    (photos / "IMG_1").write_bytes(b"8BPS and so on")
    (photos / "notes.txt").write_text("no row")
    annotate.embed(photos, model=str(checkpoint))
    annotate.embed(photos, model=str(checkpoint))
    assert annotate.status()["embed"].name == "fresh"
    [row] = json.loads(Path("artifacts/embed/skipped.json").read_text())
    assert row == {"path": str(photos / "IMG_1"), "reason": "PSD is not read: convert it to JPEG"}
