"""Find where each member of a zip lies. Its directory is read entry by entry, and none is kept in memory.

zipfile keeps an object for every entry, and believes some of what a directory says of itself.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

END = struct.Struct("<4s4H2IH")  # of the archive: disks, entries, size and place of the directory, comment
END64 = struct.Struct("<4sQ2H2L4Q")  # the same for large archives
LOCATOR64 = struct.Struct("<4sLQL")
ENTRY = struct.Struct("<4s6H3I5H2I")
LONGEST_COMMENT = 0xFFFF  # bytes
SAID_ELSEWHERE = 0xFFFFFFFF  # a number too large for its field
ENCRYPTED, UTF8 = 1, 0x800  # flags
LARGE_NUMBERS = 1  # a kind of extra field


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """A member: `packed` bytes, behind the header at `offset`, that make `size`; `inside` where they can be there."""

    name: str
    method: int
    encrypted: bool
    offset: int
    packed: int
    size: int
    crc: int
    inside: bool


def zip_entries(file: BinaryIO) -> Iterator[ZipEntry]:
    """Every member, in the order of the directory.

    raises  ValueError where the file is no zip, or its directory is broken
    """
    start, end, shift = directory(file)
    place = file.seek(start)
    while place < end:
        fixed = file.read(ENTRY.size)
        if len(fixed) < ENTRY.size or not fixed.startswith(b"PK\1\2"):
            raise ValueError(f"no entry of its directory at {place:,}")
        _, _, _, flags, method, _, _, crc, packed, size, n, more, comment, _, _, _, offset = ENTRY.unpack(fixed)
        name, extra, _ = file.read(n), file.read(more), file.read(comment)
        place += ENTRY.size + n + more + comment
        if place > end:
            raise ValueError(f"its directory ends at {end:,}, within an entry")
        if SAID_ELSEWHERE in (size, packed, offset):
            size, packed, offset = large_numbers(extra, size, packed, offset)
        offset += shift
        encrypted, inside = bool(flags & ENCRYPTED), offset + packed <= start
        yield ZipEntry(decode_name(name, flags), method, encrypted, offset, packed, size, crc, inside)


def directory(file: BinaryIO) -> tuple[int, int, int]:
    """Where it begins and ends, and how many bytes lie before the archive: a program that unpacks it, say."""
    length = file.seek(0, os.SEEK_END)
    start = max(0, length - END.size - LONGEST_COMMENT)
    file.seek(start)
    tail = file.read(END.size + LONGEST_COMMENT)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or len(tail) - found < END.size:
        raise ValueError("it has no directory")
    end = start + found
    _, disk, _, _, _, size, offset, _ = END.unpack_from(tail, found)
    if end >= LOCATOR64.size + END64.size:
        file.seek(end - LOCATOR64.size - END64.size)
        large = file.read(END64.size)
        if large.startswith(b"PK\6\6") and file.read(4) == b"PK\6\7":
            end -= LOCATOR64.size + END64.size
            disk, size, offset = END64.unpack(large)[4], *END64.unpack(large)[8:]
    if disk:
        raise ValueError("one part of several")
    if offset + size > end:
        raise ValueError(f"a directory of {size:,} bytes from {offset:,} on, in {length:,} bytes")
    return end - size, end, end - size - offset


def large_numbers(extra: bytes, *numbers: int) -> tuple[int, ...]:
    """Those that are too large for their fields, from what an entry says beyond these.

    raises  ValueError where one is missing
    """
    said = b""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        said, extra = extra[4 : 4 + length] if kind == LARGE_NUMBERS else said, extra[4 + length :]
    given = (number for (number,) in struct.iter_unpack("<Q", said[: len(said) // 8 * 8]))
    found = [next(given, -1) if number == SAID_ELSEWHERE else number for number in numbers]
    if min(found) < 0:
        raise ValueError("an entry of its directory lacks a number")
    return tuple(found)


def decode_name(name: bytes, flags: int) -> str:
    return (name.decode("utf-8", "surrogateescape") if flags & UTF8 else name.decode("cp437")).partition("\0")[0]
