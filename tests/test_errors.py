from __future__ import annotations

import ast
import errno
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import annotate
from annotate.errors import STORAGE_REASONS, InputError, StorageError, machine_error

PACKAGE = Path(annotate.__file__).parent


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


# -- hints ---------------------------------------------------------------------------------------------

OF_A_SHELL = re.compile(r"(?<![\w-])--[a-z]|`(?:annotate|pip|ray|ulimit)\b")
# Every file but the command line, whose hints nobody else sees.
FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if "cli" not in path.relative_to(PACKAGE).parts]


def hints_in(path: Path) -> Iterator[ast.expr]:
    """What a file gives as a hint: there, or by a name that it assigns."""
    tree = ast.parse(path.read_text("utf-8"))
    assigned = {
        name.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for name in ast.walk(node.targets[0])
        if isinstance(name, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "hint":
            yield assigned.get(node.value.id, node.value) if isinstance(node.value, ast.Name) else node.value


def texts_in(hint: ast.AST) -> Iterator[str]:
    """Its texts that a page would show: of a `Hint` the words alone."""
    if isinstance(hint, ast.Call) and isinstance(hint.func, ast.Name) and hint.func.id == "Hint":
        yield from texts_in(hint.args[0])
    elif isinstance(hint, ast.Constant) and isinstance(hint.value, str):
        yield hint.value
    else:
        for part in ast.iter_child_nodes(hint):
            yield from texts_in(part)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_to_do_is_said_without_a_shell(path: Path) -> None:
    for hint in hints_in(path):
        for text in texts_in(hint):
            assert not OF_A_SHELL.search(text), text


def test_a_hint_is_a_sentence_for_the_terminal_words_for_a_page_and_a_line_to_type(tmp_path: Path) -> None:
    with pytest.raises(annotate.MissingArtifact) as missing:
        annotate.refine(["cat", "dog"], workspace=tmp_path)
    hint = missing.value.hint
    assert hint == "run `annotate embed IMAGES` first"
    assert (hint.do, hint.command) == ("the step 'embed' comes first", "annotate embed IMAGES")
    again = pickle.loads(pickle.dumps(missing.value))  # as it comes from another process
    assert (again.hint, again.hint.do, again.hint.command) == (hint, hint.do, hint.command)
    plain = InputError("no such folder", hint="check the path").hint
    assert (plain, plain.do, plain.command) == ("check the path", "check the path", "")


@pytest.mark.parametrize("number", [*STORAGE_REASONS])
def test_what_to_do_about_a_disk_is_said_without_a_shell(number: int) -> None:
    known = machine_error(OSError(number, os.strerror(number), "photo.jpg"))
    assert known is not None
    assert not OF_A_SHELL.search(known.hint.do)
