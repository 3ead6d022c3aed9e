"""Make names for files and folders that every platform accepts and that never collide."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Collection, Sequence
from pathlib import PurePath

# Device names of Windows, with or without an extension, in any case.
RESERVED = re.compile(r"(?i)(?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?")
UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f]')
MAX_FOLDER_BYTES = 100  # leaves room for the path above and the file below, which Windows counts together
MAX_FILE_BYTES = 240  # below the 255 of nearly all file systems, with room for "-2"


def folder_names(class_names: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """A folder name for each class, safe on Linux, macOS and Windows, and distinct without regard to case."""
    used = {fold(name): 2 for name in taken}
    return [distinct(safe_folder_name(name), used) for name in class_names]


def safe_folder_name(name: str) -> str:
    """The name with what some platform refuses replaced by "_"; its spelling is kept in the metadata."""
    safe = UNSAFE.sub("_", unicodedata.normalize("NFC", name))
    safe = "".join(c if c.isprintable() else "_" for c in safe).strip().rstrip(". ")
    if safe.startswith("."):
        safe = "_" + safe[1:]
    if not safe or RESERVED.fullmatch(safe):
        safe = f"{safe}_" if safe else "_"
    if byte_length(safe) > MAX_FOLDER_BYTES:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        safe = f"{clip_bytes(safe, MAX_FOLDER_BYTES - 9).rstrip('. ')}-{digest}"
    return safe


def safe_file_name(name: str) -> str:
    """A file name out of an address or an archive, which may hold anything, for any platform; its end is kept."""
    safe = "".join(c if c.isprintable() else "_" for c in UNSAFE.sub("_", name)).strip()
    return f"_{safe}" if not safe or safe.startswith(".") or RESERVED.fullmatch(safe) else safe


def distinct(name: str, used: dict[str, int]) -> str:
    """The name, or the first of name-2, name-3 … that is not used yet.

    used  folded name to the number to try next; the chosen name is entered
    """
    stem, suffix = PurePath(name).stem, PurePath(name).suffix
    if byte_length(name) > MAX_FILE_BYTES:
        stem = clip_bytes(stem, MAX_FILE_BYTES - byte_length(suffix))
    candidate = f"{stem}{suffix}"
    key = fold(candidate)
    while fold(candidate) in used:
        number = used[key]
        used[key] = number + 1
        candidate = f"{stem}-{number}{suffix}"
    used[fold(candidate)] = 2
    return candidate


def byte_length(name: str) -> int:
    return len(name.encode("utf-8", "surrogateescape"))


def fold(name: str) -> str:
    """What two names share when some file system takes them for one."""
    return unicodedata.normalize("NFC", name).casefold()


def clip_bytes(text: str, limit: int) -> str:
    return text.encode("utf-8", "surrogateescape")[:limit].decode("utf-8", "ignore")
