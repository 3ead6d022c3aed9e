"""Find where each member of a tar lies. Its headers are read one after another, and none is kept in memory.

The formats are those of POSIX (ustar, pax) and GNU. tarfile takes four times as long, keeps every header, and takes a
broken one for the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

TAR_BLOCK = 512  # bytes; headers begin at multiples of it
LONGEST_EXTENSION = 1 << 20  # bytes of the extensions of a header together
LONGEST_MAP = 1 << 24  # bytes of the map of a sparse file
LONGEST_NUMBER = 20  # digits: no file has more bytes
CHECKSUM = slice(148, 156)  # of the header's bytes, with eight spaces in its own place
REGULAR, HARD_LINK, SPARSE = (b"0", b"\0", b"7"), b"1", b"S"
EMPTY = b"123456"  # links, devices, folders, pipes: no content follows, whatever size they state
PAX, GLOBAL, LONG_NAME, LONG_LINK = b"xX", b"g", b"L", b"K"


@dataclass(frozen=True, slots=True)
class TarEntry:
    """A member: `size` bytes from `offset` on. `target` is what a link leads to; a sparse file lacks its holes."""

    name: str
    kind: bytes
    offset: int
    size: int
    target: str
    sparse: bool

    @property
    def is_file(self) -> bool:
        return self.kind in REGULAR or self.sparse

    @property
    def is_hard_link(self) -> bool:
        return self.kind == HARD_LINK


def tar_entries(file: BinaryIO) -> Iterator[TarEntry]:
    """Every member, in order.

    raises  ValueError where the file is no tar, or ends too soon
    """
    end, place = file.seek(0, os.SEEK_END), 0
    if not end:
        raise ValueError("an empty file")
    said: dict[str, str] = {}  # by extensions, of the member that follows
    member = 0  # where its extensions begin
    while header := read_header(file, place):
        kind, size, place = header[156:157], octal_number(header[124:136]), place + TAR_BLOCK
        if kind in PAX + GLOBAL + LONG_NAME + LONG_LINK:
            if place + size - member > LONGEST_EXTENSION:
                raise ValueError(f"more than {LONGEST_EXTENSION:,} bytes of headers from {member:,} on")
            content = file.read(size)
            if len(content) < size:
                raise ValueError(f"ends at {end:,}, within a header")
            said |= extension(kind, content)
            place += padded(size)
            continue
        more, map_end = kind == SPARSE and header[482], place + LONGEST_MAP
        while more:  # of the map of a sparse file
            if place > map_end:
                raise ValueError(f"a sparse file whose map has no end before {place:,}")
            block, place = file.read(TAR_BLOCK), place + TAR_BLOCK
            more = len(block) == TAR_BLOCK and block[504]
        name = said.get("GNU.sparse.name") or said.get("path") or member_name(header)
        target = said.get("linkpath") or text(header[157:257])
        size = 0 if kind in EMPTY else decimal(said["size"].encode()) if "size" in said else size
        if place + padded(size) > end:
            raise ValueError(f"ends at {end:,}, within {name}")
        yield TarEntry(
            name, kind, place, size, target, kind == SPARSE or any(key.startswith("GNU.sparse.") for key in said)
        )
        member = place = place + padded(size)
        said = {}


def read_header(file: BinaryIO, place: int) -> bytes:
    """The header there; nothing at the end."""
    file.seek(place)
    header = file.read(TAR_BLOCK)
    if not header.strip(b"\0"):
        return b""
    if len(header) < TAR_BLOCK or sum(header) - sum(header[CHECKSUM]) + 8 * ord(" ") != octal_number(header[CHECKSUM]):
        raise ValueError(f"no header at {place:,}")
    return header


def extension(kind: bytes, content: bytes) -> dict[str, str]:
    """What a header's extension says: `path`, `linkpath`, `size` and the like; one for all members, none of these."""
    if kind == GLOBAL:
        return {}
    if kind in PAX:
        return dict(records(content))
    return {"path" if kind == LONG_NAME else "linkpath": text(content)}


def records(content: bytes) -> Iterator[tuple[str, str]]:
    """pax: `25 path=cats/1.jpg` and a line feed, where 25 is the length of it all."""
    place = 0
    while place < len(content) and content[place]:
        said, _, _ = content[place : place + LONGEST_NUMBER].partition(b" ")
        start, end = place + len(said) + 1, place + decimal(said)
        key, is_there, value = content[start : end - 1].partition(b"=")
        if not start < end <= len(content) or not is_there:
            raise ValueError("a broken header of pax")
        yield key.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape")
        place = end


def member_name(header: bytes) -> str:
    name, prefix = text(header[:100]), text(header[345:500])
    return f"{prefix}/{name}" if prefix and header[257:263] == b"ustar\0" else name


def text(field: bytes) -> str:
    return field.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def octal_number(field: bytes) -> int:
    """Octal digits; or, beyond what they can say, bytes.

    raises  ValueError where it is none, or below zero
    """
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.partition(b"\0")[0].strip() or b"0"
    if not digits.isdigit():
        raise ValueError(f"{digits!r} instead of a number")
    return int(digits, 8)


def decimal(digits: bytes) -> int:
    """raises  ValueError where it is no number, or below zero"""
    if not digits.isdigit() or len(digits) > LONGEST_NUMBER:
        raise ValueError(f"{digits[:LONGEST_NUMBER]!r} instead of a number")
    return int(digits)


def padded(size: int) -> int:
    return -(-size // TAR_BLOCK) * TAR_BLOCK
