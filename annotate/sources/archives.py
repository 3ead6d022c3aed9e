"""Read images inside .zip and .tar archives as though they were folders. Nothing is unpacked to the disk."""

from __future__ import annotations

import errno
import io
import os
import re
import struct
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO

from annotate.errors import InputError, printable
from annotate.images import Unreadable
from annotate.images.formats import MAGIC_BYTES, byte_order, is_tga, picture_format
from annotate.sources import own, tar, zips
from annotate.sources.sieve import FoundImages, Sieve

MOST_IMAGES = 5_000_000  # of an archive: their names are held in memory
LONGEST_NAME = 4096  # bytes of a member's: no file on a disk can have a longer path
UNPACKED_UNSEEN = 1 << 26  # bytes; what unpacks to more has to begin as a picture does
LARGEST_IMAGE = 1 << 30  # bytes of a member: no image is larger, and a small archive can claim any size
PIECE = 1 << 20  # bytes unpacked at once
BORDER = re.compile(r"\.(?:zip|tar)/", re.IGNORECASE)  # between an archive and what it holds
LEADING = re.compile(r"(?:\.?/)+")  # of a member's name: says nothing
STORED, DEFLATED = 0, 8  # methods of a zip
LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of name, length of what follows it


@dataclass(frozen=True, slots=True)
class Member:
    """`packed` bytes from `offset` on that make `size`; in a zip a header comes first, and `crc` is known.

    refused  why it is not read, or nothing
    """

    offset: int
    packed: int
    size: int
    deflated: bool = False
    crc: int | None = None
    refused: str = ""


@dataclass(frozen=True)
class ArchiveIndex:
    """The images of an archive by name, what else lies there, and when the archive changed.

    made  folders that annotate wrote, with a slash at the end, and the stage that did
    """

    archive: str
    modified_ns: int
    members: dict[str, Member] = field(default_factory=dict)
    made: dict[str, str] = field(default_factory=dict)
    sieve: Sieve = field(default_factory=Sieve)

    def add(self, name: str, member: Member, file: BinaryIO) -> None:
        """Take in a member where it is an image; `file` is the archive."""
        folder, _, last = name.rpartition("/")
        if last == own.MANIFEST:
            self.made[f"{folder}/".removeprefix("/")] = own.stage_in_manifest(
                member_start(file, member, own.MANIFEST_START)
            )
        elif len(name) > LONGEST_NAME or "\0" in name:
            self.sieve.passes_over(f"{self.archive}/{name[:99]}...", "no file can have such a name")
        elif self.sieve.takes(name, f"{self.archive}/{name}", partial(member_start, file, member)):
            self.members[name] = member
            if len(self.members) > MOST_IMAGES:
                raise InputError(
                    f"{printable(self.archive)}: more than {MOST_IMAGES:,} images",
                    hint="unpack it and give the folder, or make several archives of it",
                )


def split_location(location: str) -> tuple[str, str] | None:
    """The archive and the name within it, or None where the location is in no archive."""
    for border in BORDER.finditer(location):
        archive = location[: border.end() - 1]
        if os.path.isfile(archive):
            return archive, location[border.end() :]
    return None


# -- what they hold ------------------------------------------------------------------------------------


def find_members(files: Sequence[str]) -> FoundImages:
    """Locations of all images, by name in each archive.

    raises  InputError where an archive is broken
    """
    found = FoundImages()
    for archive in files:
        try:
            index = cached_index(archive, os.stat(archive))
        except OSError as error:
            raise InputError(f"{printable(archive)}: {error.strerror}", hint="check its permissions") from error
        over = own.in_archive(index.members, index.made)
        names = [name for name in index.members if not over or over.keys().isdisjoint(own.folders_around(name))]
        found.images += [f"{archive}/{name}" for name in sorted(names, key=byte_order)]
        found.skipped += [{"path": f"{archive}/{folder}", "reason": over[folder]} for folder in sorted(over)]
        found.skipped += sorted(index.sieve.passed_over, key=lambda row: byte_order(row["path"]))
        found.folders |= {f"{archive}/{folder}" for folder in index.sieve.folders}
    return found


def size_and_time(archive: str, name: str) -> tuple[int, int]:
    """Size of a member, and when the archive changed.

    raises  OSError where it is gone
    """
    index = checked_index(archive, os.stat(archive))
    if name not in index.members:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), f"{archive}/{name}")
    return index.members[name].size, index.modified_ns


def read_member(archive: str, name: str) -> bytes:
    """The content of a member. Every call opens the archive for itself, so that threads do not meet.

    raises  Unreadable with the reason, OSError where the archive cannot be read
    """
    with open(archive, "rb") as file:
        member = checked_index(archive, os.fstat(file.fileno())).members.get(name)
        if member is None:
            raise Unreadable(f"not in {printable(os.path.basename(archive))}")
        if member.refused:
            raise Unreadable(member.refused)
        return unpack_member(file, member)


def first_bytes(archive: str, name: str) -> bytes:
    """Of a member; none where they cannot be had.

    raises  as `read_member`
    """
    with open(archive, "rb") as file:
        member = checked_index(archive, os.fstat(file.fileno())).members.get(name)
        return member_start(file, member) if member else b""


def unpack_member(file: BinaryIO, member: Member) -> bytes:
    broken = Unreadable("broken in the archive")
    if member.deflated and member.size > UNPACKED_UNSEEN:
        start = member_start(file, member)
        if not picture_format(start) and not is_tga(start):
            raise Unreadable("not an image")
    content = read_packed(file, member, member.packed)
    if member.deflated:
        try:
            # A byte more than was declared tells a member that unpacks to more, without unpacking it all.
            content = inflated(content, member.size + 1)
        except zlib.error:
            raise broken from None
    if len(content) != member.size or (member.crc is not None and zlib.crc32(content) != member.crc):
        raise broken
    return content


def inflated(packed: bytes, most: int) -> bytes:
    """At most so many bytes of what was packed, piece by piece: at once, zlib takes twice their memory."""
    unpacker, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), io.BytesIO()
    for start in range(0, len(packed), PIECE):
        waiting, more = packed[start : start + PIECE], True
        while more and unpacked.tell() < most:
            limit = min(PIECE, most - unpacked.tell())
            more = unpacked.write(unpacker.decompress(waiting, limit)) == limit
            waiting = unpacker.unconsumed_tail
    return unpacked.getvalue()


def read_packed(file: BinaryIO, member: Member, most: int) -> bytes:
    """At most so many bytes of a member, as they lie in the archive."""
    file.seek(member.offset)
    if member.crc is not None:
        header = file.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            raise Unreadable("broken in the archive")
        _, name, more = LOCAL_HEADER.unpack(header)
        file.seek(name + more, os.SEEK_CUR)
    return file.read(most)


def member_start(file: BinaryIO, member: Member, most: int = MAGIC_BYTES) -> bytes:
    """The first bytes of a member; none where they cannot be had."""
    if member.refused:
        return b""
    try:
        content = read_packed(file, member, min(member.packed, 4 * most if member.deflated else most))
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, most) if member.deflated else content
    except (Unreadable, zlib.error):
        return b""


_indices: dict[str, tuple[tuple[int, ...], ArchiveIndex]] = {}
_indexing = threading.Lock()


def cached_index(archive: str, status: os.stat_result) -> ArchiveIndex:
    """The archive's index, read once per process and again where the file is another one.

    raises  InputError where the archive is broken
    """
    signature = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    known = _indices.get(archive)
    if known is None or known[0] != signature:
        with _indexing:
            known = _indices.get(archive)
            if known is None or known[0] != signature:
                known = _indices[archive] = signature, read_index(archive, status.st_mtime_ns)
    return known[1]


def checked_index(archive: str, status: os.stat_result) -> ArchiveIndex:
    """raises  Unreadable where the archive is broken by now"""
    try:
        return cached_index(archive, status)
    except InputError as error:
        raise Unreadable(str(error)) from error


def read_index(archive: str, modified_ns: int) -> ArchiveIndex:
    is_zip = archive.lower().endswith(".zip")
    index = ArchiveIndex(archive, modified_ns)
    try:
        with open(archive, "rb") as file, open(archive, "rb") as beside:
            (read_zip if is_zip else read_tar)(file, beside, index)
    except ValueError as error:
        raise InputError(
            f"{printable(archive)}: not a whole {'zip' if is_zip else 'tar'}: {printable(error)}",
            hint="make or download it again" if is_zip else "make or download it again, without compression",
        ) from error
    return index


def read_zip(file: BinaryIO, beside: BinaryIO, index: ArchiveIndex) -> None:
    for entry in zips.zip_entries(file):
        if not entry.name.endswith("/"):
            member = Member(entry.offset, entry.packed, entry.size, entry.method == DEFLATED, entry.crc, refused(entry))
            index.add(without_leading_slash(entry.name), member, beside)
    refuse_overlaps(index.members)


def refused(entry: zips.ZipEntry) -> str:
    if entry.encrypted:
        return "encrypted: unpack the archive with its password"
    if entry.method not in (STORED, DEFLATED):
        return "compressed in a way that is not read: repack the archive"
    return too_large(max(entry.size, entry.packed)) or ("" if entry.inside else "broken in the archive")


def refuse_overlaps(members: dict[str, Member]) -> None:
    """A few bytes that many members share unpack to any size: none is read whose bytes are another's, too."""
    end, before = 0, ""
    for name in sorted(members, key=lambda name: members[name].offset):
        member = members[name]
        if member.refused:
            continue
        if member.offset < end:
            for twin in (before, name):
                members[twin] = replace(members[twin], refused="its bytes overlap those of another file in the archive")
        if member.offset + LOCAL_HEADER.size + member.packed > end:
            end, before = member.offset + LOCAL_HEADER.size + member.packed, name


def too_large(size: int) -> str:
    return (
        f"{size / LARGEST_IMAGE:.1f} GiB: files of more than {LARGEST_IMAGE >> 30} GiB in an archive are not read"
        if size > LARGEST_IMAGE
        else ""
    )


def read_tar(file: BinaryIO, beside: BinaryIO, index: ArchiveIndex) -> None:
    """A hard link is another name of an earlier member."""
    for entry in tar.tar_entries(file):
        name = without_leading_slash(entry.name)
        if entry.is_file:
            why = "a sparse file: unpack the archive" if entry.sparse else too_large(entry.size)
            index.add(name, Member(entry.offset, entry.size, entry.size, refused=why), beside)
        elif entry.is_hard_link and without_leading_slash(entry.target) in index.members:
            index.add(name, index.members[without_leading_slash(entry.target)], beside)


def without_leading_slash(name: str) -> str:
    """A member's name without the `./` or `/` before it."""
    return LEADING.sub("", name, count=1) if name.startswith(("./", "/")) else name
