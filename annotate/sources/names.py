"""Which names in an archive or below an address are images."""

from __future__ import annotations

import re

from annotate import images
from annotate.records import SkippedFile

HIDDEN = re.compile(r"(?:^|/)(?:__MACOSX(?:/|$)|\.(?!\.?(?:/|$)))")  # `.` and `..` are none


def is_image(name: str) -> bool:
    return images.is_image(name) and not is_hidden(name)


def is_other_image(name: str) -> bool:
    """Whether it is an image of a format that is not read."""
    return images.is_other_image(name) and not is_hidden(name)


def not_read(location: str, name: str) -> SkippedFile:
    return {"path": location, "reason": images.not_read(name)}


def is_hidden(name: str) -> bool:
    """Whether any part begins with a dot, or is the folder that macOS adds to its archives."""
    return HIDDEN.search(name) is not None


def byte_order(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
