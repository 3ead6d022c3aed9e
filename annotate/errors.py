"""What can go wrong, and what to do about it.

    AnnotateError
    ├── InputError            2   something the user can fix: a path, a flag, a file, a class name
    │   ├── ConfigError       2   a setting that is unknown, out of bounds or of the wrong type
    │   ├── StorageError      2   the disk is full, read-only or not ours to write
    │   └── WorkspaceBusy     2   another run holds the workspace
    ├── ArtifactError         3
    │   ├── MissingArtifact   3   a stage has not run yet
    │   ├── StaleArtifact     3   artifacts that do not belong together
    │   └── DamagedArtifact   3   bytes differ from what the manifest recorded
    └── ComponentMissing      4   weights or an extra that is not installed

Every error says what is wrong (`str(error)`) and what to do about it (`error.hint`), for a terminal and for whoever has
none. `Interrupted` is no error: somebody pressed Ctrl-C, or whoever watches wants to stop; it exits with 130. Anything
else that escapes is a bug, keeps its traceback and exits with 1.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence


class Hint(str):
    """What to do about an error. The text itself is the terminal's sentence, with commands and options in it.

    do  the same in words alone, for a page that has buttons instead of commands
    """

    do: str

    def __new__(cls, do: str, shell: str = "") -> Hint:
        """shell  the terminal's sentence; the words alone where they name no command and no option"""
        hint = super().__new__(cls, shell or do)
        hint.do = do
        return hint

    @property
    def command(self) -> str:
        """The line for a shell that the terminal's sentence names; empty where it names none."""
        found = re.search(r"`((?:annotate|pip|ray|ulimit) [^`]+)`", self)
        return found[1] if found else ""


class Interrupted(Exception):
    """Somebody wants to stop. What is finished is kept, and the same call goes on from there."""


class AnnotateError(Exception):
    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint if isinstance(hint, Hint) else Hint(hint)


class InputError(AnnotateError):
    exit_code = 2


class ConfigError(InputError):
    pass


class StorageError(InputError):
    pass


class WorkspaceBusy(InputError):
    pass


class ArtifactError(AnnotateError):
    exit_code = 3


class MissingArtifact(ArtifactError):
    pass


class StaleArtifact(ArtifactError):
    pass


class DamagedArtifact(ArtifactError):
    pass


class ComponentMissing(AnnotateError):
    exit_code = 4


MORE_FILES = Hint(
    "allow it more open files, then run it again", "allow it more with `ulimit -n 4096`, then run it again"
)
COPIES = Hint("copy the images instead of linking them", "use --link copy")
MEMORY = ("memory ran out", "end other programs, or use a machine with more memory; finished stages are kept")
STORAGE_REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again; finished stages are kept"),
    errno.EFBIG: ("the file is too large for this disk", "use a disk whose file system takes large files"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EROFS: ("the disk is read-only", "choose a folder on a disk that can be written"),
    errno.EACCES: ("no permission", "choose a folder that you may write, or change its permissions"),
    errno.EPERM: ("not permitted", "choose a folder that you may write, or change its permissions"),
    errno.ENOTDIR: ("a part of the path is a file, not a folder", "check the path"),
    errno.EEXIST: ("something else is in the way", "choose another folder"),
    errno.EISDIR: ("a folder is in the way of a file", "move it away, or choose another folder"),
    errno.ELOOP: ("the link leads in a circle", "choose another folder"),
    errno.EMFILE: ("this program has too many files open", MORE_FILES),
    errno.ENFILE: ("this machine has too many files open", "end other programs, then run the same command again"),
    errno.ENOMEM: MEMORY,
    errno.EIO: ("the disk reports an error", "check the disk, then run the same command again"),
    errno.ESTALE: ("the disk was taken away meanwhile", "connect it again, then run the same command again"),
    errno.ENODEV: ("the disk cannot do that", "choose a folder on another disk"),
    errno.EBUSY: ("another program has it in use", "close that program, then run the same command again"),
    errno.ETXTBSY: ("another program has it in use", "close that program, then run the same command again"),
    errno.EMLINK: ("the disk takes no more names of this file", COPIES),
    errno.ENOTSUP: ("the disk cannot do that", "choose a folder on another disk"),
    errno.ENOTEMPTY: ("somebody put files there meanwhile", "run the same command again"),
    errno.ENXIO: ("the disk reports an error", "check the disk, then run the same command again"),
    errno.ENOLCK: ("this disk has no locks", "choose a folder on another disk"),
    errno.EAGAIN: ("this machine has too little to spare", "end other programs, then run the same command again"),
    errno.ENAMETOOLONG: ("the path is too long for this disk", "choose a folder with a shorter path"),
}


def storage_error(error: OSError) -> StorageError | None:
    """The user's view of a failed read or write, or None where the failure is not the storage's."""
    if error.errno not in STORAGE_REASONS:
        return None
    reason, hint = STORAGE_REASONS[error.errno]
    place = error.filename2 or error.filename
    return StorageError(f"{printable(place)}: {reason}" if place else reason, hint=hint)


def machine_error(error: BaseException) -> AnnotateError | None:
    """The user's view of what the machine refused: its disk, its memory, its folder; None for a bug.

    Libraries say some of it in words alone: where they load others, start threads, or take memory by themselves.
    """
    if isinstance(error, AnnotateError):
        return error
    if isinstance(error, FileNotFoundError) and is_relative(error.filename) and not working_folder_exists():
        return folder_is_gone()
    if isinstance(error, MemoryError):
        return StorageError(MEMORY[0], hint=MEMORY[1])
    if isinstance(error, OSError) and (known := storage_error(error)):
        return known
    if isinstance(error, ImportError | RuntimeError | OSError):
        for number, words in SAID_IN_WORDS:
            if words in str(error):
                return StorageError(STORAGE_REASONS[number][0], hint=STORAGE_REASONS[number][1])
    for earlier in (error.__cause__, error.__context__):
        if earlier is not None and isinstance(error, ImportError | RuntimeError | SystemError):
            return machine_error(earlier)
    return None


SAID_IN_WORDS = [
    (errno.ENOMEM, "Cannot allocate memory"),
    (errno.ENOMEM, "can't allocate memory"),
    (errno.ENOMEM, "failed to map segment"),
    (errno.ENOMEM, "std::bad_alloc"),
    (errno.EAGAIN, "can't start new thread"),
    (errno.EMFILE, "Too many open files"),
    (errno.EIO, "Input/output error"),
    (errno.ENOSPC, "No space left on device"),
]


def folder_is_gone() -> InputError:
    return InputError(
        "the working folder was deleted", hint="change to a folder that exists, or give all paths from the root"
    )


def is_relative(path: object) -> bool:
    return path is None or (isinstance(path, str | bytes) and not os.path.isabs(path))


def working_folder_exists() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def terminal_columns(text: str) -> int:
    """How wide a terminal shows it: East Asian characters and emoji take two columns, combining marks none."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    wide = sum(east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(combining(c) > 0 or c in "\u200d\ufe0f" for c in text)


def printable(path: object) -> str:
    """A path on one line of a terminal, whatever characters it holds."""
    text = str(path).encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_few(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list that may be long, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
