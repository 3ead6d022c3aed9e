"""What proves a stage whole: its manifest, checked before it is believed, and its files against it."""

from __future__ import annotations

import stat
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from annotate.records.declared import Record, artifact_fields, field_types, fits, record_classes
from annotate.workspace import jsonfile
from annotate.workspace.digests import content_digest, file_digest

MANIFEST = "manifest.json"
SMALL_FILE = 1 << 20  # bytes; up to here a digest costs less than opening the file, so every read checks it


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
    for record in record_classes(stage):
        if not all(is_fact(record, name, fact) for name, fact in manifest["facts"].items()):
            raise ValueError("its facts are of other types")
    return typing.cast(Manifest, manifest)


def lies_within(name: str) -> bool:
    """Whether the name of a file leads nowhere but into the folder it is said of."""
    parts = name.split("/")
    return not (set(parts) & {"", ".", ".."} or "\\" in name or ":" in parts[0] or "\0" in name)


def is_fact(record: type[Record], name: str, value: Any) -> bool:
    """Whether a value can be this fact of a record; a name that the record does not declare can be anything."""
    declared = artifact_fields(record).get(name)
    if declared is None or declared.file:
        return True
    return fits(field_types(record)[name])(value) or (value is None and declared.optional)


def names_of_files(stage: str) -> set[str]:
    """Names of all files, or of folders of them, that a stage may write."""
    records = record_classes(stage)
    declared = {artifact.file for record in records for artifact in artifact_fields(record).values() if artifact.file}
    return declared | {MANIFEST} | ({"report.txt", "report.html", "figures"} if stage == "report" else set())


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
