"""What a search takes: the images of a folder or an archive, told from all else that lies there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from annotate.images.formats import (
    FOREIGN,
    is_image,
    is_other_file,
    is_other_image,
    not_read,
    picture_format,
    reads_heic,
    suffix,
)
from annotate.records import SkippedFile

HIDDEN = re.compile(r"(?:^|/)\.(?!\.?(?:/|$))")  # `.` and `..` are not
# Folders that file systems, network disks and desktops make for themselves: previews, bins, what a check recovered.
SYSTEM_FOLDERS = re.compile(
    r"(?:^|/)(?:@eaDir|@tmp|@Recycle|@Recently-Snapshot|\.?@__thumb|#recycle|#snapshot|\$RECYCLE\.BIN|__MACOSX|lost\+found"
    r"|System Volume Information|Network Trash Folder|Temporary Items|\.Trash(?:es|-[^/]*)?|\.thumbnails|\.AppleDouble"
    r"|\.TemporaryItems|\.Spotlight-V100|\.fseventsd|\.DocumentRevisions-V100)(?=/)",
    re.IGNORECASE,
)
MOST_OPENED = 1000  # files of an extension that are opened before it counts as none of pictures
NO_PICTURE = "not a picture: its first bytes are of no image format"


@dataclass
class FoundImages:
    """What is found in a source that is searched.

    images   in their order
    skipped  folders that are closed, and files that are passed over for a reason
    folders  those that systems make, which are not looked into
    """

    images: list[str] = field(default_factory=list)
    skipped: list[SkippedFile] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)


class Sieve:
    """Picks the images of a source out of everything else that lies there.

    folders      those that systems make, whose content is not looked at
    most_opened  files of one extension that are opened before the others count as no pictures, too
    """

    def __init__(self, most_opened: int = MOST_OPENED) -> None:
        self.folders: set[str] = set()
        self._most_opened = most_opened
        self._rows: list[SkippedFile] = []
        self._pictures: set[str] = set()  # extensions of which there was one
        self._vain: Counter[str] = Counter()  # by extension: looks that found no picture
        self._unseen: dict[str, list[str]] = {}  # by extension: files that were not looked at

    @property
    def passed_over(self) -> list[SkippedFile]:
        """Images in formats that are not read, and files that are no pictures though their names do not tell."""
        return [*self._rows, *(self._unopened_row(extension) for extension in self._unseen)]

    def _unopened_row(self, extension: str) -> SkippedFile:
        """One for all files of an extension that were not looked at."""
        paths = self._unseen[extension]
        which = f"that end in {extension}" if extension else "without an extension"
        reason = (
            f"one of {len(paths):,} files {which} that were not opened, "
            f"because the first {self._most_opened:,} of them are not pictures"
        )
        return {"path": paths[0], "reason": reason}

    def enters(self, folder: str) -> bool:
        """Whether to look into a folder: into none that is hidden, or that a system made for itself."""
        inside = SYSTEM_FOLDERS.search(f"{folder}/")
        if inside:
            self.folders.add(folder[: inside.end()])
        return inside is None and HIDDEN.search(folder) is None

    def takes(self, name: str, location: str, first_bytes: Callable[[], bytes]) -> bool:
        """Whether a file is an image to be read. The name may have folders before it.

        first_bytes  reads them; may raise OSError
        """
        folder, _, file = name.rpartition("/")
        if file.startswith(".") or (folder and not self.enters(folder)):
            return False
        if is_image(name):
            return True
        if is_other_image(name):
            self.passes_over(location, not_read(suffix(name)))
            return False
        return not is_other_file(name) and self._is_picture(suffix(name), location, first_bytes)

    def passes_over(self, location: str, reason: str) -> None:
        self._rows.append({"path": location, "reason": reason})

    def _is_picture(self, extension: str, location: str, first_bytes: Callable[[], bytes]) -> bool:
        if self._vain[extension] >= self._most_opened and extension not in self._pictures:
            self._unseen.setdefault(extension, []).append(location)
            return False
        try:
            head = first_bytes()
        except OSError as error:
            self.passes_over(location, error.strerror or "cannot be read")
            return False
        kind = picture_format(head)
        if not kind:
            self._vain[extension] += 1
            if head:
                self.passes_over(location, NO_PICTURE)
            return False
        self._pictures.add(extension)
        if kind in FOREIGN or (kind == "HEIC" and not reads_heic()):
            self.passes_over(location, not_read(kind))
            return False
        return True
