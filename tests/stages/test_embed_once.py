"""Never twice: interrupted, added to, renamed, cut into slices, an embedding computes each image once."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import annotate
from annotate import images
from annotate.embedding import decoding, ledger
from annotate.errors import InputError, MissingArtifact
from annotate.progress import Silent
from annotate.workspace import Workspace

FILES = ("embeddings.npy", "image_paths.txt", "images.json", "skipped.json")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SHARD", 4)


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each image that was decoded."""
    calls: list[int] = []

    def counted(content: bytes, *, resolution: int, max_megapixels: float) -> images.Decoded:
        calls.append(len(content))
        return images.read_image(content, resolution=resolution, max_megapixels=max_megapixels)

    monkeypatch.setattr(decoding, "read_image", counted)
    return calls


def stage(workspace: str) -> dict[str, bytes]:
    return {name: (Path(workspace) / "embed" / name).read_bytes() for name in FILES}


def whole(photos: Path, checkpoint: Path) -> dict[str, bytes]:
    """What an uninterrupted run makes."""
    annotate.embed(photos, model=str(checkpoint), workspace="whole", force=True)
    return stage("whole")


class Watcher(Silent):
    def __init__(self) -> None:
        self.ran: list[str] = []

    def started(self, stage: str, why: str) -> None:
        self.ran.append(why)


KILL = """
import os, signal, sys
import annotate
from annotate import images
from annotate.embedding import decoding, ledger

ledger.SHARD = 4
writes, moment = int(sys.argv[3]), sys.argv[4]
write, decode = ledger.FolderStore.write, decoding.read_image
left = [writes]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def write_or_die(self, name, content):
    left[0] -= 1
    if left[0] == 0 and moment == "before":
        die()
    if left[0] == 0 and moment == "within":
        os.replace = lambda *args: die()
    write(self, name, content)
    if left[0] == 0 and moment == "after":
        die()

def counted(content, **options):
    with open("decodes", "a") as file:
        file.write("x")
    return decode(content, **options)

ledger.FolderStore.write, decoding.read_image = write_or_die, counted
annotate.embed(sys.argv[1], model=sys.argv[2], sessions=1, batch_size=4)
"""


@pytest.mark.parametrize("moment", ["before", "within", "after"])
@pytest.mark.parametrize("write", [3, pytest.param(6, marks=pytest.mark.torture)])
def test_killed_at_a_write_it_goes_on_and_ends_the_same(
    photos: Path, checkpoint: Path, write: int, moment: str
) -> None:
    (photos / "red" / "broken.png").touch()
    command = [sys.executable, "-c", KILL, str(photos), str(checkpoint)]
    killed = subprocess.run([*command, str(write), moment], capture_output=True, text=True)
    assert killed.returncode == -9, killed.stderr
    done = (write if moment == "after" else write - 1) // 2  # a shard is done with its second file
    before = len(Path("decodes").read_text())
    again = subprocess.run([*command, "0", ""], capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert len(Path("decodes").read_text()) - before == 13 - 4 * done
    assert stage("artifacts") == whole(photos, checkpoint)
    assert not list(Path("artifacts").glob(".embed*"))


def test_interrupted_by_the_user_it_keeps_what_is_done(
    photos: Path, checkpoint: Path, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = ledger.Ledger.commit

    def interrupt(self: ledger.Ledger, shard: ledger.Shard, seen: ledger.ShardOutcome) -> None:
        if shard.number == 2:
            raise KeyboardInterrupt
        commit(self, shard, seen)

    monkeypatch.setattr(ledger.Ledger, "commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        annotate.embed(photos, model=str(checkpoint))
    monkeypatch.setattr(ledger.Ledger, "commit", commit)
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 4
    assert stage("artifacts") == whole(photos, checkpoint)


def test_added_images_alone_are_embedded(photos: Path, checkpoint: Path, decodes: list[int]) -> None:
    annotate.embed(photos, model=str(checkpoint))
    for i in range(3):
        Image.new("RGB", (30, 20), (90 * i, 10, 10)).save(photos / "green" / f"new{i}.png")
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 3
    assert stage("artifacts") == whole(photos, checkpoint)


def test_a_moved_image_is_recognised_and_a_changed_one_embedded(
    photos: Path, checkpoint: Path, decodes: list[int]
) -> None:
    annotate.embed(photos, model=str(checkpoint))
    (photos / "aside").mkdir()
    (photos / "red" / "0.png").rename(photos / "aside" / "first.png")
    (photos / "red" / "1.png").unlink()
    Image.new("RGB", (30, 20), "white").save(photos / "red" / "2.png")
    decodes.clear()
    made = annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 1
    assert len(made.image_paths) == 11
    assert stage("artifacts") == whole(photos, checkpoint)


def test_touched_images_are_not_decoded_and_their_time_is_written_anew(
    photos: Path, checkpoint: Path, decodes: list[int]
) -> None:
    annotate.embed(photos, model=str(checkpoint))
    for path in photos.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    decodes.clear()
    watcher = Watcher()
    annotate.embed(photos, model=str(checkpoint), progress=watcher)
    assert watcher.ran == []
    Image.new("RGB", (30, 20), "white").save(photos / "new.png")
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 1
    assert stage("artifacts") == whole(photos, checkpoint)


def test_images_added_during_an_interruption_do_not_undo_what_was_done(
    photos: Path, checkpoint: Path, decodes: list[int]
) -> None:
    assert annotate.embed_slice(photos, 2, 2, model=str(checkpoint)) == 4
    Image.new("RGB", (30, 20), "white").save(photos / "added.png")
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 9
    assert stage("artifacts") == whole(photos, checkpoint)


def test_an_image_changed_during_an_interruption_is_embedded_again(
    photos: Path, checkpoint: Path, decodes: list[int]
) -> None:
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint))
    Image.new("RGB", (30, 20), "white").save(photos / "red" / "2.png")
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 1
    assert stage("artifacts") == whole(photos, checkpoint)


def test_other_settings_start_anew(photos: Path, checkpoint: Path, decodes: list[int]) -> None:
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint))
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint), dtype="float16")
    assert len(decodes) == 12
    assert np.load("artifacts/embed/embeddings.npy").dtype == np.float16


def test_by_force_all_is_done_again(photos: Path, checkpoint: Path, decodes: list[int]) -> None:
    annotate.embed(photos, model=str(checkpoint))
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint), workspace="artifacts")
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint), force=True)
    assert len(decodes) == 12


def test_only_the_skipped_are_tried_again_and_only_when_asked(
    photos: Path, checkpoint: Path, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mended", "broken"):
        (photos / f"{name}.png").write_text("not an image")
    annotate.embed(photos, model=str(checkpoint))
    status = (photos / "mended.png").stat()
    Image.new("RGB", (3, 3)).save(photos / "x.png")
    content = (photos / "x.png").read_bytes()
    (photos / "x.png").unlink()
    # As an address that answers again: nothing on the disk has changed.
    counted = vars(decoding)["read_image"]
    monkeypatch.setattr(decoding, "read_image", lambda _, **options: counted(content, **options))
    watcher = Watcher()
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint), progress=watcher)
    assert watcher.ran == []
    made = annotate.embed(photos, model=str(checkpoint), progress=watcher, retry_skipped=True)
    assert watcher.ran == ["2 skipped are tried again"]
    assert len(decodes) == 2
    assert len(made.image_paths) == 14
    assert (photos / "mended.png").stat() == status


def test_slices_put_together_are_one_run(photos: Path, checkpoint: Path) -> None:
    (photos / "blue" / "broken.png").touch()
    for number in (3, 1, 2, 2):
        annotate.embed_slice(photos, number, 3, model=str(checkpoint), ledger="book", workspace=f"w{number}")
    annotate.embed(photos, model=str(checkpoint), ledger="book", workspace="merged", merge=True)
    assert stage("merged") == whole(photos, checkpoint)
    assert not Path("book").exists()


def test_slices_meet_in_a_bucket(photos: Path, checkpoint: Path, bucket: str, decodes: list[int]) -> None:
    for number in (2, 1):
        annotate.embed_slice(photos, number, 2, model=str(checkpoint), ledger=f"{bucket}/book", workspace=f"w{number}")
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint), ledger=f"{bucket}/book", workspace="merged", merge=True)
    assert not decodes
    assert stage("merged") == whole(photos, checkpoint)
    import fsspec

    files, _ = fsspec.url_to_fs(bucket)
    files.invalidate_cache()
    assert not files.exists(f"{bucket}/book")


def test_images_in_a_bucket_are_images(photos: Path, checkpoint: Path, bucket: str, decodes: list[int]) -> None:
    import fsspec

    files, _ = fsspec.url_to_fs(bucket)
    files.put(str(photos), f"{bucket}/pictures/", recursive=True)
    made = annotate.run(f"{bucket}/pictures/", "out", ["red", "green", "blue"], model=str(checkpoint))
    np.testing.assert_array_equal(made.embeddings.embeddings, np.load(io.BytesIO(whole(photos, checkpoint)[FILES[0]])))
    assert len(list(Path("out").rglob("*.png"))) >= 12
    decodes.clear()
    annotate.embed(f"{bucket}/pictures/", model=str(checkpoint))
    assert not decodes


def test_a_place_that_refuses_is_told(photos: Path, checkpoint: Path, bucket: str) -> None:
    with pytest.raises(InputError, match="nobodys"):
        annotate.embed(photos, model=str(checkpoint), ledger="s3://nobodys/book")


def test_merging_says_what_is_missing_and_computes_nothing(photos: Path, checkpoint: Path, decodes: list[int]) -> None:
    annotate.embed_slice(photos, 1, 2, model=str(checkpoint))
    decodes.clear()
    with pytest.raises(MissingArtifact, match="1 of 3 shards are not done"):
        annotate.embed(photos, model=str(checkpoint), merge=True)
    assert not decodes
    assert annotate.embed_slice(photos, 2, 2, model=str(checkpoint)) == 4
    annotate.embed(photos, model=str(checkpoint), merge=True)
    assert len(decodes) == 4


@pytest.mark.parametrize(("number", "of"), [(0, 3), (4, 3), (1, 0)])
def test_a_slice_that_is_none_is_refused(photos: Path, checkpoint: Path, number: int, of: int) -> None:
    with pytest.raises(InputError, match="no slice"):
        annotate.embed_slice(photos, number, of, model=str(checkpoint))


def test_slices_of_other_workspaces_are_merged_where_there_was_a_run(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint), workspace="merged")
    Image.new("RGB", (30, 20), "white").save(photos / "a-new.png")
    for number in (1, 2):
        annotate.embed_slice(photos, number, 2, model=str(checkpoint), ledger="book", workspace=f"w{number}")
    annotate.embed(photos, model=str(checkpoint), ledger="book", workspace="merged", merge=True)
    assert stage("merged") == whole(photos, checkpoint)


def test_sets_of_images_share_a_ledger_and_do_not_meet(photos: Path, checkpoint: Path, decodes: list[int]) -> None:
    other = photos.parent / "other"
    shutil.copytree(photos, other)
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint), ledger="book", workspace="x")
    annotate.embed(other, model=str(checkpoint), ledger="book", workspace="y")
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint), ledger="book", workspace="x", merge=True)
    assert not decodes


def test_another_model_published_meanwhile_is_not_mixed_in(
    photos: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from annotate.engines import embedding
    from tests.conftest import small_clip

    torch.save(small_clip(seed=1).state_dict(), tmp_path / "second.pt")
    annotate.embed(photos, model=str(checkpoint))
    Image.new("RGB", (30, 20), "white").save(photos / "new.png")
    load = vars(embedding)["load_sessions"]

    def publish_first(*args: object, **options: object) -> object:
        monkeypatch.setattr(embedding, "load_sessions", load)
        annotate.embed(photos, model=str(tmp_path / "second.pt"))
        return load(*args, **options)

    monkeypatch.setattr(embedding, "load_sessions", publish_first)
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint), ledger="book")
    annotate.embed(photos, model=str(checkpoint), ledger="book", workspace="other", merge=False)
    assert stage("other") == whole(photos, checkpoint)


def test_rows_of_the_last_run_say_on_what_they_were_computed(photos: Path, checkpoint: Path) -> None:
    annotate.embed(photos, model=str(checkpoint))
    before = (Workspace().manifest("embed") or {})["ran_on"]["computed_on"]
    (photos / "red" / "0.png").unlink()
    annotate.embed(photos, model=str(checkpoint))
    ran_on = (Workspace().manifest("embed") or {})["ran_on"]
    assert ran_on["computed_on"] == before != []
    assert ran_on["packages"].keys() >= {"annotate-images", "numpy", "pillow", "torch"}


def test_to_merge_is_to_compute_nothing(photos: Path, checkpoint: Path) -> None:
    with pytest.raises(InputError, match="compute nothing"):
        annotate.embed(photos, model=str(checkpoint), merge=True, force=True)


def test_a_damaged_shard_is_computed_again(photos: Path, checkpoint: Path, decodes: list[int]) -> None:
    annotate.embed_slice(photos, 1, 1, model=str(checkpoint))
    damaged = min(Path("artifacts").rglob("*.npy"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 4
    assert stage("artifacts") == whole(photos, checkpoint)


def test_nothing_is_loaded_where_nothing_is_to_be_computed(
    photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    annotate.embed(photos, model=str(checkpoint))
    (photos / "red" / "0.png").unlink()
    monkeypatch.setattr("annotate.engines.embedding.load_sessions", None)
    assert len(annotate.embed(photos, model=str(checkpoint)).image_paths) == 11


def test_large_lists_are_read_line_by_line(photos: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = annotate.embed(photos, model=str(checkpoint))
    monkeypatch.setattr("annotate.workspace.artifacts.LARGE_TEXT", 0)
    from annotate.records import Embeddings
    from annotate.workspace.lines import Lines

    read = Workspace().read(Embeddings)
    assert isinstance(read.image_paths, Lines)
    assert isinstance(read.images, Lines)
    assert read.image_paths == expected.image_paths
    assert read.images == json.loads(Path("artifacts/embed/images.json").read_text())
    (photos / "red" / "0.png").unlink()
    annotate.run(photos, "out", ["red", "green"], model=str(checkpoint))
    assert len(Workspace().read(Embeddings).images) == 11


def test_a_full_disk_is_told_and_what_is_done_is_kept(
    photos: Path, checkpoint: Path, decodes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = ledger.FolderStore.write
    left = [3]

    def full(self: ledger.FolderStore, name: str, content: bytes) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(28, "No space left on device", name)
        write(self, name, content)

    monkeypatch.setattr(ledger.FolderStore, "write", full)
    with pytest.raises(OSError, match="No space left"):
        annotate.embed(photos, model=str(checkpoint))
    left[0] = 99
    decodes.clear()
    annotate.embed(photos, model=str(checkpoint))
    assert len(decodes) == 8
    shutil.rmtree("artifacts/embed")
    assert os.listdir("artifacts") == [".lock"]


def test_a_model_that_cannot_be_loaded_leaves_no_ledger_behind(photos: Path) -> None:
    Path("broken.pt").write_bytes(b"no weights")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        annotate.embed(photos, model="broken.pt")
    assert not Path("artifacts", ".embed.ledger").exists()


@pytest.mark.parametrize("linked", [".embed.ledger", ".embed.ledger/{key}", ".embed.ledger/{key}/images"])
def test_how_many_there_are_to_embed_is_written_through_no_link(
    photos: Path, linked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("annotate.stages.embed.compute_here", interrupt)
    with pytest.raises(KeyboardInterrupt):
        annotate.embed(photos, model="tiny")
    place = Path("artifacts", ".embed.ledger")
    key = next(place.iterdir()).name
    theirs = Path("theirs")
    theirs.mkdir()
    (theirs / key).mkdir()
    (theirs / "secret").write_text("precious")
    target = {0: theirs, 1: theirs / key, 2: theirs / "secret"}[linked.count("/")]
    link = Path("artifacts", linked.format(key=key))
    shutil.rmtree(link) if link.is_dir() else link.unlink()
    link.symlink_to(target.resolve())
    with pytest.raises(InputError, match="a link"):
        annotate.embed(photos, model="tiny")
    assert (theirs / "secret").read_text() == "precious"
    assert sorted(path.name for path in theirs.rglob("*")) == sorted([key, "secret"])


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt
