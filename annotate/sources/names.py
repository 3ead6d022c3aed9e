"""Which names in an archive or below an address are images."""

from __future__ import annotations

import os
import re

from annotate.images import EXTENSIONS, OTHER_FORMATS
from annotate.records import SkippedFile

HIDDEN = re.compile(r"(?:^|/)(?:__MACOSX(?:/|$)|\.(?!\.?(?:/|$)))")  # `.` and `..` are none


def is_image(name: str) -> bool:
    return suffix(name) in EXTENSIONS and not is_hidden(name)


def is_other_image(name: str) -> bool:
    """Whether it is an image of a format that is not read."""
    return suffix(name) in OTHER_FORMATS and not is_hidden(name)


def not_read(location: str, name: str) -> SkippedFile:
    return {"path": location, "reason": f"{suffix(name)} is not read: convert it to JPEG"}


def is_hidden(name: str) -> bool:
    """Whether any part begins with a dot, or is the folder that macOS adds to its archives."""
    return HIDDEN.search(name) is not None


def suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def byte_order(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
