"""Artifacts on disk: publish whole, read checked, lock, freshness.

A stage is a folder of the workspace with its artifacts and a `manifest.json`. The folder is written
beside its place, synced, and swapped in by one rename, so that a reader finds the old output or the new
one, whatever instant a kill comes.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from annotate.arrays import RowsFile
from annotate.digests import content_digest, file_digest
from annotate.errors import DamagedArtifact, InputError, MissingArtifact, WorkspaceBusy, printable
from annotate.lines import Lines
from annotate.locks import lock_file
from annotate.records import Artifact, Record, artifacts_of

STAGES = ("embed", "text", "cluster", "refine", "organize", "report")
MANIFEST = "manifest.json"
LARGE_FILE = 1 << 27  # bytes; above this arrays are mapped, not read
LARGE_TEXT = 1 << 22  # bytes; above this a list with a row per image stays on disk and is read line by line
SMALL_FILE = 1 << 20  # bytes; up to here a digest costs less than opening the file, so every read checks it

REPAIR = {
    "embed": "annotate embed IMAGES --force",
    "text": "annotate refine --classes A,B",
    "cluster": "annotate cluster --force",
    "refine": "annotate refine --force",
    "organize": "annotate organize OUTPUT --force",
    "report": "annotate report --force",
}
MAKE = {stage: command.removesuffix(" --force") for stage, command in REPAIR.items()}

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Plan:
    """What a stage is about to do. Two equal plans make the same bytes.

    version  of the method; raise it when the same inputs would give other bytes
    config   the effective settings that reach the stage
    inputs   name to digest
    why      a reason to run even where all this is as it was
    """

    stage: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    why: str = field(default="", compare=False)

    def differs(self, manifest: Mapping[str, Any]) -> str:
        """Why the manifest on disk is not the one that this plan would write; empty where it is."""
        if manifest["version"] != self.version:
            return f"the method changed (version {manifest['version']} to {self.version})"
        then, now = manifest["config"], json.loads(json.dumps(self.config))
        for key in [*now, *(key for key in then if key not in now)]:
            if then.get(key) != now.get(key):
                change = f": {brief(then.get(key))} to {brief(now.get(key))}"
                return f"{key} changed{'' if is_digest(now.get(key)) else change}"
        return self.inputs_differ(manifest) or self.why

    def inputs_differ(self, manifest: Mapping[str, Any]) -> str:
        then = manifest["inputs"]
        for key in [*self.inputs, *(key for key in then if key not in self.inputs)]:
            if then.get(key) != self.inputs.get(key):
                verb = "is new" if key not in then else "is gone" if key not in self.inputs else "changed"
                return f"{key} {verb}"
        return ""


@dataclass(frozen=True)
class State:
    """fresh, stale, damaged or missing, and why."""

    name: str
    why: str = ""

    @property
    def fresh(self) -> bool:
        return self.name == "fresh"


def json_text(path: str | Path) -> str:
    """A path as text that any JSON reader takes, also where its bytes are not UTF-8."""
    return str(path).encode("utf-8", "backslashreplace").decode("utf-8")


def brief(value: object) -> str:
    """A setting on part of a line; None is what is chosen for the user."""
    if value is None:
        return "auto"
    text = ", ".join(map(str, value)) if isinstance(value, list) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def is_digest(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


class Workspace:
    """The folder of artifacts, `artifacts/` unless the user says otherwise."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("ANNOTATE_WORKSPACE") or "artifacts")
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{printable(self.root)}: not a folder", hint="choose another one: `--workspace DIR`")
        self._locks = 0

    # -- reading -------------------------------------------------------------------------------------

    def folder(self, stage: str) -> Path:
        """Where the stage's output lies; its previous one where a kill came between two renames."""
        folder, previous = self.root / stage, self.root / f".{stage}.old"
        return previous if not folder.exists() and previous.exists() else folder

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """The manifest on disk, or None where the stage has not run."""
        path = self.folder(stage) / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
            if manifest.pop("sha256") != content_digest(manifest):
                raise ValueError("its own digest differs")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, AttributeError, TypeError, KeyError) as error:
            raise DamagedArtifact(
                f"{printable(path)}: not the manifest that was written", hint=f"run `{REPAIR[stage]}`"
            ) from error
        return dict(manifest)

    def has(self, stage: str) -> bool:
        return self.manifest(stage) is not None

    def read(self, record: type[R]) -> R:
        """A stage's record, every file checked against the manifest and against its declaration.

        raises  MissingArtifact where the stage has not run, DamagedArtifact where bytes differ
        """
        for attempt in range(3):
            manifest = self.manifest(record.stage)
            if manifest is None:
                place = printable(self.root)
                raise MissingArtifact(
                    f"no {record.stage} artifacts in {place}/", hint=f"run `{MAKE[record.stage]}` first"
                )
            try:
                return self._read(record, manifest)
            except (DamagedArtifact, FileNotFoundError):
                # Another run may have swapped the folder between our reads; then the manifest has changed too.
                if attempt == 2 or self.manifest(record.stage) == manifest:
                    raise
        raise AssertionError("unreachable")

    def _read(self, record: type[R], manifest: Mapping[str, Any]) -> R:
        folder, repair = self.folder(record.stage), f"run `{REPAIR[record.stage]}`"
        problem = damage(folder, manifest, thorough=False)
        if problem:
            raise DamagedArtifact(f"{printable(folder)}/{problem}", hint=repair)
        try:
            values = {}
            for name, declared in artifacts_of(record).items():
                if declared.file is None:
                    values[name] = manifest["facts"].get(name) if declared.optional else manifest["facts"][name]
                elif declared.file in manifest["files"]:
                    values[name] = load(folder / declared.file, declared)
            return record(**values)
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedArtifact(f"{printable(folder)}/{error}", hint=repair) from error

    def digests(self, stage: str, *files: str) -> dict[str, str]:
        """Inputs for a Plan: digests of the files named, or of all of a stage's files and its facts."""
        manifest = self.manifest(stage)
        if manifest is None:
            return {}
        recorded = {name: entry["sha256"] for name, entry in manifest["files"].items()}
        if files:
            return {f"{stage}/{name}": recorded[name] for name in files if name in recorded}
        return {
            **{f"{stage}/{name}": digest for name, digest in recorded.items()},
            f"{stage} facts": content_digest(manifest["facts"]),
        }

    def of_these_embeddings(self, stage: str) -> bool:
        """Whether a stage was made from the embeddings that are here now."""
        manifest = self.manifest(stage)
        return manifest is not None and self.digests("embed", "embeddings.npy").items() <= manifest["inputs"].items()

    def state(self, plan: Plan) -> State:
        try:
            manifest = self.manifest(plan.stage)
        except DamagedArtifact as error:
            return State("damaged", str(error))
        if manifest is None:
            return State("missing")
        problem = damage(self.folder(plan.stage), manifest, thorough=False)
        if problem:
            return State("damaged", problem)
        why = plan.differs(manifest)
        return State("stale", why) if why else State("fresh")

    def check(self, stage: str) -> str:
        """Read every byte of a stage; what is wrong with it, or nothing."""
        try:
            manifest = self.manifest(stage)
        except DamagedArtifact as error:
            return str(error)
        if manifest is None:
            return f"{MANIFEST}: missing" if self.folder(stage).exists() else ""
        return damage(self.folder(stage), manifest, thorough=True)

    # -- writing -------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def making(self, stage: str) -> Iterator[Path]:
        """An empty folder, under the lock, for what a stage writes while making; gone in the end, unless published."""
        folder = self.root / f".{stage}.made"
        remove(folder)
        folder.mkdir()
        try:
            yield folder
        finally:
            remove(folder)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """One run at a time. The lock dies with its process, however that ends.

        raises  WorkspaceBusy where another run holds it
        """
        if self._locks:
            self._locks += 1
            try:
                yield
            finally:
                self._locks -= 1
            return
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / ".lock", "a+b") as file:
            if not lock_file(file.fileno()):
                file.seek(0)
                holder = file.read(20).decode("ascii", "replace").strip() or "unknown"
                raise WorkspaceBusy(
                    f"{printable(self.root)}/ is in use by another run (process {holder})",
                    hint="wait until it ends, or use another folder: `--workspace DIR`",
                )
            file.truncate(0)
            file.write(str(os.getpid()).encode())
            file.flush()
            self._locks = 1
            try:
                self._sweep()
                yield
            finally:
                self._locks = 0

    def _sweep(self) -> None:
        """Clean up after a killed run."""
        for stage in STAGES:
            folder, previous = self.root / stage, self.root / f".{stage}.old"
            if previous.exists() and not folder.exists():
                previous.rename(folder)
            for leftover in (previous, self.root / f".{stage}.new", self.root / f".{stage}.made"):
                remove(leftover)

    def publish(self, plan: Plan, record: Record, *, ran_on: Mapping[str, Any], made: Path | None = None) -> None:
        """Put a stage's record in place, whole.

        made    a folder of `making` with files of the stage that are written already; moved in, and taken for the
                record's fields of those names
        raises  InputError where the stage's folder holds somebody's files
        """
        with self.lock():
            self.check_ours(plan.stage)
            new = self.root / f".{plan.stage}.new"
            remove(new)
            try:
                if made:
                    made.rename(new)
                else:
                    new.mkdir()
                facts = write_record(new, record)
                paths = sorted(path for path in new.rglob("*") if path.is_file())
                with ThreadPoolExecutor(1) as pool:  # a digest and a disk do not wait for each other
                    fingerprints = [pool.submit(fingerprint, path) for path in paths]
                    for path in paths:
                        sync(path)
                    files = {
                        path.relative_to(new).as_posix(): taken.result()
                        for path, taken in zip(paths, fingerprints, strict=True)
                    }
                manifest = {
                    "stage": plan.stage,
                    "version": plan.version,
                    "config": dict(plan.config),
                    "inputs": dict(plan.inputs),
                    "facts": facts,
                    "files": files,
                    "ran_on": dict(ran_on),
                }
                manifest["sha256"] = content_digest(manifest)
                write_bytes(new / MANIFEST, as_json(manifest))
                for folder in [new, *(path for path in new.rglob("*") if path.is_dir())]:
                    sync(folder)
                swap(new, self.root / plan.stage, self.root / f".{plan.stage}.old")
            finally:
                remove(new)

    def check_ours(self, stage: str) -> None:
        """A stage's folder is ours to replace only if annotate wrote all that is in it.

        raises  InputError where it holds somebody's files
        """
        folder = self.root / stage
        if not folder.exists() or not any(folder.iterdir()):
            return
        try:
            manifest = self.manifest(stage)
        except DamagedArtifact:
            return  # ours, and about to be repaired
        listed = set(manifest["files"]) | {MANIFEST} if manifest else set()
        present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
        strangers = sorted(present - listed)
        if strangers:
            raise InputError(
                f"{printable(folder)} holds what annotate did not write: {printable(strangers[0])}",
                hint="choose another workspace: `--workspace DIR`",
            )

    def touch(self, stage: str) -> None:
        """A fresh stage counts as made now, for tools that go by time, as make does."""
        with contextlib.suppress(OSError):
            os.utime(self.folder(stage) / MANIFEST)


def write_record(folder: Path, record: Record) -> dict[str, Any]:
    """Write the record's files; returns its facts, which go into the manifest."""
    facts = {}
    for name, declared in artifacts_of(type(record)).items():
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
    """One field of a record, from its file."""
    declared = artifacts_of(record)[field]
    return load(folder / str(declared.file), declared)


def load(path: Path, declared: Artifact) -> Any:
    if path.suffix == ".npy":
        try:
            array = read_or_map(path)
        except (ValueError, EOFError) as error:
            raise ValueError(f"{declared.file}: not a readable .npy file") from error
        narrow = array.dtype == np.float16 and not isinstance(array, np.memmap)
        return array.astype(np.float32) if narrow else array
    large = path.stat().st_size > LARGE_TEXT
    if path.suffix == ".txt":
        return Lines(path, read_path_line) if large else read_path_lines(path.read_bytes())
    if large and declared.shape == "N" and begins_with(path, b"[\n{"):
        return Lines(path, read_json_line, skip=1)
    return json.loads(path.read_bytes())


def begins_with(path: Path, start: bytes) -> bool:
    with open(path, "rb") as file:
        return file.read(len(start)) == start


def read_or_map(path: Path) -> Any:
    """The array of a .npy file: large files are mapped."""
    return np.load(path, mmap_mode="r" if path.stat().st_size > LARGE_FILE else None, allow_pickle=False)


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
    return json.loads(line.removesuffix(b","))


def is_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def write_lines(path: Path, lines: Iterable[str]) -> None:
    with open(path, "wb", buffering=1 << 20) as file:
        for line in lines:
            file.write(line.encode("utf-8") + b"\n")
        file.flush()
        os.fsync(file.fileno())


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
        return str(json.loads(text))
    return text.removesuffix("\r")


def write_bytes(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def fingerprint(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"sha256": file_digest(path), "size": status.st_size, "modified_ns": status.st_mtime_ns}


def damage(folder: Path, manifest: Mapping[str, Any], *, thorough: bool) -> str:
    """What differs between a folder and its manifest. Not thorough: large files by size and time alone.

    A copied workspace has other times and the same bytes: where only the time differs the digest decides.
    """
    for name, recorded in manifest["files"].items():
        try:
            status = (folder / name).stat()
        except FileNotFoundError:
            return f"{name}: missing"
        if status.st_size != recorded["size"]:
            return f"{name}: {status.st_size} bytes, the manifest says {recorded['size']}"
        suspect = thorough or status.st_size <= SMALL_FILE or status.st_mtime_ns != recorded["modified_ns"]
        if suspect and file_digest(folder / name) != recorded["sha256"]:
            return f"{name}: bytes differ from the manifest"
    return ""


def remove(path: Path) -> None:
    """Take a folder away, or a link to one; never what a link leads to."""
    if path.is_symlink():
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


def sync(path: Path) -> None:
    """Make a file's bytes or a folder's names durable, where folders can be synced (not on Windows)."""
    with contextlib.suppress(PermissionError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
