from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from annotate.embedding.ledger import FolderStore
from annotate.encoders.weights import download
from annotate.errors import InputError
from annotate.exports.replacing import claimed
from annotate.workspace import Workspace, opening
from annotate.workspace.arrays import RowsFile
from annotate.workspace.artifacts import write_bytes, write_lines
from annotate.workspace.locks import one_at_a_time
from annotate.workspace.opening import news_of_the_disk, opened, replacing_file, set_time, sync
from annotate.workspace.plan import Plan

SECRET = b"somebody's only copy"


def symbolic(target: Path, place: Path) -> None:
    place.symlink_to(target)


def hard(target: Path, place: Path) -> None:
    os.link(target, place)


def use(lock: object) -> None:
    with lock:  # type: ignore[attr-defined]
        pass


WRITERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a file of a stage": ("x.json", lambda place: write_bytes(place, b"[]")),
    "lines": ("x.txt", lambda place: write_lines(place, ["a"])),
    "rows": ("x.npy", lambda place: RowsFile(place, 1)),
    "the lock of a workspace": (".lock", lambda place: use(Workspace(place.parent).lock())),
    "the lock of a dataset": (".out.annotate-lock", lambda place: use(claimed(place.parent / "out"))),
    "the lock of weights": (".w.lock", lambda place: use(one_at_a_time(place))),
    "weights that come": ("w.pt.part", lambda place: download("http://127.0.0.1:9/x", place, None)),
}


@pytest.mark.parametrize("link", [symbolic, hard])
@pytest.mark.parametrize("writer", WRITERS)
def test_what_has_another_name_is_never_written(
    tmp_path: Path, writer: str, link: Callable[[Path, Path], None]
) -> None:
    (tmp_path / "place").mkdir()
    (tmp_path / "theirs").write_bytes(SECRET)
    name, write = WRITERS[writer]
    link(tmp_path / "theirs", tmp_path / "place" / name)
    with pytest.raises(InputError, match=r"link|second name") as caught:
        write(tmp_path / "place" / name)
    assert caught.value.hint
    assert (tmp_path / "theirs").read_bytes() == SECRET


def test_a_link_to_nothing_makes_no_file_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="a link"):
        write_bytes(tmp_path / "x", b"")
    assert not (tmp_path / "elsewhere").exists()


def test_a_pipe_in_the_way_does_not_hold_annotate(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    with pytest.raises(InputError, match="in the way"):
        write_bytes(tmp_path / "x", b"")


def test_a_lock_that_holds_what_somebody_wrote_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_bytes(SECRET)
    with pytest.raises(InputError, match="somebody else"), Workspace(tmp_path).lock():
        pass
    assert (tmp_path / ".lock").read_bytes() == SECRET


@pytest.mark.parametrize("linked", ["ledger", "ledger/key"])
def test_a_ledger_that_leads_elsewhere_is_neither_filled_nor_emptied(tmp_path: Path, linked: str) -> None:
    theirs = tmp_path / "theirs"
    (theirs / "key").mkdir(parents=True)
    (theirs / "key" / "photo.jpg").write_bytes(SECRET)
    place = tmp_path / linked
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(theirs if linked == "ledger" else theirs / "key")
    store = FolderStore(tmp_path / "ledger" / "key")
    for act in (store.file_names, lambda: store.write("a.json", b"{}")):
        with pytest.raises(InputError, match="a link"):
            act()
    store.clear()
    assert [path.name for path in (theirs / "key").iterdir()] == ["photo.jpg"]


def test_a_file_that_is_replaced_is_the_old_one_until_the_new_one_is_whole(tmp_path: Path) -> None:
    place = tmp_path / "x"
    place.write_text("old")

    def break_off() -> None:
        with replacing_file(place) as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "full")

    with pytest.raises(OSError, match="full"):
        break_off()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    with replacing_file(place) as file:
        file.write(b"new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("call", ["fsync", "utime"])
def test_what_a_disk_cannot_do_is_told_once_and_annotate_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EINVAL, "this disk cannot do that")

    monkeypatch.setattr(opening, "_lacks", {})
    monkeypatch.setattr(opening, "_told", set())
    monkeypatch.setattr(os, call, refuse)
    for _ in range(3):
        write_bytes(tmp_path / "x", b"content")
        sync(tmp_path)
        set_time(tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == b"content"
    assert len(news_of_the_disk()) == 1
    assert news_of_the_disk() == []


def test_a_disk_that_fails_is_not_taken_for_one_that_lacks_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: int) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        write_bytes(tmp_path / "x", b"content")


def test_what_was_there_is_emptied_when_it_is_ours(tmp_path: Path) -> None:
    for content in (b"longer", b"short"):
        with opened(tmp_path / "x", "wb") as file:
            file.write(content)
    assert (tmp_path / "x").read_bytes() == b"short"


@pytest.mark.parametrize("role", ["new", "old"])
def test_a_link_beside_a_dataset_is_not_followed(tmp_path: Path, role: str) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "photo.jpg").write_bytes(SECRET)
    (tmp_path / f".out.annotate-{role}").symlink_to(tmp_path / "theirs")
    with claimed(tmp_path / "out"):
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    assert (tmp_path / "theirs" / "photo.jpg").read_bytes() == SECRET


def test_a_stage_that_is_found_fresh_behind_a_link_keeps_its_time(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "manifest.json").write_bytes(SECRET)
    os.utime(theirs / "manifest.json", ns=(0, 0))
    (tmp_path / "ws").mkdir()
    (tmp_path / "ws" / "embed").symlink_to(theirs)
    Workspace(tmp_path / "ws").touch(Plan("embed", 1, {}))
    assert (theirs / "manifest.json").stat().st_mtime_ns == 0
