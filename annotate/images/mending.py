"""Repair files whose picture is whole though the file is not: viewers show them, strict decoders refuse them."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator

PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
END_OF_JPEG = b"\xff\xd9"
SCAN, END = 0xDA, 0xD9  # markers of a JPEG, after a byte FF
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")  # neither a byte FF among the data nor a restart
MIDDLE_GREY = 128
MOST_CHUNKS = 1_000_000  # of a PNG; those of pictures are some kilobytes long
NEEDED_SIDES = (b"tRNS", b"eXIf")  # of a PNG: what is transparent, and which way is up


def mended(content: bytes) -> bytes | None:
    """The file with the same picture and the damage around it repaired; None where there is nothing to repair."""
    if content.startswith(PNG):
        return without_side_chunks(content)
    if content.startswith(JPEG):
        return with_end_mark(content)
    return None


def without_side_chunks(content: bytes) -> bytes | None:
    """A PNG without texts, profiles and further frames, which do no harm to the picture however damaged they are."""
    kept, end = [memoryview(PNG)], len(PNG)
    for start, end in itertools.islice(chunks(content), MOST_CHUNKS):
        kind, chunk = content[start + 4 : start + 8], memoryview(content)[start:end]
        if not kind.isalpha():
            return None
        if is_critical(kind) or (kind in NEEDED_SIDES and zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")):
            kept.append(chunk)
        if kind == b"IEND":
            break
    if is_critical(content[end + 4 : end + 8]):
        kept.append(memoryview(content)[end:])  # what is there of the last chunk of a file that is cut
    slim = b"".join(kept)
    return slim if len(slim) < len(content) else None


def is_critical(kind: bytes) -> bool:
    return bool(kind) and not kind[0] & 0x20


def chunks(content: bytes) -> Iterator[tuple[int, int]]:
    """Where each chunk of a PNG starts and ends, as far as they are whole."""
    start = len(PNG)
    while start + 12 <= len(content):
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        if end > len(content):
            return
        yield start, end
        start = end


def with_end_mark(content: bytes) -> bytes | None:
    """A JPEG that lacks only its end: the mark, or a part of the last row of blocks besides.

    Where the data end, libjpeg fills with grey. A picture whose last row is grey up to its middle was cut earlier.
    """
    import simplejpeg

    if content.endswith(END_OF_JPEG):
        return None
    ended = content + END_OF_JPEG[content.endswith(b"\xff") :]
    try:
        simplejpeg.decode_jpeg(ended, "GRAY")
        return ended
    except ValueError:
        if comes_in_scans(content):  # each goes over the whole picture: its last row says nothing
            return None
    try:
        if simplejpeg.decode_jpeg_header(ended)[2] not in ("Gray", "YCbCr", "RGB"):  # in inks grey is many things
            return None
        last = simplejpeg.decode_jpeg(ended, "GRAY", strict=False)[-1]
    except ValueError:
        return None
    return ended if (last[: (len(last) + 1) // 2] != MIDDLE_GREY).any() else None


# -- the scans of a JPEG -------------------------------------------------------------------------------


def comes_in_scans(content: bytes) -> bool:
    """Whether a JPEG's picture is kept whole while scan after scan goes over it: it is progressive, or in planes."""
    components, place = 0, 2
    while marker := MARKER.search(content, place):
        kind, place = content[marker.start() + 1], marker.end()
        if kind in FRAMES:
            if kind in PROGRESSIVE:
                return True
            components = content[place + 7] if place + 7 < len(content) else 0
        if kind == SCAN:
            return place + 2 < len(content) and content[place + 2] < components
        place += int.from_bytes(content[place : place + 2], "big")
    return False


def count_scans(content: bytes, most: int) -> int:
    """How many scans a JPEG has, its further pictures and thumbnails left out; not exact beyond `most`."""
    scans = content.count(bytes((0xFF, SCAN)))  # quick, and never too few
    if scans <= most:
        return scans
    scans, place = 0, 2
    while scans <= most and (marker := MARKER.search(content, place)):
        kind, place = content[marker.start() + 1], marker.end()
        scans += kind == SCAN
        if kind == END:
            break
        place += int.from_bytes(content[place : place + 2], "big")
    return scans
