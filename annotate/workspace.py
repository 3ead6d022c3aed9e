"""Artifacts on disk: publish whole, read checked, lock, freshness.

A stage is a folder of the workspace with its artifacts and a `manifest.json`. The folder is written
beside its place, synced, and swapped in by one rename, so that a reader finds the old output or the new
one, whatever instant a kill comes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import platform
import shutil
import stat
import threading
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict, TypeVar

import numpy as np

from annotate import jsonfile
from annotate.arrays import RowsFile, load_array
from annotate.digests import content_digest, file_digest
from annotate.errors import DamagedArtifact, InputError, MissingArtifact, WorkspaceBusy, printable
from annotate.folders import is_litter
from annotate.lines import Lines
from annotate.locks import Taken, locked
from annotate.opening import NO_WAITING, PARTS, opened, sync, sync_handle
from annotate.reasons import why_changed
from annotate.records import Artifact, Record, artifacts_of, fits, kinds_of, records_of

STAGES = ("embed", "text", "cluster", "refine", "organize", "report")
MANIFEST = "manifest.json"
CACHE = ".cache"  # arrays that cost only time when they are lost
LARGE_FILE = 1 << 27  # bytes; above this arrays are mapped, not read
LARGE_TEXT = 1 << 22  # bytes; above this a list with a row per image stays on disk and is read line by line
MOST_OF_A_MANIFEST = 1 << 26  # bytes; no stage writes a hundredth of that
SMALL_FILE = 1 << 20  # bytes; up to here a digest costs less than opening the file, so every read checks it

REPAIR = {
    "embed": "annotate embed IMAGES --force",
    "text": "annotate refine --classes A,B",
    "cluster": "annotate cluster --force",
    "refine": "annotate refine --force",
    "organize": "annotate organize OUTPUT --force",
    "report": "annotate report --force",
    "answers": "annotate refine --given none",
}
# What to do about each row of `check`.
REMEDY = {stage: f"run `{command}`" for stage, command in REPAIR.items()} | {
    "dataset": "move what is left of the dataset away, then run `annotate organize OUTPUT`",
    "cache": f"delete the folder {CACHE} of the workspace: what it holds is made again when it is needed",
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
    request  what the command asked for, and who decided the settings; it makes no byte, and lets `status` plan again
    """

    stage: str
    version: int
    config: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    request: Mapping[str, Any] = field(default_factory=dict, compare=False)
    why: str = field(default="", compare=False)

    def differs(self, manifest: Mapping[str, Any]) -> str:
        """Why the manifest on disk is not the one that this plan would write; empty where it is."""
        if manifest["version"] != self.version:
            return f"the method changed (version {manifest['version']} to {self.version})"
        then, now = manifest["config"], json.loads(json.dumps(self.config))
        for key in [*now, *(key for key in then if key not in now)]:
            if then.get(key) != now.get(key):
                return why_changed(key, then.get(key), now.get(key), manifest.get("request", {}), self.request)
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


class Workspace:
    """The folder of artifacts, `artifacts/` unless the user says otherwise."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("ANNOTATE_WORKSPACE") or "artifacts")
        if self.root.exists() and not self.root.is_dir():
            raise InputError(f"{printable(self.root)}: not a folder", hint="choose another one: `--workspace DIR`")
        self._holder: int | None = None  # the thread that has the lock

    # -- reading -------------------------------------------------------------------------------------

    def folder(self, stage: str) -> Path:
        """Where the stage's output lies; its previous one where a kill came between two renames."""
        folder, previous = self.root / stage, self.root / f".{stage}.old"
        return previous if not folder.exists() and previous.exists() else folder

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """The manifest on disk, or None where the stage has not run."""
        path = self.folder(stage) / MANIFEST
        try:
            return dict(parse_manifest(read_file(path, MOST_OF_A_MANIFEST), stage))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise DamagedArtifact(
                f"{printable(path)}: not the manifest that was written", hint=f"run `{REPAIR[stage]}`"
            ) from error

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
                    if name not in manifest["facts"] and not declared.optional:
                        raise ValueError(f"{MANIFEST}: '{name}' is missing")
                    values[name] = manifest["facts"].get(name)
                elif declared.file in manifest["files"]:
                    values[name] = load_field(folder, record, name)
            return record(**values)
        except (ValueError, TypeError) as error:
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
        """One run at a time; within it the same thread may take the lock again. It dies with its process.

        raises  WorkspaceBusy where another run or thread holds it
        """
        me = threading.get_ident()
        if self._holder == me:  # nobody but this thread can have set it
            yield
            return
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            with locked(self.root / ".lock", keep=True):
                self._holder = me
                try:
                    self._sweep()
                    yield
                finally:
                    self._holder = None
        except Taken as taken:
            raise WorkspaceBusy(
                f"{printable(self.root)}/ is in use by another run (process {taken.holder})",
                hint="wait until it ends, or use another folder: `--workspace DIR`",
            ) from None

    def _sweep(self) -> None:
        """Clean up after a killed run."""
        for stage in STAGES:
            folder, previous = self.root / stage, self.root / f".{stage}.old"
            if previous.is_dir() and not previous.is_symlink() and not os.path.lexists(folder):
                previous.rename(folder)
            for leftover in (previous, self.root / f".{stage}.new", self.root / f".{stage}.made"):
                remove(leftover)
        for folder, parts in ((self.root, PARTS), (self.root / CACHE, "*.part")):
            if not folder.is_symlink():
                for part in folder.glob(parts):
                    if not part.is_dir():
                        part.unlink()

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
                paths = sorted(path for path in map(Path, paths_below(new)) if path.is_file())
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
                    "request": dict(plan.request),
                    "facts": facts,
                    "files": files,
                    "ran_on": dict(ran_on),
                }
                manifest["sha256"] = content_digest(manifest)
                write_bytes(new / MANIFEST, as_json(manifest))
                for folder in [new, *(path for path in map(Path, paths_below(new)) if path.is_dir())]:
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
            listed = set(manifest["files"]) | {MANIFEST} if manifest else set()
        except DamagedArtifact:  # about to be repaired, where nothing else lies there
            listed = names_of_files(stage)
        present = {path.relative_to(folder).as_posix() for path in map(Path, paths_below(folder)) if not path.is_dir()}
        strangers = sorted(
            name
            for name in present - listed
            if not is_litter(name) and not name.startswith(tuple(f"{one}/" for one in listed))
        )
        if strangers:
            raise InputError(
                f"{printable(folder)} holds what annotate did not write: {printable(strangers[0])}",
                hint="choose another workspace: `--workspace DIR`",
            )

    def planned(self, plan: Plan) -> None:
        """A stage is about to do this. Whoever only wants to know overrides it, and stops the stage there."""

    def touch(self, plan: Plan) -> None:
        """A fresh stage counts as made now, for tools that go by time, as make does, and by whoever asked last."""
        folder = self.folder(plan.stage)
        path = folder / MANIFEST
        if folder.is_symlink() or path.is_symlink():
            return
        manifest = self.manifest(plan.stage) or {}
        request = json.loads(json.dumps(plan.request))
        with contextlib.suppress(OSError):
            if manifest and manifest.get("request", {}) != request:
                manifest["request"] = request
                manifest["sha256"] = content_digest(manifest)
                new = self.root / f".{plan.stage}.new"  # what a kill leaves there, the next run sweeps
                new.mkdir(exist_ok=True)
                write_bytes(new / MANIFEST, as_json(manifest))
                os.replace(new / MANIFEST, path)
                remove(new)
            os.utime(path)


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


class FileRecorded(TypedDict):
    """A file of a stage, as it was written."""

    sha256: str
    size: int
    modified_ns: int


class Manifest(TypedDict):
    """What a stage was made by and of, and its files."""

    stage: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]
    facts: dict[str, Any]
    files: dict[str, FileRecorded]
    ran_on: dict[str, Any]
    request: NotRequired[dict[str, Any]]


def parse_manifest(content: bytes, stage: str) -> Manifest:
    """raises  ValueError where it is not one that annotate wrote for this stage"""
    try:
        manifest = jsonfile.loads(content)
        if not isinstance(manifest, dict) or manifest.pop("sha256", "") != content_digest(manifest):
            raise ValueError("its own digest differs")
    except RecursionError:  # of its digest
        raise ValueError("it is nested too deeply") from None
    if not fits(Manifest)(manifest) or manifest["stage"] != stage:
        raise ValueError("it lacks keys, or their values are of other types")
    if not all(lies_within(name) for name in manifest["files"]):
        raise ValueError("it names files that lie elsewhere")
    for record in records_of(stage):
        if not all(is_fact(record, name, fact) for name, fact in manifest["facts"].items()):
            raise ValueError("its facts are of other types")
    return typing.cast(Manifest, manifest)


def lies_within(name: str) -> bool:
    """Whether the name of a file leads nowhere but into the folder it is said of."""
    parts = name.split("/")
    return not (set(parts) & {"", ".", ".."} or "\\" in name or ":" in parts[0] or "\0" in name)


def is_fact(record: type[Record], name: str, value: Any) -> bool:
    """Whether a value can be this fact of a record; a name that the record does not declare can be anything."""
    declared = artifacts_of(record).get(name)
    if declared is None or declared.file:
        return True
    return fits(kinds_of(record)[name])(value) or (value is None and declared.optional)


def names_of_files(stage: str) -> set[str]:
    """Names of all files, or of folders of them, that a stage may write."""
    records = records_of(stage)
    declared = {artifact.file for record in records for artifact in artifacts_of(record).values() if artifact.file}
    return declared | {MANIFEST} | ({"report.txt", "report.html", "figures"} if stage == "report" else set())


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


def load_field(folder: Path, record: type[Record], field: str) -> Any:
    """One field of a record, from its file.

    raises  ValueError where the file does not hold what the record declares
    """
    declared = artifacts_of(record)[field]
    try:
        return load(folder / str(declared.file), declared, kinds_of(record)[field], f"run `{REPAIR[record.stage]}`")
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
        except (FileNotFoundError, NotADirectoryError):
            return f"{name}: missing"
        if not stat.S_ISREG(status.st_mode):
            return f"{name}: not a file"
        if status.st_size != recorded["size"]:
            return f"{name}: {status.st_size} bytes, the manifest says {recorded['size']}"
        suspect = thorough or status.st_size <= SMALL_FILE or status.st_mtime_ns != recorded["modified_ns"]
        if suspect and file_digest(folder / name) != recorded["sha256"]:
            return f"{name}: bytes differ from the manifest"
    return ""


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


def paths_below(folder: Path) -> Iterator[str]:
    """Every file, folder and link below a folder; no link is followed.

    raises  OSError where a folder cannot be listed; `Path.rglob` and `os.walk` would pass it over in silence
    """

    def refused(error: OSError) -> None:
        raise error

    for here, folders, files in os.walk(folder, onerror=refused):
        for name in (*folders, *files):
            yield os.path.join(here, name)


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
