"""Locks that die with their process, however that ends."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK = 0.2  # seconds between two tries


@contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    """Wait until no other process is in here with the same lock file."""
    with open(place, "a+b") as file:
        while not lock_file(file.fileno()):
            time.sleep(LOOK)
        yield


def lock_file(handle: int) -> bool:
    """Take an exclusive lock that the system releases when the process ends; False where another has it."""
    try:
        if platform.system() == "Windows":
            import msvcrt

            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
