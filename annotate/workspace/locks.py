"""Locks that die with their process, however that ends. They exclude threads of one process, too."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from annotate.errors import InputError, printable
from annotate.workspace.opening import disk_lacks, opened

LOOK = 0.2  # seconds between two tries
TAKEN = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK}
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
WITHOUT = "this disk has no locks: do not let two runs of annotate write the same folder at once"

Lock = IO[bytes]

_here: set[tuple[int, int]] = set()  # device and inode of the locks of this process; some disks lock processes alone
_guard = threading.Lock()


class Taken(Exception):
    """Somebody else has the lock; `holder` is the number of the process, where it is known."""

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


@contextmanager
def locked(place: Path, *, keep: bool) -> Iterator[None]:
    """Hold a lock file, which names this process.

    keep    leave the file where it is in the end; otherwise it is taken away
    raises  Taken where another process or thread has it, InputError where the file is not a lock of annotate
    """
    file, key = taken(place)
    try:
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield
    finally:
        if not keep:  # whoever waits for this file sees that it is no longer the one at this path
            with contextlib.suppress(OSError):
                place.unlink()
        given_back(file, key)


@contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    """Wait until nobody else is in here with the same lock file."""
    while True:
        try:
            file, key = taken(place)
            break
        except Taken:
            time.sleep(LOOK)
    try:
        yield
    finally:
        given_back(file, key)


def taken(place: Path) -> tuple[Lock, tuple[int, int]]:
    """The lock file, open and ours, and what it is known by in this process.

    Between opening a file and locking it another holder may have taken the file away and a third made a new one:
    only the lock of the file that lies at the path counts.
    """
    while True:
        file = opened(place, "r+b")
        try:
            status = os.fstat(file.fileno())
            key = status.st_dev, status.st_ino
            content = file.read(21)
            file.seek(0)
            if content.strip() and not (content.isdigit() and len(content) <= 20):
                raise InputError(
                    f"{printable(place)}: a file of somebody else where annotate's lock belongs",
                    hint="choose another folder",
                )
            with _guard:
                if key in _here or not lock_file(file.fileno()):
                    raise Taken(content.decode() or "unknown")
                if lies_at(place, key):
                    _here.add(key)
                    return file, key
        except BaseException:
            file.close()
            raise
        file.close()


def given_back(file: Lock, key: tuple[int, int]) -> None:
    with _guard:
        _here.discard(key)
        file.close()


def lies_at(place: Path, key: tuple[int, int]) -> bool:
    try:
        status = os.stat(place, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == key


def lock_file(handle: int) -> bool:
    """Take an exclusive lock that the system releases when the process ends; False where another has it.

    On a disk that has no locks everybody gets one, and the user is told.
    """
    try:
        if platform.system() == "Windows":
            import msvcrt

            os.lseek(handle, 1 << 30, os.SEEK_SET)  # a byte that nobody reads: what is locked there cannot be read
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            os.lseek(handle, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            return False
        if error.errno not in NO_LOCKS:
            raise
        disk_lacks("lock", WITHOUT)
    return True
