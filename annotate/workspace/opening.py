"""The one door through which annotate opens files for writing: it follows no link and empties nothing of others.

A workspace may come from somebody else, or lie where others write. A name in it that annotate would write to can be a
link, or a second name of a file that lies elsewhere. Such a file is refused, before a byte of it has changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from annotate.errors import InputError, printable

NOT_FOLLOWED = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # a pipe that nobody reads would hold us
RANDOM = 8  # random hexadecimal digits in the name of a part
PARTS = f".*.{'[0-9a-f]' * RANDOM}.part"  # what a kill leaves of `replacing_file`
FLAGS = {"wb": os.O_WRONLY, "ab": os.O_WRONLY | os.O_APPEND, "r+b": os.O_RDWR}
LACKING = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EBADF}

_lacks: dict[str, str] = {}  # what the disk cannot do, by a word, with what that means for the user
_told: set[str] = set()


def opened(path: Path, mode: str) -> IO[bytes]:
    """A file to write, made where there is none.

    mode    wb, emptied; ab, added to; r+b, read and written as it is
    raises  InputError where the name is a link or a folder, or the file has other names, too
    """
    try:
        handle = os.open(path, FLAGS[mode] | os.O_CREAT | NOT_FOLLOWED | NO_WAITING, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR) or os.path.islink(path):
            raise not_ours(path) from error
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1 or os.path.islink(path):
            raise not_ours(path)
        if mode == "wb":
            os.ftruncate(handle, 0)
        return open(handle, mode, buffering=1 << 20)
    except BaseException:
        with contextlib.suppress(OSError):
            os.close(handle)
        raise


def not_ours(path: Path) -> InputError:
    shown = printable(path)
    if path.is_symlink():
        what = "a link; annotate writes through none"
    elif path.is_file():
        what = "a file with a second name elsewhere; annotate leaves such files alone"
    else:
        what = "in the way: no file"
    return InputError(f"{shown}: {what}", hint="delete it, or choose another folder")


def own_folder(path: Path) -> Path:
    """A folder that annotate writes in, made where there is none.

    raises  InputError where it is a link: what it leads to is somebody else's
    """
    path.mkdir(parents=True, exist_ok=True)
    if path.is_symlink():
        raise not_ours(path)
    return path


@contextlib.contextmanager
def replacing_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to fill; it takes its place in one step when the block ends well, and is gone when it does not."""
    part = path.with_name(f".{path.name}.{os.urandom(RANDOM // 2).hex()}.part")
    try:
        with opened(part, "wb") as file:
            yield file
        os.replace(part, path)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def copy_file(original: str | Path, copy: Path) -> None:
    """Copy a file, with its times and permissions where the disk knows such things."""
    shutil.copyfile(original, copy)
    with what_the_disk_can():
        shutil.copystat(original, copy)


def set_time(path: Path, modified_ns: int | None = None) -> None:
    """When a file was last changed; now unless given."""
    modified_ns = time.time_ns() if modified_ns is None else modified_ns
    with what_the_disk_can():
        os.utime(path, ns=(modified_ns, modified_ns))


@contextlib.contextmanager
def what_the_disk_can() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in LACKING:
            raise
        disk_lacks("times", "this disk does not keep times or permissions of files; their bytes are right")


def sync(path: Path) -> None:
    """Make a file's bytes or a folder's names durable, where the disk can do that."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # a folder on Windows
        return
    try:
        sync_handle(handle)
    finally:
        os.close(handle)


def sync_handle(handle: int) -> None:
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in LACKING:
            raise
        disk_lacks("sync", "this disk does not say when files are safe: a power cut may cost the last stage")


def disk_lacks(name: str, meaning: str) -> None:
    """Remember something that cannot be had here and that annotate does without, to be told once."""
    _lacks.setdefault(name, meaning)


def news_of_the_disk() -> list[str]:
    """What the disk turned out to lack, each once in the life of the program."""
    fresh = [name for name in _lacks if name not in _told]
    _told.update(fresh)
    return [_lacks[name] for name in fresh]
