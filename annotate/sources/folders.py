"""Folders of images: what lies below them, and what cannot be read."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from annotate.errors import InputError, printable
from annotate.images.formats import first_bytes
from annotate.records import SkippedFile
from annotate.sources import own
from annotate.sources.sieve import FoundImages, Sieve


def find_images(folder: Path, leave_out: Path | None = None) -> FoundImages:
    """The images below a folder, recursively, and what could not be read.

    A file whose name does not tell what it is counts as an image where its first bytes are those of one. Hidden files
    and folders are passed over, and the bins and previews of systems. Links are followed, each real folder is entered
    once. Datasets and reports that annotate made are passed over, and named among what could not be read.

    leave_out  a folder that is not searched: the workspace, whose figures are images too
    raises  InputError where the folder is missing or not a folder
    """
    if not folder.exists():
        raise InputError(f"no folder {printable(folder)}", hint="check the path; quote it where it has spaces")
    if not folder.is_dir():
        raise InputError(f"{printable(folder)}: a file, not a folder", hint="give the folder that holds the images")
    # A path is named from the root of the disk, so that artifacts keep their meaning wherever they are read.
    top = Path(os.path.abspath(folder))
    found: list[str] = []
    closed: list[SkippedFile] = []
    sieve = Sieve()
    entered: set[tuple[int, int]] = set()
    if leave_out and leave_out.exists():
        status = leave_out.stat()
        entered.add((status.st_dev, status.st_ino))
    real, linked = deque([top]), deque[Path]()
    while real or linked:
        # Real folders before links to them, then by name: which of two ways leads in does not depend on the disk.
        here = (real or linked).popleft()
        try:
            status = here.stat()
            if (status.st_dev, status.st_ino) in entered:
                continue
            entered.add((status.st_dev, status.st_ino))
            entries: Sequence[os.DirEntry[str]] = sorted(os.scandir(here), key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            if here == top:
                raise InputError(f"{printable(folder)}: {error.strerror}", hint="check its permissions") from error
            closed.append({"path": str(here), "reason": f"folder cannot be read: {error.strerror}"})
            continue
        entries, of_annotate = own.to_search(here, entries, asked=here == top)
        closed += [of_annotate] if of_annotate else []
        for entry in entries:
            if is_folder(entry):
                if sieve.enters(entry.path.removeprefix(f"{top}/")):
                    (linked if entry.is_symlink() else real).append(Path(entry.path))
            elif sieve.takes(entry.name, entry.path, partial(first_bytes, entry.path)):
                found.append(entry.path)
    found.sort(key=os.fsencode)
    return FoundImages(found, [*closed, *sieve.passed_over], sieve.folders)


def is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle
        return False
