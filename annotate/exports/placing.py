"""Putting the images of an export where its format wants them: copied, linked, fetched, or turned upright."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path

from annotate import sources
from annotate.errors import InputError, printable
from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.copying import GONE, PLACERS, edited
from annotate.exports.dataset import Copy, is_the_original
from annotate.exports.formats import Format
from annotate.exports.upright import upright_bytes
from annotate.images import Unreadable
from annotate.progress import Advance
from annotate.workspace.digests import file_digest
from annotate.workspace.opening import set_time

WORKERS = 8  # threads that read, turn and encode; most wait for a disk or a server
AT_ONCE = 16  # images that are held
NO_TIME = 315_532_800 * 10**9  # ns, the beginning of 1980: files that annotate writes bear no time of their own


@dataclass
class Placed:
    """What has been put into an export.

    files    path in the export to the image that is there
    digests  row of an image to the sha256 of its bytes in the export
    """

    files: dict[str, Copy] = field(default_factory=dict)
    digests: dict[int, str] = field(default_factory=dict)


def place_images(form: Format, catalogue: Catalogue, link: str, new: Path, advance: Advance) -> Placed:
    """Put every image where the format has it.

    raises  InputError where one is gone, StaleArtifact where one was edited since it was embedded
    """
    places = {entry.row: place for entry in catalogue.entries if (place := form.place(catalogue, entry))}
    for folder in sorted({place.rpartition("/")[0] for place in places.values()} | {*form.folders(catalogue)}):
        (new / folder).mkdir(parents=True, exist_ok=True)
    placed = Placed()
    for entry, content in pictures([entry for entry in catalogue.entries if entry.row in places]):
        target = new / places[entry.row]
        if content is None:
            digest = linked(entry, target, link)
        else:
            target.write_bytes(content)
            set_time(target, time_of(entry))
            digest = sha256(content).hexdigest()
        placed.files[places[entry.row]] = Copy(entry.original, digest)
        placed.digests[entry.row] = digest
        advance(1)
    return placed


def linked(entry: Entry, target: Path, link: str) -> str:
    """Copy or link a file of this machine; returns the sha256 of its bytes."""
    try:
        PLACERS[link](entry.original, target)
        if target.is_symlink() and os.utime in os.supports_follow_symlinks:
            os.utime(target, ns=(NO_TIME, NO_TIME), follow_symlinks=False)
        if entry.digest and (target.is_symlink() or is_the_original(target, entry.original)):
            return entry.digest
        digest = file_digest(target)
    except FileNotFoundError:
        raise InputError(f"{printable(entry.original)} is gone", hint=GONE) from None
    if entry.digest and digest != entry.digest:
        raise edited(entry.original)
    return digest


def pictures(entries: Iterable[Entry], *, always: bool = False) -> Iterator[tuple[Entry, bytes | None]]:
    """Each image with its bytes, upright, read a few ahead; None for a file of this machine that stays as it is.

    always  the bytes of those, too
    """

    def content(entry: Entry) -> bytes | None:
        if entry.orientation == 1 and not always and sources.is_local(entry.original):
            return None
        return upright_content(entry)

    waiting = iter(entries)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="export") as pool:
        while group := list(islice(waiting, AT_ONCE)):
            yield from zip(group, pool.map(content, group), strict=True)


def upright_content(entry: Entry) -> bytes:
    """The bytes of an image as the export has them.

    raises  InputError where it cannot be read, StaleArtifact where it is not what was embedded
    """
    try:
        content = sources.fetch(entry.original)
        if entry.digest and sha256(content).hexdigest() != entry.digest:
            raise edited(entry.original)
        return content if entry.orientation == 1 else upright_bytes(content, jpeg=entry.name.endswith(".jpg"))
    except Unreadable as reason:
        raise InputError(f"{printable(entry.original)}: {reason}", hint=GONE) from reason


def time_of(entry: Entry) -> int:
    """When the original was last changed, in ns; the beginning of 1980 for what comes from an address."""
    status = sources.image_status(entry.original)
    return status.modified_ns if status else NO_TIME
