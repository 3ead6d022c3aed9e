"""Find and read images: in folders, lists, archives and at addresses. Each image has a location.

A location is a string: an absolute path of this machine, an address such as https://host/1.jpg or s3://bucket/1.jpg,
or a member of an archive, written as though the archive were a folder: /photos.zip/cats/1.jpg.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from annotate.errors import InputError, first_few, printable
from annotate.images import Unavailable, Unreadable, formats
from annotate.images.formats import is_image, without_waiting
from annotate.records import SkippedFile
from annotate.sources import archives, lists, patterns, remote
from annotate.sources.folders import find_images
from annotate.sources.remote import is_url as is_url
from annotate.sources.sieve import FoundImages

FORMATS_HINT = (
    "annotate looks for jpg, png, bmp, gif, webp, tif, avif, ppm, tga and ico, in all folders below. A file with "
    "another ending, or none, is recognised by its first bytes"
)
SOURCES_HINT = "give a folder, a .txt, .csv, .tsv or .parquet that lists images, a .zip, a .tar, or an address"


@dataclass(frozen=True)
class Listing:
    """The images of a source, in a fixed order.

    top          what was asked for, absolute where it is on this machine
    locations    N; folders in the byte order of paths, lists in their own, archives by name and their members by name
    passed_over  what could not be looked into, and what is not read
    notes        what the user should know of the search
    """

    top: str
    locations: Sequence[str]
    passed_over: list[SkippedFile]
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class Status:
    """Size and time of an image, known without reading it. A member of an archive is as old as the archive."""

    size: int
    modified_ns: int


def listing(images: str | Path, leave_out: Path | None = None) -> Listing:
    """All images of a folder, list, archive, pattern of archives or address; entries of lists are not looked at.

    leave_out  a folder that is not searched: the workspace, whose figures are images too
    raises     InputError where it is missing, broken, lists an image twice, or holds no image,
               ComponentMissing where reading it needs an extra
    """
    asked = str(images)
    found = found_in(asked, leave_out)
    if not isinstance(found, FoundImages):
        found = FoundImages(found)  # type: ignore[arg-type]  # lines that stay on disk, perhaps
    if not found.images:
        others = f" that can be read; {found.skipped[0]['reason']}" if found.skipped else ""
        raise InputError(f"no images in {printable(asked)}{others}", hint=FORMATS_HINT)
    top = asked if is_url(asked) else os.path.abspath(asked)
    return Listing(top, found.images, found.skipped, notes_on_folders(found.folders))


def found_in(asked: str, leave_out: Path | None) -> FoundImages | Sequence[str]:
    if is_url(asked):
        return remote.find_images_below(asked)
    if not os.path.isdir(asked):
        if os.path.exists(asked) and not os.path.isfile(asked):  # reading a pipe would wait for whoever writes it
            raise InputError(f"{printable(asked)}: a pipe or a device, not a file", hint=SOURCES_HINT)
        if lists.is_list(asked):
            return lists.read_list(asked)
        if patterns.are_meant(asked):
            return archives.find_members(patterns.matching(asked))
        if os.path.exists(asked):
            patterns.refuse_compressed(asked)
            raise InputError(f"{printable(asked)}: a file, not a folder, list or archive of images", hint=SOURCES_HINT)
    return find_images(Path(asked), leave_out)


def notes_on_folders(folders: Collection[str]) -> list[str]:
    """One line on the folders that were left out because some system made them for itself."""
    if not folders:
        return []
    names = first_few(sorted({printable(folder.rpartition("/")[2]) for folder in folders}))
    return [
        f"left out {len(folders):,} folders in which the system keeps deleted files, previews and the like: {names}"
    ]


def image_status(location: str) -> Status | None:
    """Size and time of change; None for an address, where only reading can tell.

    raises  OSError where it is gone, Unreadable where it is no file
    """
    if is_url(location):
        return None
    inside = archives.split_location(location)
    if inside:
        size, modified_ns = archives.size_and_time(*inside)
        return Status(size, modified_ns)
    try:
        found = os.stat(location)
    except ValueError:  # a name that no file can have
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), location) from None
    if not stat.S_ISREG(found.st_mode):
        raise Unreadable("not a regular file")
    return Status(found.st_size, found.st_mtime_ns)


def fetch(location: str, *, tries: int = remote.TRIES) -> bytes:
    """The whole content. Threads may call it at once.

    tries   of an address that does not answer
    raises  Unreadable with the reason; Unavailable where that is the machine's or the network's, and none of the
            image; ComponentMissing where the address needs an extra
    """
    if is_url(location):
        return remote.fetch(location, tries)
    try:
        inside = archives.split_location(location)
        if inside:
            return archives.read_member(*inside)
        found = image_status(location)
        if found and found.size > archives.LARGEST_IMAGE:
            raise Unreadable(f"{found.size / archives.LARGEST_IMAGE:.1f} GiB: no image is that large")
        with open(location, "rb", opener=without_waiting) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read(size + 1)
        if len(content) != size:
            raise Unavailable("it changed while it was read")
        return content
    except OSError as error:
        raise Unavailable(failure_reason(error)) from error


def first_bytes(location: str) -> bytes:
    """Of an image on this machine: they tell its format.

    raises  OSError or Unreadable where they cannot be read
    """
    inside = archives.split_location(location)
    return archives.first_bytes(*inside) if inside else formats.first_bytes(location)


def is_there(location: str) -> bool:
    """Whether an image still exists. What lies at an address is fetched to know."""
    try:
        if image_status(location) is None:
            fetch(location)
    except (OSError, Unreadable):
        return False
    return True


def failure_reason(error: OSError) -> str:
    return error.strerror or "cannot be read"


def is_local(location: str) -> bool:
    """Whether it names a file on this machine's disk, rather than an address or a member of an archive."""
    return not is_url(location) and archives.split_location(location) is None


def path_without_query(location: str) -> str:
    """The location as a path, whose last two parts are a folder and a file name: a web address without its query."""
    if not location.lower().startswith(("http://", "https://")):
        return location
    return unquote(urlsplit(location).path, errors="replace")


def base_folder(top: str) -> str:
    """The folder that relative paths of a listing's images start from; for a list it is the folder of the list."""
    return os.path.dirname(top) if lists.is_list(top) and not os.path.isdir(top) else top


def file_name(location: str) -> str:
    """A file name for a copy. What an address does not call by an image's extension becomes a .jpg."""
    name = os.path.basename(path_without_query(location))
    if is_url(location) and not is_image(name):
        name = f"{name or 'image'}.jpg"
    return name
