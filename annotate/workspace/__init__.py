"""Artifacts on disk: publish whole, read checked, lock, freshness.

A stage is a folder of the workspace with its artifacts and a `manifest.json`. The folder is written
beside its place, synced, and swapped in by one rename, so that a reader finds the old output or the new
one, whatever instant a kill comes.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from annotate.errors import DamagedArtifact, Hint, InputError, MissingArtifact, WorkspaceBusy, printable
from annotate.records.declared import Record, artifact_fields, stage_names
from annotate.workspace.artifacts import as_json, load_field, read_file, write_bytes, write_record
from annotate.workspace.digests import content_digest
from annotate.workspace.litter import is_litter
from annotate.workspace.locks import Taken, locked
from annotate.workspace.manifest import MANIFEST, damage, fingerprint, names_of_files, parse_manifest
from annotate.workspace.opening import PARTS, sync
from annotate.workspace.plan import CACHE, Plan, State
from annotate.workspace.publishing import paths_below, remove, swap
from annotate.workspace.repair import first_make, repair

MOST_OF_A_MANIFEST = 1 << 26  # bytes; no stage writes a hundredth of that

R = TypeVar("R", bound=Record)


class Workspace:
    """The folder of artifacts, `artifacts/` unless the user says otherwise."""

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("ANNOTATE_WORKSPACE") or "artifacts")
        if self.root.exists() and not self.root.is_dir():
            raise InputError(
                f"{printable(self.root)}: not a folder",
                hint=Hint("choose another folder", "choose another one: `--workspace DIR`"),
            )
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
                f"{printable(path)}: not the manifest that was written", hint=repair(stage)
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
                raise MissingArtifact(f"no {record.stage} artifacts in {place}/", hint=first_make(record.stage))
            try:
                return self._read(record, manifest)
            except (DamagedArtifact, FileNotFoundError):
                # Another run may have swapped the folder between our reads; then the manifest has changed too.
                if attempt == 2 or self.manifest(record.stage) == manifest:
                    raise
        raise AssertionError("unreachable")

    def _read(self, record: type[R], manifest: Mapping[str, Any]) -> R:
        folder, hint = self.folder(record.stage), repair(record.stage)
        problem = damage(folder, manifest, thorough=False)
        if problem:
            raise DamagedArtifact(f"{printable(folder)}/{problem}", hint=hint)
        try:
            values = {}
            for name, declared in artifact_fields(record).items():
                if declared.file is None:
                    if name not in manifest["facts"] and not declared.optional:
                        raise ValueError(f"{MANIFEST}: '{name}' is missing")
                    values[name] = manifest["facts"].get(name)
                elif declared.file in manifest["files"]:
                    values[name] = load_field(folder, record, name)
                elif not declared.optional:
                    raise ValueError(f"{MANIFEST}: '{declared.file}' is missing")
            return record(**values)
        except (ValueError, TypeError) as error:
            raise DamagedArtifact(f"{printable(folder)}/{error}", hint=hint) from error

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
                hint=Hint(
                    "wait until it ends, or use another folder",
                    "wait until it ends, or use another folder: `--workspace DIR`",
                ),
            ) from None

    def _sweep(self) -> None:
        """Clean up after a killed run."""
        for stage in stage_names():
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
                hint=Hint("choose another workspace", "choose another workspace: `--workspace DIR`"),
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
