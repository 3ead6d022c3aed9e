from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from annotate.embedding import ledger
from annotate.embedding.known import KnownImages, ShardOnDisk
from annotate.embedding.ledger import Ledger, Shard, ShardOutcome, Shards
from annotate.records import ImageFacts

KEY = "a" * 64


def seen_of(shard: Shard) -> ShardOutcome:
    facts: list[ImageFacts] = [{"size": 1, "modified_ns": i, "digest": "b" * 64} for i, _ in enumerate(shard.paths)]
    rows = np.eye(4, dtype=np.float32)[: len(shard.paths)]
    return ShardOutcome(rows, shard.paths, facts, [{"path": "x", "reason": "y"}], "cpu float32", 100.0)


def test_what_is_committed_is_read(tmp_path: Path) -> None:
    book, shard = Ledger(str(tmp_path), KEY), Shard(3, ["a", "ü\udcff"])
    book.commit(shard, seen_of(shard))
    seen = book.read(shard.name)
    assert book.done() == {shard.name}
    assert seen is not None
    np.testing.assert_array_equal(seen.rows, np.eye(4)[:2])
    assert (seen.paths, seen.images, seen.skipped) == (shard.paths, seen_of(shard).images, seen_of(shard).skipped)


def test_the_same_shard_twice_is_the_same_bytes(tmp_path: Path) -> None:
    shard = Shard(0, ["a"])
    for folder in ("x", "y", "y"):
        Ledger(str(tmp_path / folder), KEY).commit(shard, seen_of(shard))
    one, other = (sorted((tmp_path / folder).rglob("*.*")) for folder in ("x", "y"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]
    assert len(one) == 2


def test_a_shard_of_other_paths_or_settings_is_another(tmp_path: Path) -> None:
    book = Ledger(str(tmp_path), KEY)
    book.commit(Shard(0, ["a", "b"]), seen_of(Shard(0, ["a", "b"])))
    assert Shard(0, ["a", "c"]).name not in book.done()
    assert Shard(0, ["ab"]).name != Shard(0, ["a", "b"]).name
    assert not Ledger(str(tmp_path), "c" * 64).done()


@pytest.mark.parametrize("suffix", [".npy", ".json"])
@pytest.mark.parametrize("damage", ["cut", "flip", "gone", "empty"])
def test_a_damaged_shard_counts_as_not_done(tmp_path: Path, suffix: str, damage: str) -> None:
    book, shard = Ledger(str(tmp_path), KEY), Shard(0, ["a", "b"])
    book.commit(shard, seen_of(shard))
    [path] = tmp_path.rglob(f"*{suffix}")
    content = bytearray(path.read_bytes())
    if damage == "gone":
        path.unlink()
    else:
        content[len(content) // 2] ^= 1
        path.write_bytes({"cut": bytes(content[:-9]), "flip": bytes(content), "empty": b""}[damage])
    assert book.read(shard.name) is None


def test_a_cleared_ledger_leaves_nothing(tmp_path: Path) -> None:
    book, shard = Ledger(str(tmp_path / "x" / "photos"), KEY), Shard(0, ["a"])
    book.commit(shard, seen_of(shard))
    book.clear()
    assert not list(tmp_path.iterdir())
    assert not book.done()


def test_a_few_shards_are_remembered_and_no_file_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Ledger(str(tmp_path), KEY)
    shards = [Shard(i, [str(i)]) for i in range(20)]
    for shard in shards:
        book.commit(shard, seen_of(shard))
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    known = KnownImages([ShardOnDisk(book, shard.name) for shard in shards])
    for i in range(20):
        found = known.found_at(str(i), 1, 0)
        assert found is not None
        np.testing.assert_array_equal(found.row, np.eye(4)[0])
    assert len(book._last) <= ledger.REMEMBERED
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


def test_what_was_written_over_since_is_not_taken_for_another(tmp_path: Path) -> None:
    book, shard = Ledger(str(tmp_path), KEY), Shard(0, ["a", "b"])
    book.commit(shard, seen_of(shard))
    known = KnownImages([ShardOnDisk(book, shard.name)])
    assert known.found_at("b", 1, 1) is not None
    only = seen_of(Shard(0, ["b"]))
    book.commit(shard, only)
    book._last.clear()
    assert known.found_at("b", 1, 1) is None
    assert known.found_at("a", 1, 0) is None


def test_shards_are_the_images_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "SHARD", 4)
    paths = [str(i) for i in range(10)]
    shards = list(Shards(paths))
    assert [len(shard.paths) for shard in shards] == [4, 4, 2]
    assert [path for shard in shards for path in shard.paths] == paths
    assert [shard.number for shard in shards] == [0, 1, 2]
    assert Shards(paths).images == 10
    assert [shard.number for shard in Shards(paths)[1::2]] == [1]
    assert (Shards(paths)[1::2].images, Shards(paths)[::2].images, Shards(paths, [2]).images) == (4, 6, 2)
    assert Shards(paths[:8]).images == 8
    assert Shards(paths).has(shards[2].name)
    assert not Shards(paths[1:]).has(shards[2].name)
    assert not Shards(paths[:8]).has(shards[2].name)
    assert len(Shards([])) == Shards([]).images == 0
