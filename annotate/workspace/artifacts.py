"""Artifacts as files: arrays, JSON and lines, written so that they last and read as they were declared."""

from __future__ import annotations

import errno
import json
import os
import stat
import typing
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from annotate.errors import DamagedArtifact, printable
from annotate.records.declared import Artifact, Record, artifact_fields, field_types, fits
from annotate.workspace import jsonfile
from annotate.workspace.arrays import RowsFile, load_array
from annotate.workspace.lines import Lines
from annotate.workspace.opening import NO_WAITING, opened, sync_handle
from annotate.workspace.repair import repair

LARGE_FILE = 1 << 27  # bytes; above this arrays are mapped, not read
LARGE_TEXT = 1 << 22  # bytes; above this a list with a row per image stays on disk and is read line by line


def write_record(folder: Path, record: Record) -> dict[str, Any]:
    """Write the record's files; returns its facts, which go into the manifest."""
    facts = {}
    for name, declared in artifact_fields(type(record)).items():
        value = getattr(record, name)
        if declared.file is None:
            facts[name] = value
        elif value is not None and not (folder / declared.file).exists():  # what is large, a stage may write itself
            store(folder / declared.file, value, a_line_each=declared.shape == "N")
    return facts


def store(path: Path, value: Any, *, a_line_each: bool = False) -> None:
    if path.suffix == ".npy":
        with RowsFile(path, len(value)) as file:
            file.append(value)
            file.complete()
    elif path.suffix == ".txt":
        write_lines(path, map(path_line, value))
    elif a_line_each:
        write_lines(path, json_lines(value))
    else:
        write_bytes(path, as_json(value))


def load_field(folder: Path, record: type[Record], field: str) -> Any:
    """One field of a record, from its file.

    raises  ValueError where the file does not hold what the record declares
    """
    declared = artifact_fields(record)[field]
    try:
        return load(folder / str(declared.file), declared, field_types(record)[field], repair(record.stage))
    except RecursionError:
        raise ValueError(f"{declared.file}: nested too deeply") from None


def load(path: Path, declared: Artifact, kind: Any, hint: str) -> Any:
    if path.suffix == ".npy":
        try:
            array = read_or_map(path)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{declared.file}: not a readable .npy file") from error
        narrow = array.dtype == np.float16 and not isinstance(array, np.memmap)
        return array.astype(np.float32) if narrow else array
    large = path.stat().st_size > LARGE_TEXT

    def checked(parse: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
        """A line that is read long after the file was checked."""

        def parsed(line: bytes) -> Any:
            try:
                return parse(line)
            except (ValueError, RecursionError) as error:
                raise DamagedArtifact(f"{printable(path)}: not what annotate writes there", hint=hint) from error

        return parsed

    if path.suffix == ".txt":
        return Lines(path, checked(read_path_line)) if large else read_path_lines(path.read_bytes())
    if large and declared.shape == "N" and begins_with(path, b"[\n{"):
        each = fits(typing.get_args(kind)[0])
        return Lines(path, checked(lambda line: of_kind(each, read_json_line(line), path.name)), skip=1)
    return of_kind(fits(kind), jsonfile.loads(path.read_bytes()), path.name)


def of_kind(fitting: Callable[[Any], bool], value: Any, name: str) -> Any:
    if not fitting(value):
        raise ValueError(f"{name}: not what annotate writes there")
    return value


def begins_with(path: Path, start: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(start)) == start


def read_or_map(path: Path) -> Any:
    """The array of a .npy file: large files are mapped."""
    return load_array(path, "r" if path.stat().st_size > LARGE_FILE else None)


def as_json(value: Any) -> bytes:
    """JSON for people and programs. File names that are not text survive as escaped surrogates."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    try:
        return text.encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(value, indent=1, allow_nan=False).encode("ascii") + b"\n"


def json_lines(values: Iterable[Any]) -> Iterator[str]:
    """A JSON list with each value on a line of its own, so that value i can be read alone."""
    yield "["
    before: str | None = None
    for value in values:
        if before is not None:
            yield before + ","
        before = json_line(value)
    if before is not None:
        yield before
    yield "]"


def json_line(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return text if is_utf8(text) else json.dumps(value, allow_nan=False)


def read_json_line(line: bytes) -> Any:
    return jsonfile.loads(line.removesuffix(b","))


def is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def write_lines(path: Path, lines: Iterable[str]) -> None:
    with opened(path, "wb") as file:
        for line in lines:
            file.write(line.encode("utf-8") + b"\n")
        file.flush()
        sync_handle(file.fileno())


def path_line(path: str) -> str:
    """A path as one line: as it is, or as a JSON string where it would not survive as a line."""
    plain = path.isprintable() and path == path.strip() and not path.startswith('"')
    return path if plain and path else json.dumps(path)


def read_path_lines(content: bytes) -> list[str]:
    lines = content.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    return [read_path_line(line) for line in lines]


def read_path_line(line: bytes) -> str:
    text = line.decode("utf-8")
    if text.startswith('"') and text.endswith('"'):
        text = str(json.loads(text))
        os.fsencode(text)  # raises what is a ValueError
    else:
        text = text.removesuffix("\r")
    if "\0" in text:
        raise ValueError("a path that no disk knows")
    return text


def write_bytes(path: Path, content: bytes) -> None:
    with opened(path, "wb") as file:
        file.write(content)
        file.flush()
        sync_handle(file.fileno())


def read_file(path: Path, most: int) -> bytes:
    """The bytes of a file; not of a pipe or a device, which may never end.

    raises  ValueError where it is no file, or larger than `most` bytes
    """
    try:
        handle = os.open(path, os.O_RDONLY | NO_WAITING)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise ValueError(f"{path.name}: a link in a circle") from error
        raise
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise ValueError(f"{path.name}: no file, or too large")
        with open(handle, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(handle)
