"""Arrays that are worth keeping between runs and cost only time when they are lost: `.cache/` of the workspace.

A cache is an .npz whose archive comment is the sha256 of all bytes before it, so that damage is noticed.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from annotate.errors import printable

Arrays = dict[str, npt.NDArray[Any]]

DIGEST = 64  # bytes of a sha256 in hexadecimal
END = 22  # bytes of the record that ends a zip archive
READ_AT_ONCE = 1 << 20  # bytes that are read at once


def read(path: Path) -> Arrays:
    """The arrays of a cache by their names; none where it is missing or not what was written."""
    try:
        with open(path, "rb") as file:
            if computed_digest(file) != written_digest(file):
                return {}
            file.seek(0)
            with np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
                return arrays if all(isinstance(array, np.ndarray) for array in arrays.values()) else {}
    # A forged cache has the right digest and may claim anything.
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, MemoryError, AttributeError, zipfile.BadZipFile):
        return {}


def write(path: Path, arrays: Arrays) -> None:
    """Replace a cache in one step; where the disk is full, or `.cache` leads elsewhere, there is none."""
    part = path.with_suffix(f".{os.getpid()}.part")
    if path.parent.is_symlink():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.unlink(missing_ok=True)
        with open(part, "xb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        with zipfile.ZipFile(part, "a") as archive:
            archive.comment = b"0" * DIGEST
        with open(part, "r+b") as file:
            digest = computed_digest(file)
            file.seek(-DIGEST, os.SEEK_END)
            file.write(digest)
        os.replace(part, path)
    except OSError:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def keep_only(path: Path, pattern: str) -> None:
    """Delete what else is called so in the folder of a cache; nothing where the folder leads elsewhere."""
    if path.parent.is_symlink():
        return
    for older in path.parent.glob(pattern):
        if older != path:
            with suppress(OSError):
                older.unlink()


def damage(folder: Path) -> str:
    """Read every byte of all caches: what is wrong with the first that is not what was written, or nothing."""
    for path in sorted(folder.glob("*.npz")):
        try:
            with open(path, "rb") as file:
                if computed_digest(file) != written_digest(file) and not has_no_digest(file):
                    return f"{printable(path.name)}: bytes differ from those that were written"
        except OSError as error:
            return f"{printable(path.name)}: {error.strerror or 'cannot be read'}"
    return ""


def computed_digest(file: BinaryIO) -> bytes:
    """The digest of a cache's bytes, as it should stand at their end."""
    left = max(0, file.seek(0, os.SEEK_END) - DIGEST)
    file.seek(0)
    digest = hashlib.sha256()
    while left:
        block = file.read(min(left, READ_AT_ONCE))
        if not block:
            break
        digest.update(block)
        left -= len(block)
    return digest.hexdigest().encode()


def written_digest(file: BinaryIO) -> bytes:
    file.seek(max(0, file.seek(0, os.SEEK_END) - DIGEST))
    return file.read()


def has_no_digest(file: BinaryIO) -> bool:
    """Whether it is a whole .npz without a comment, as annotate 0.1.0 wrote them: never read, and no damage either.

    Such an archive ends in a record of END bytes whose last two say that no comment follows.
    """
    file.seek(max(0, file.seek(0, os.SEEK_END) - END))
    last = file.read()
    return last.startswith(b"PK\x05\x06") and last.endswith(b"\0\0")
