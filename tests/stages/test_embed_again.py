"""What the machine or the network could not read is tried again by the next run; what the bytes cause is remembered."""

from __future__ import annotations

import errno
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate import images, sources
from annotate.embedding import decoding, ledger
from annotate.errors import InputError, MissingArtifact
from annotate.images import Unavailable, Unreadable, formats
from annotate.sources import archives, remote
from tests.stages.test_embed_once import Watcher, stage, whole
from tests.test_sources import Site

Failing = Callable[..., None]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Failing:
    """Makes opening files that are called so fail with an errno; without one they open again."""
    opens = formats.without_waiting

    def fail(name: str = "", code: int = 0) -> None:
        def refuse(path: str, flags: int) -> int:
            if name and os.path.basename(path) == name:
                raise OSError(code, os.strerror(code), path)
            return opens(path, flags)

        monkeypatch.setattr(sources, "without_waiting", refuse)

    return fail


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each image that was decoded."""
    calls: list[int] = []
    read = images.read_image

    def counted(content: bytes, **options: Any) -> images.Decoded:
        calls.append(len(content))
        return read(content, **options)

    monkeypatch.setattr(decoding, "read_image", counted)
    return calls


def rows(workspace: str = "artifacts") -> list[tuple[str, str]]:
    found = json.loads(Path(workspace, "embed/skipped.json").read_text())
    return [(Path(row["path"]).name, row["reason"]) for row in found]


CODES = [errno.EMFILE, errno.EIO, errno.ENOMEM, errno.EACCES, errno.ESTALE]


@pytest.mark.parametrize("code", CODES, ids=[errno.errorcode[code] for code in CODES])
def test_an_error_of_the_machine_is_tried_again_in_the_next_run_by_itself(
    photos: Path, checkpoint: Path, failing: Failing, decodes: list[int], code: int
) -> None:
    (photos / "red" / "0.png").rename(photos / "red" / "x.png")
    failing("x.png", code)
    annotate.embed(photos, model=str(checkpoint))
    assert rows() == [("x.png", os.strerror(code))]
    watcher = Watcher()
    annotate.embed(photos, model=str(checkpoint), progress=watcher)
    assert (watcher.ran, annotate.status()["embed"].name) == ([], "fresh")  # it failed again: nothing is new
    failing()
    assert annotate.status()["embed"].why == "what could not be read is tried again (images: 1)"
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint), progress=watcher)
    assert watcher.ran == ["what could not be read is tried again (images: 1)"]
    assert len(decodes) == 1
    assert stage("artifacts") == whole(photos, checkpoint)
    assert annotate.status()["embed"].name == "fresh"


def test_what_the_bytes_cause_is_remembered(photos: Path, checkpoint: Path, decodes: list[int]) -> None:
    (photos / "broken.png").write_text("not an image")
    annotate.embed(photos, model=str(checkpoint))
    decodes.clear()
    Image.new("RGB", (3, 3)).save(photos / "new.png")
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 1
    [row] = json.loads(Path("artifacts/embed/skipped.json").read_text())
    assert "digest" in row
    assert "again" not in row


@pytest.mark.parametrize(
    "error", [MemoryError(), Unavailable("cannot be decoded now"), RuntimeError("can't allocate memory")]
)
def test_too_little_memory_for_a_moment_costs_no_image_for_good(
    photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    size = (photos / "red" / "0.png").stat().st_size

    def short_of_memory(content: bytes, **options: Any) -> images.Decoded:
        if len(content) == size:
            raise error
        return images.read_image(content, **options)

    monkeypatch.setattr(decoding, "read_image", short_of_memory)
    annotate.embed(photos, model=str(checkpoint))
    [row] = json.loads(Path("artifacts/embed/skipped.json").read_text())
    assert row["again"] is True
    monkeypatch.setattr(decoding, "read_image", images.read_image)
    assert annotate.status()["embed"].name == "stale"
    annotate.embed(photos, model=str(checkpoint))
    assert stage("artifacts") == whole(photos, checkpoint)


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (MemoryError(), True),
        (OSError(errno.EMFILE, "Too many open files"), True),
        (OSError("out of memory error when reading image file"), True),
        (ImportError("cannot open shared object file"), True),
        (OSError("image file is truncated"), False),
        (SyntaxError("broken header"), False),
    ],
)
def test_a_decoder_that_lacks_something_says_nothing_of_the_picture(
    monkeypatch: pytest.MonkeyPatch, error: Exception, again: bool
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(Image, "open", fail)
    with pytest.raises(Unreadable) as told:
        images.read_image(b"content", resolution=8, max_megapixels=1)
    assert isinstance(told.value, Unavailable) == again


def test_a_shard_of_an_interrupted_run_is_completed_where_the_machine_had_failed(
    photos: Path, checkpoint: Path, failing: Failing, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SHARD", 4)
    (photos / "red" / "0.png").rename(photos / "red" / "x.png")
    failing("x.png", errno.EMFILE)
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint))
    failing()
    decodes.clear()
    with pytest.raises(MissingArtifact, match="1 of 3 shards are not done"):
        annotate.embed(photos, model=str(checkpoint), merge=True)
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint))
    annotate.embed(photos, model=str(checkpoint), merge=True)
    assert len(decodes) == 1
    assert stage("artifacts") == whole(photos, checkpoint)


def test_slices_whose_failures_last_are_merged(photos: Path, checkpoint: Path, failing: Failing) -> None:
    (photos / "red" / "0.png").rename(photos / "red" / "x.png")
    failing("x.png", errno.EACCES)
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint))
    annotate.embed(photos, model=str(checkpoint), merge=True)
    assert rows() == [("x.png", "Permission denied")]


def test_slices_agree_on_what_is_to_be_done_where_only_one_machine_can_read_it(
    photos: Path, checkpoint: Path, failing: Failing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "SHARD", 1)
    (photos / "red" / "0.png").rename(photos / "red" / "x.png")
    failing("x.png", errno.EACCES)
    annotate.embed(photos, model=str(checkpoint))
    Image.new("RGB", (30, 20), "white").save(photos / "new.png")
    annotate.embed_slice(photos, 1, 2, model=str(checkpoint))
    failing()
    annotate.embed_slice(photos, 2, 2, model=str(checkpoint))
    annotate.embed(photos, model=str(checkpoint), merge=True)
    assert stage("artifacts") == whole(photos, checkpoint)


@pytest.mark.parametrize("kind", ["list", "archive"])
def test_so_it_is_in_lists_and_archives(
    photos: Path, checkpoint: Path, failing: Failing, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (photos / "red" / "0.png").rename(photos / "red" / "x.png")
    paths = sorted(photos.rglob("*.png"))
    if kind == "list":
        Path("source.txt").write_text("".join(f"{path}\n" for path in paths))
        failing("x.png", errno.EIO)
    else:
        with zipfile.ZipFile("source.zip", "w") as archive:
            for path in paths:
                archive.write(path, path.relative_to(photos))
        read = archives.read_member

        def refuse(archive: str, name: str) -> bytes:
            if name.endswith("x.png"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return read(archive, name)

        monkeypatch.setattr(archives, "read_member", refuse)
    source = "source.txt" if kind == "list" else "source.zip"
    annotate.embed(source, model=str(checkpoint))
    assert rows() == [("x.png", "Input/output error")]
    if kind == "list":
        failing()
    else:
        monkeypatch.setattr(archives, "read_member", read)
    assert annotate.status()["embed"].name == "stale"
    made = annotate.embed(source, model=str(checkpoint))
    assert (len(made.image_paths), made.skipped) == (12, [])


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(remote, "PAUSE", 0.01)
    with Site().running() as site:
        yield site


def test_an_address_that_did_not_answer_is_asked_again_and_one_that_is_gone_is_not(
    photos: Path, checkpoint: Path, site: Site
) -> None:
    content = (photos / "red" / "0.png").read_bytes()
    site.answers |= {"/1.png": [(200, content)], "/closed.png": [(403, b"")], "/busy.png": [(503, b"")]}
    names = ("1.png", "busy.png", "closed.png", "gone.png")
    Path("list.txt").write_text("".join(f"{site.url}/{name}\n" for name in names))
    annotate.embed("list.txt", model=str(checkpoint))
    assert rows() == [
        ("busy.png", "503 Service Unavailable after 3 tries"),
        ("closed.png", "403 Forbidden"),
        ("gone.png", "404 Not Found"),
    ]
    assert annotate.status()["embed"].why == "what could not be read is tried again (images: 2)"
    site.answers |= {"/closed.png": [(200, content)], "/busy.png": [(200, content)]}
    site.asked.clear()
    made = annotate.embed("list.txt", model=str(checkpoint))
    assert sorted(site.asked) == ["/busy.png", "/closed.png"]
    assert len(made.image_paths) == 3
    assert annotate.status()["embed"].name == "fresh"
    np.testing.assert_array_equal(made.embeddings[0], made.embeddings[1])


def test_a_file_that_changes_while_it_is_read_is_read_again_later(
    photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download under way, say."""
    file = photos / "red" / "0.png"
    content = file.read_bytes()

    class Growing:
        st_size = len(content) - 9

    real = os.fstat
    mine = file.stat().st_ino
    monkeypatch.setattr(os, "fstat", lambda fd: Growing() if real(fd).st_ino == mine else real(fd))
    annotate.embed(photos, model=str(checkpoint))
    assert rows() == [("0.png", "it changed while it was read")]
    monkeypatch.setattr(os, "fstat", real)
    annotate.embed(photos, model=str(checkpoint))
    assert stage("artifacts") == whole(photos, checkpoint)


def test_a_file_that_vanishes_is_no_row_for_ever(photos: Path, checkpoint: Path, failing: Failing) -> None:
    failing("0.png", errno.ENOENT)
    annotate.embed(photos, model=str(checkpoint))
    assert rows() == [("0.png", "No such file or directory")] * 3
    failing()
    for name in ("red", "green", "blue"):
        (photos / name / "0.png").unlink()
    annotate.embed(photos, model=str(checkpoint))
    assert rows() == []


@pytest.mark.parametrize("what", ["9" * 5000, "9" * 18, "-1", "", "1.5", "a pipe", "a folder", "a link"])
def test_a_forged_count_of_images_beside_the_ledger_is_no_bug(photos: Path, checkpoint: Path, what: str) -> None:
    place = Path("artifacts/.embed.ledger/0123456789abcdef")
    place.mkdir(parents=True)
    (place / "x-1.json").write_text("{}")
    (place / f"{'7' * 100}-1.json").write_text("{}")
    note = place / "images"
    if what == "a pipe":
        os.mkfifo(note)
    elif what == "a folder":
        note.mkdir()
    elif what == "a link":
        note.symlink_to("images")
    else:
        note.write_text(what)
    assert annotate.status()["embed"].name == "missing"
    annotate.embed(photos, model=str(checkpoint))


def test_the_count_of_images_is_written_through_no_link(
    photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: ledger.Ledger, shard: ledger.Shard, seen: ledger.ShardOutcome) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger.Ledger, "commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        annotate.embed(photos, model=str(checkpoint))
    note = next(Path("artifacts/.embed.ledger").glob("*/images"))
    theirs = Path("theirs")
    theirs.write_text("somebody's only copy")
    note.unlink()
    note.symlink_to(theirs.absolute())
    with pytest.raises(InputError, match="link"):
        annotate.embed(photos, model=str(checkpoint))
    assert theirs.read_text() == "somebody's only copy"
