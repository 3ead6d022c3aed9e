from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from annotate.errors import STORAGE_REASONS, InputError, StorageError, machine_error


@pytest.mark.parametrize("number", [*STORAGE_REASONS])
def test_what_the_disk_refuses_is_a_line_and_a_hint(number: int) -> None:
    known = machine_error(OSError(number, os.strerror(number), "photo.jpg"))
    assert isinstance(known, StorageError)
    assert str(known).startswith("photo.jpg: ")
    assert known.hint


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (MemoryError(), "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), "memory ran out"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), "memory ran out"),
        (RuntimeError("can't start new thread"), "too little to spare"),
        (ImportError("libgomp.so.1: cannot open shared object file: Too many open files"), "too many files open"),
    ],
)
def test_what_libraries_say_in_words_is_understood(error: Exception, says: str) -> None:
    known = machine_error(error)
    assert isinstance(known, StorageError)
    assert says in str(known)
    assert known.hint


@pytest.mark.parametrize("bug", [ValueError("x"), KeyError("x"), RuntimeError("x"), FileNotFoundError(2, "x", "/y")])
def test_a_bug_stays_a_bug(bug: Exception) -> None:
    assert machine_error(bug) is None


def annotate_in_a_deleted_folder(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "gone").mkdir()
    code = (
        "import os, sys\n"
        "os.chdir('gone'); os.rmdir('../gone')\n"
        "sys.argv[0] = 'annotate'\n"
        "from annotate.cli import main\n"
        "main()"
    )
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_in_a_working_folder_that_was_deleted_paths_from_the_root_work(tmp_path: Path, photos: Path) -> None:
    place = tmp_path / "artifacts"
    done = annotate_in_a_deleted_folder(tmp_path, "embed", str(photos), "--model", "tiny", "-w", str(place))
    assert done.returncode == 0, done.stderr
    assert (place / "embed" / "manifest.json").exists()


@pytest.mark.parametrize(
    "arguments", [("embed", "photos"), ("refine",), ("organize", "out"), ("run", "p", "o", "a", "b")]
)
def test_in_a_working_folder_that_was_deleted_other_paths_are_refused_in_a_line(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    done = annotate_in_a_deleted_folder(tmp_path, *arguments)
    assert done.returncode == 2
    assert done.stderr == (
        "error: the working folder was deleted\nhint: change to a folder that exists, or give all paths from the root\n"
    )


def test_a_failed_call_without_a_file_is_told_too() -> None:
    assert str(machine_error(OSError(errno.EMFILE, "x"))) == "this program has too many files open"
    assert isinstance(machine_error(InputError("x", hint="y")), InputError)
