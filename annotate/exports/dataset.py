"""A dataset's folder: what annotate put there, and whether it is still that.

The folder's own manifest lists every file with its size, time and sha256, and the image that each copy came from.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate.errors import printable
from annotate.workspace.artifacts import write_bytes
from annotate.workspace.digests import file_digest
from annotate.workspace.litter import is_litter
from annotate.workspace.manifest import MANIFEST
from annotate.workspace.plan import Plan
from annotate.workspace.publishing import paths_below
from annotate.workspace.sealed import read_manifest, sealed

GONE = "is gone"


@dataclass(frozen=True)
class Copy:
    """An image of a dataset: where it came from, and the sha256 of its bytes."""

    original: str
    sha256: str


class Digests:
    """The sha256 of files, each read once however many names it has, and again only where it changed meanwhile."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def sha256(self, path: Path) -> str:
        status = path.stat()
        file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if file not in self._known:
            self._known[file] = file_digest(path)
        return self._known[file]


def is_the_original(path: Path, original: str | None) -> bool:
    """Whether a file is another name of the image itself, so that a change was made to the image."""
    return original is not None and os.path.exists(original) and os.path.samefile(path, original)


def leads_to(link: Path, original: str | None) -> bool:
    return original is not None and os.readlink(link) == os.path.abspath(original)


def and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""


def why_stale(plan: Plan, output: Path) -> str:
    """Why the dataset would come out otherwise if it were made now; empty where it would not."""
    manifest = read_manifest(output)
    if manifest is None:
        return "missing"
    why = plan.differs(manifest)
    if why:
        return f"stale: {why}"
    recorded = {path: entry[:2] for path, entry in manifest["files"].items()}
    present = {path: signature(status) for path, status in dataset_files(output, recorded).items()}
    return "" if present == recorded else "damaged: its files are not those that were written"


def find_damage(output: Path) -> str:
    """Read every byte of a dataset; say what is not as it was written, or nothing."""
    if not output.is_dir():
        return GONE
    manifest = read_manifest(output)
    if manifest is None:
        return f"{MANIFEST}: {'not the one that was written' if (output / MANIFEST).exists() else 'missing'}"
    recorded: dict[str, list[Any]] = manifest["files"]
    present, digests = dataset_files(output, recorded), Digests()
    for path, entry in recorded.items():
        if path not in present:
            return f"{printable(first_missing(output, path))}: missing"
        problem = difference(output / path, present[path], entry, manifest["originals"].get(path), digests)
        if problem:
            return f"{printable(path)}: {problem}"
    added = sorted(present.keys() - recorded.keys())
    return f"{printable(added[0])}: was added{and_more(added)}" if added else ""


def difference(
    path: Path, status: os.stat_result, recorded: Sequence[Any], original: str | None, digests: Digests
) -> str:
    """What is wrong with a file of a dataset, or nothing. A link is as good as the image that it leads to."""
    size, modified_ns, *digest = recorded
    linked = path.is_symlink()
    if linked and not leads_to(path, original):
        return "leads to another file"
    try:
        if not linked and status.st_size != size and not is_the_original(path, original):
            return f"{status.st_size} bytes, the manifest says {size}"
        if digest and digests.sha256(path) == digest[0]:
            return ""
    except FileNotFoundError:
        return f"the image that it leads to is gone: {printable(original)}"
    except OSError as error:
        return error.strerror or "cannot be read"
    if not digest:  # annotate 0.1.0 recorded none
        return "" if signature(status) == [size, modified_ns] else "bytes or time differ from the manifest"
    if linked or is_the_original(path, original):
        return f"the image that it is linked to was edited since: {printable(original)}"
    return "bytes differ from the manifest"


def first_missing(output: Path, path: str) -> str:
    """The file, or the folder that is missing with it."""
    parts = path.split("/")
    depths = range(1, len(parts) + 1)
    depth = next((depth for depth in depths if not os.path.lexists(output.joinpath(*parts[:depth]))), len(parts))
    return "/".join(parts[:depth]) + ("/" if depth < len(parts) else "")


def dataset_files(output: Path, recorded: Collection[str]) -> dict[str, os.stat_result]:
    """The files of a dataset but its manifest and what systems strew about."""
    return {
        path: status
        for path, status in entries_below(output)
        if path != MANIFEST and (path in recorded or not is_litter(path))
    }


def entries_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file or link below a folder, as a path relative to it.

    raises  OSError where a folder cannot be listed: it is not an empty one
    """
    for path in paths_below(folder):
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            yield os.path.relpath(path, folder).replace(os.sep, "/"), status


def signature(status: os.stat_result) -> list[int]:
    """What changes when somebody edits a file: size and time of change of its content."""
    return [status.st_size, status.st_mtime_ns]


def seal(new: Path, plan: Plan, made: Mapping[str, Copy], **further: Any) -> None:
    """The manifest, last: what annotate put here, so that it can tell later what it may replace.

    made     path in the dataset to the image that is there
    further  what else the manifest says
    """
    files = {
        path: [*signature(status), made[path].sha256 if path in made else file_digest(new / path)]
        for path, status in sorted(entries_below(new))
    }
    manifest = {
        "stage": plan.stage,
        "version": plan.version,
        "config": dict(plan.config),
        "inputs": dict(plan.inputs),
        "files": files,
        "originals": {path: copy.original for path, copy in made.items()},
        **further,
    }
    write_bytes(new / MANIFEST, sealed(manifest))
