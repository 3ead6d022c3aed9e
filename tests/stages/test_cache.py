from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest

from annotate.stages import cache
from annotate.stages.cache import keep_only

KEPT = {"keys": np.array(["a", "b"]), "rows": np.arange(6, dtype=np.float32).reshape(2, 3)}
PLACE = Path("kept.npz")


def test_a_cache_gives_back_what_was_put_into_it_and_is_an_npz() -> None:
    cache.write(PLACE, KEPT)
    for arrays in (cache.read(PLACE), dict(np.load(PLACE))):
        assert arrays.keys() == KEPT.keys()
        assert all((arrays[name] == KEPT[name]).all() for name in KEPT)
    assert [path.name for path in Path().iterdir()] == [PLACE.name]


def test_no_byte_of_a_cache_can_change_unnoticed() -> None:
    cache.write(PLACE, KEPT)
    whole = PLACE.read_bytes()
    for at in range(len(whole)):
        PLACE.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        assert cache.read(PLACE) == {}
        assert cache.damage(Path()) == "kept.npz: bytes differ from those that were written"
    for length in (0, 30, 64, len(whole) - 1):
        PLACE.write_bytes(whole[:length])
        assert cache.read(PLACE) == {}
        assert cache.damage(Path())


def test_a_cache_without_a_digest_as_older_versions_wrote_it_is_made_again() -> None:
    np.savez(PLACE, **KEPT)  # type: ignore[arg-type]
    assert cache.read(PLACE) == {}
    assert cache.damage(Path()) == ""  # nothing is wrong with it
    cache.write(PLACE, KEPT)
    assert cache.read(PLACE)


def forged(members: dict[str, bytes]) -> None:
    """A cache with the right digest, of whatever somebody put there."""
    with zipfile.ZipFile(PLACE, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.comment = b"0" * 64
    body = PLACE.read_bytes()[:-64]
    PLACE.write_bytes(body + hashlib.sha256(body).hexdigest().encode())


HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }"
HUGE = b"\x93NUMPY\x01\x00v\x00" + HEADER.ljust(117) + b"\n"


@pytest.mark.parametrize("content", [b"", b"text", HUGE, HUGE + b"0" * 64], ids=["empty", "text", "huge", "short"])
def test_a_forged_cache_is_none(content: bytes) -> None:
    forged({"rows.npy": content})
    assert cache.read(PLACE) == {}


def test_nothing_is_written_through_a_link() -> None:
    Path("other").mkdir()
    Path(".cache").symlink_to("other")
    cache.write(Path(".cache/kept.npz"), KEPT)
    assert not list(Path("other").iterdir())


def test_nothing_is_deleted_where_the_folder_of_caches_leads(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "neighbours-of-mine.txt").write_text("names and numbers")
    (tmp_path / ".cache").symlink_to(theirs)
    keep_only(tmp_path / ".cache" / "neighbours-16.npz", "neighbours-*")
    assert (theirs / "neighbours-of-mine.txt").exists()
