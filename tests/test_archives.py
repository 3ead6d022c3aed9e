"""Archives that lie: each costs a line, and neither time nor memory."""

from __future__ import annotations

import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate import sources
from annotate.errors import InputError
from annotate.images import Unreadable, formats
from annotate.sources import archives, tar, zips
from tests.test_sources import NAMES, zipped


def header(name: bytes = b"a.jpg", size: bytes = b"00000000005", kind: bytes = b"0") -> bytearray:
    """Of a member of a tar, whatever its size says."""
    block = bytearray(512)
    block[: len(name)] = name
    block[100:108] = block[108:116] = block[116:124] = b"0000644\0"
    block[124 : 124 + len(size)] = size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265] = b"ustar\00000"
    return summed(block)


def summed(block: bytearray) -> bytearray:
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return block


def padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 512)


def pax(records: bytes) -> bytes:
    return bytes(header(b"x", b"%011o" % len(records), b"x")) + padded(records)


def record(text: bytes) -> bytes:
    """With its length before it, as pax has it."""
    length = len(text) + 3
    while len(b"%d %s\n" % (length, text)) != length:
        length += 1
    return b"%d %s\n" % (length, text)


MEMBER = bytes(header()) + padded(b"photo")
END = bytes(1024)


def endless_map() -> bytes:
    first = header(kind=b"S")
    first[482] = 1
    more = bytes(504) + b"\1" + bytes(7)
    return bytes(summed(first)) + more * 40


@pytest.mark.parametrize(
    "content",
    [
        bytes(header(size=b"-0000001000")) + END,
        bytes(header(size=b"\xff" * 11 + b"\0")) + END,
        bytes(header(size=b"\x80" + b"\xff" * 11)) + END,
        bytes(header(size=b"+0000000005")) + padded(b"photo") + END,
        bytes(header(size=b"00000_00005")) + padded(b"photo") + END,
        pax(record(b"size=-1024")) + MEMBER + END,
        pax(record(b"size=1e3")) + MEMBER + END,
        pax(record("size=٣".encode())) + MEMBER + END,
        pax(record(b"size=" + b"9" * 5000)) + MEMBER + END,
        pax(record(b"size=99999999999")) + MEMBER + END,
        pax(b"0 path=a.jpg\n") + MEMBER + END,
        pax(b"-9 path=a.jpg\n") + MEMBER + END,
        pax(b"999 path=a.jpg\n") + MEMBER + END,
        pax(b"13 path a.jpg\n") + MEMBER + END,
        pax(b"nonsense") + MEMBER + END,
        pax(record(b"comment=" + b"x" * 5000)) * 300 + MEMBER + END,
        bytes(header(b"x", b"%011o" % (1 << 21), b"L")) + bytes(1 << 21) + MEMBER + END,
        bytes(header(b"x", b"00000000000", b"g")) * 3000 + MEMBER + END,
        bytes(header(b"x", b"%011o" % 9999, b"x")),
        pytest.param("map", id="a sparse map that never ends"),
    ],
)
def test_a_tar_that_lies_is_told_in_one_line(content: bytes | str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "LONGEST_MAP", 20 * 512)
    Path("x.tar").write_bytes(endless_map() if isinstance(content, str) else MEMBER + content)
    with pytest.raises(InputError, match="not a whole tar") as told:
        sources.listing("x.tar")
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300


def test_a_file_without_end_is_left_at_the_first_lie() -> None:
    """Where headers that repeat were believed, a sparse file of a terabyte would be read to its end."""
    with open("x.tar", "wb") as file:
        file.write(MEMBER + bytes(header(size=b"-0000001000")))
        file.truncate(1 << 40)
    with pytest.raises(InputError, match="not a whole tar"):
        sources.listing("x.tar")


def patched_zip(change: Callable[[bytearray, int, int], None], names: tuple[str, ...] = ("a.jpg", "b.jpg")) -> None:
    """x.zip, changed; told where its directory begins and ends."""
    zipped("x.zip", {name: b"picture of " + name.encode() for name in names})
    content = bytearray(Path("x.zip").read_bytes())
    change(content, content.index(b"PK\1\2"), content.rindex(b"PK\5\6"))
    Path("x.zip").write_bytes(content)


def lie(field: slice, value: int) -> Callable[[bytearray, int, int], None]:
    def change(content: bytearray, start: int, end: int) -> None:
        place = slice(end + field.start, end + field.stop)
        content[place] = value.to_bytes(field.stop - field.start, "little")

    return change


def zip64(entries: int, size: int, offset: int) -> Callable[[bytearray, int, int], None]:
    def change(content: bytearray, start: int, end: int) -> None:
        record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, entries, entries, size, offset)
        content[end:end] = record + struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lie(slice(12, 16), 0xFFFFFFF0),
        lie(slice(12, 16), 1 << 20),
        lie(slice(12, 16), 50),
        lie(slice(16, 20), 1 << 30),
        lie(slice(4, 6), 3),
        zip64(2, 1 << 62, 0),
        zip64(2, 1 << 62, 1 << 62),
        zip64(1 << 63, 70, 1 << 62),
        lambda content, start, end: content.__setitem__(slice(start + 28, start + 30), b"\xff\xff"),
        lambda content, start, end: content.__setitem__(slice(start + 20, start + 24), b"\xff\xff\xff\xff"),
        lambda content, start, end: content.__setitem__(slice(start, start + 4), b"PK\1\3"),
        lambda content, start, end: content.__delitem__(slice(end, None)),
    ],
)
def test_a_directory_of_a_zip_that_lies_is_told_in_one_line(change: Callable[[bytearray, int, int], None]) -> None:
    patched_zip(change)
    with pytest.raises(InputError, match="not a whole zip") as told:
        sources.listing("x.zip")
    assert "\n" not in str(told.value)


def test_a_count_of_members_that_lies_is_not_believed() -> None:
    patched_zip(lie(slice(8, 12), 0xFFFEFFFE))
    assert len(sources.listing("x.zip").locations) == 2


def test_members_that_share_their_bytes_are_not_read() -> None:
    """How a few kilobytes unpack to petabytes."""

    def share(content: bytearray, start: int, end: int) -> None:
        second = content.index(b"PK\1\2", start + 4)
        content[second + 42 : second + 46] = content[start + 42 : start + 46]

    patched_zip(share, ("a.jpg", "b.jpg", "c.jpg"))
    for location in sources.listing("x.zip").locations:
        if location.endswith("c.jpg"):
            assert sources.fetch(location) == b"picture of c.jpg"
        else:
            with pytest.raises(Unreadable, match="its bytes overlap those of another file in the archive"):
                sources.fetch(location)


@pytest.mark.parametrize("place", [20, 42])
def test_a_member_that_lies_beyond_the_archive_is_broken_alone(place: int) -> None:
    def beyond(content: bytearray, start: int, end: int) -> None:
        content[start + place : start + place + 4] = (1 << 25).to_bytes(4, "little")

    patched_zip(beyond)
    broken, whole = sources.listing("x.zip").locations
    with pytest.raises(Unreadable, match="broken in the archive"):
        sources.fetch(broken)
    assert sources.fetch(whole) == b"picture of b.jpg"


def test_what_unpacks_to_much_and_is_no_picture_is_not_unpacked() -> None:
    with zipfile.ZipFile("x.zip", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.jpg", "w") as member:
        for _ in range(archives.UNPACKED_UNSEEN // 2**20 + 1):
            member.write(bytes(2**20))
    (location,) = sources.listing("x.zip").locations
    tracemalloc.start()
    with pytest.raises(Unreadable, match="not an image"):
        sources.fetch(location)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_no_file_can_have_are_rows(kind: str) -> None:
    long = "x" * 5000 + ".jpg"
    if kind == "zip":
        zipped("x.zip", {long: b"picture", "a.jpg": b"picture"})
    else:
        Path("x.tar").write_bytes(
            b"".join(pax(record(b"path=" + name)) + MEMBER for name in (long.encode(), b"n\0ul.jpg", b"a.jpg")) + END
        )
    found = sources.listing(f"x.{kind}")
    assert [os.path.basename(location) for location in found.locations] == ["a.jpg"]
    assert {row["reason"] for row in found.passed_over} == {"no file can have such a name"}
    assert all(len(row["path"]) < 300 + len(os.getcwd()) for row in found.passed_over)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_of_more_images_than_memory_is_for_is_told(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MOST_IMAGES", 3)
    members = {f"{i}.{end}": b"" for i in range(4) for end in ("txt", "jpg")}
    if kind == "zip":
        zipped("x.zip", members)
    else:
        Path("x.tar").write_bytes(b"".join(bytes(header(name.encode(), b"00000000000")) for name in members) + END)
    with pytest.raises(InputError, match="more than 3 images") as told:
        sources.listing(f"x.{kind}")
    assert "several archives" in told.value.hint


def test_members_that_are_no_images_take_no_memory() -> None:
    with open("x.tar", "wb") as file:
        file.write(bytes(header(b"label.txt", b"00000000000")) * 3_000 + MEMBER + END)
    tracemalloc.start()
    assert len(sources.listing("x.tar").locations) == 1
    assert tracemalloc.get_traced_memory()[1] < 2**18
    tracemalloc.stop()


@given(
    st.dictionaries(NAMES, st.binary(max_size=500), min_size=0, max_size=6),
    st.binary(max_size=100),
    st.binary(max_size=40).filter(lambda comment: b"PK" not in comment),
    st.booleans(),
)
def test_the_directory_of_a_zip_is_read_as_zipfile_reads_it(
    members: dict[str, bytes], before: bytes, comment: bytes, large: bool
) -> None:
    """With a program before it, a comment behind it, and the numbers of large archives."""
    content = io.BytesIO(before)
    content.seek(0, os.SEEK_END)
    with zipfile.ZipFile(content, "a") as archive:
        archive.comment = comment
        for name, part in members.items():
            info = zipfile.ZipInfo(name)
            with archive.open(info, "w", force_zip64=large) as member:
                member.write(part)
    with zipfile.ZipFile(content) as archive:
        expected = [
            (info.filename, info.header_offset, info.compress_size, info.file_size, info.CRC)
            for info in archive.infolist()
        ]
    found = list(zips.zip_entries(content))
    assert [(e.name, e.offset, e.packed, e.size, e.crc) for e in found] == expected
    assert all(entry.inside and not entry.encrypted for entry in found)


def test_numbers_too_large_for_their_fields_are_read() -> None:
    name = b"a.jpg"
    extra = struct.pack("<2H3Q", 1, 24, 7, 5 << 32, 0)
    entry = struct.pack(
        "<4s6H3I5H2I", b"PK\1\2", 45, 45, 0, 0, 0, 0, zlib.crc32(b""), 0xFFFFFFFF, 0xFFFFFFFF, 5, len(extra), 0, 0, 0,
        0, 0xFFFFFFFF,
    )  # fmt: skip
    directory = entry + name + extra
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1, 1, len(directory), 0, 0)
    [found] = zips.zip_entries(io.BytesIO(directory + end))
    assert (found.size, found.packed, found.offset, found.inside) == (7, 5 << 32, 0, False)


def test_the_format_of_a_member_is_told_without_reading_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a", b"\xff\xd8\xff" + bytes(1 << 24))
    monkeypatch.setattr(archives, "inflated", lambda packed, most: pytest.fail("unpacked"))
    assert formats.picture_format(sources.first_bytes(f"{archive}/a")) == "JPEG"
