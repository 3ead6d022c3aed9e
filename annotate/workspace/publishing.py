"""Folders that take each other's place in one step."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

from annotate.workspace.opening import sync


def remove(path: Path) -> None:
    """Take away a folder, or a link or file in its place; never what a link leads to."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():  # folders that somebody made read-only
        for folder, _, _ in os.walk(path):
            with contextlib.suppress(OSError):
                os.chmod(folder, 0o700)
        shutil.rmtree(path, ignore_errors=True)


def swap(new: Path, place: Path, previous: Path) -> None:
    """Put `new` in `place`, in one step where the system can exchange two names, else in two."""
    if not place.exists():
        new.rename(place)
    elif not exchange(new, place):
        remove(previous)
        place.rename(previous)
        new.rename(place)
        remove(previous)
    sync(place.parent)


def exchange(a: Path, b: Path) -> bool:
    """Exchange two names atomically (Linux renameat2, macOS renamex_np); False where it cannot be had."""
    at_cwd, linux_exchange, mac_swap = -100, 2, 2
    one, other = os.fsencode(a), os.fsencode(b)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if platform.system() == "Linux":
            outcome = libc.renameat2(at_cwd, one, at_cwd, other, linux_exchange)
        else:
            outcome = libc.renamex_np(one, other, mac_swap)
    except (AttributeError, OSError, TypeError):  # no such call in this system's library
        return False
    return bool(outcome == 0)


def paths_below(folder: Path) -> Iterator[str]:
    """Every file, folder and link below a folder; no link is followed.

    raises  OSError where a folder cannot be listed; `Path.rglob` and `os.walk` would pass it over in silence
    """

    def refused(error: OSError) -> None:
        raise error

    for here, folders, files in os.walk(folder, onerror=refused):
        for name in (*folders, *files):
            yield os.path.join(here, name)
