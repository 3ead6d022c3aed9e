"""A dataset's folder: what annotate put there, whether it may be replaced, and swapping in a new one.

The folder's own manifest lists every file with its size and time, and the image that each copy came from. A
folder is replaced only if annotate made it, nobody added to it or changed it, and every image in it still
exists elsewhere: images are somebody's only copy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate import jsonfile, sources
from annotate.digests import file_digest
from annotate.errors import InputError, WorkspaceBusy, printable
from annotate.images import Unreadable
from annotate.locks import lock_file
from annotate.records import Embeddings
from annotate.workspace import MANIFEST, Plan, as_json, remove, swap, write_bytes


@contextlib.contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Keep other runs off the folder, whatever their workspace, and clean up after a killed one.

    raises  WorkspaceBusy where another run is writing it
    """
    place = Path(os.path.abspath(output))
    place.parent.mkdir(parents=True, exist_ok=True)
    lock = hidden(place, "lock")
    with open(lock, "ab") as file:
        if not lock_file(file.fileno()):
            raise WorkspaceBusy(f"{printable(output)} is being written by another run", hint="wait until it ends")
        try:
            if hidden(place, "old").exists() and not place.exists():
                hidden(place, "old").rename(place)
            remove(hidden(place, "old"))
            remove(hidden(place, "new"))
            yield
        finally:
            lock.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(output: Path, images: Embeddings) -> Iterator[Path]:
    """A new folder to fill; put in the output's place when the block ends well, gone when it does not.

    The old folder is looked at once more just before: somebody may have worked in it meanwhile.
    """
    place = Path(os.path.abspath(output))
    new = hidden(place, "new")
    new.mkdir()
    try:
        yield new
        check_replaceable(output, images)
        swap(new, place, hidden(place, "old"))
    finally:
        remove(new)


def hidden(place: Path, role: str) -> Path:
    """A name beside the folder, for the new one, the old one or the lock."""
    return place.parent / f".{place.name}.annotate-{role}"


def check_replaceable(output: Path, images: Embeddings | None = None) -> None:
    """An existing folder may go only if annotate made it, nobody worked in it, and no image lives there alone.

    images  as they are now: one that was only renamed is not gone; without them only the rest is checked
    """
    shown, hint = printable(output), "choose another folder, or move this one away yourself"
    if not output.exists() or not any(output.iterdir()):
        return
    manifest = read_manifest(output)
    if manifest is None:
        raise InputError(f"{shown} exists and was not made by annotate", hint=hint)
    recorded: dict[str, list[int]] = manifest["files"]
    present = {path: status for path, status in files_below(output) if path != MANIFEST}
    removed = sorted(recorded.keys() - present.keys())
    if removed:
        hint = "delete the folder yourself to have it made anew, or choose another one"
        raise InputError(f"{shown}: somebody removed {printable(removed[0])}{and_more(removed)}", hint=hint)
    added = sorted(present.keys() - recorded.keys())
    if added:
        raise InputError(f"{shown}: somebody added {printable(added[0])}{and_more(added)}", hint=hint)
    originals: dict[str, str] = manifest["originals"]
    changed = sorted(
        path
        for path, status in present.items()
        if signature(status) != recorded[path] and not is_the_original(output / path, originals.get(path))
    )
    if changed:
        raise InputError(f"{shown}: somebody changed {printable(changed[0])}{and_more(changed)}", hint=hint)
    if images:
        check_not_the_only_copies(output, images)


def check_not_the_only_copies(output: Path, images: Embeddings) -> None:
    """An existing folder stays if it holds an image whose original is gone, and not only renamed."""
    manifest = read_manifest(output)
    if manifest is None or manifest["config"]["link"] == "symlink":
        return
    known = {
        fact["digest"]
        for fact, path in zip(images.images, images.image_paths, strict=True)
        if fact and (sources.is_url(path) or is_there(path))  # addresses have been fetched, or will be
    }
    lonely = sorted(
        {
            original: path
            for path, original in manifest["originals"].items()
            if (output / path).exists()
            and (sources.is_url(original) or not is_there(original))  # addresses are asked last
            and file_digest(output / path) not in known
            and not is_there(original)
        }.values()
    )
    if lonely:
        raise InputError(
            f"{printable(output)} holds the only copy of {printable(lonely[0])}{and_more(lonely)}",
            hint="if the original was deleted on purpose, delete this folder too; else choose another one",
        )


def is_there(location: str) -> bool:
    """Whether an image still exists. What lies at an address is fetched to know."""
    try:
        if sources.status(location) is None:
            sources.fetch(location)
    except (OSError, Unreadable):
        return False
    return True


def is_the_original(path: Path, original: str | None) -> bool:
    """Whether a file is another name of the image itself, so that a change was made to the image."""
    return original is not None and os.path.exists(original) and os.path.samefile(path, original)


def and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""


def stale(plan: Plan, output: Path) -> str:
    """Why the folder is not what the plan would make; empty where it is."""
    manifest = read_manifest(output)
    if manifest is None:
        return "missing"
    why = plan.differs(manifest)
    if why:
        return f"stale: {why}"
    present = {path: signature(status) for path, status in files_below(output) if path != MANIFEST}
    return "" if present == manifest["files"] else "damaged: its files are not those that were written"


def read_manifest(output: Path) -> dict[str, Any] | None:
    try:
        manifest = jsonfile.loads((output / MANIFEST).read_bytes())
        known = {"stage", "version", "config", "inputs", "files", "originals"} <= manifest.keys()
    except (OSError, ValueError, AttributeError):
        return None
    return dict(manifest) if known and manifest["stage"] == "organize" else None


def files_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file or link below a folder, as a path relative to it."""
    for here, folders, files in os.walk(folder):
        names = [*files, *(name for name in folders if os.path.islink(os.path.join(here, name)))]
        for name in names:
            path = os.path.join(here, name)
            yield os.path.relpath(path, folder).replace(os.sep, "/"), os.lstat(path)


def signature(status: os.stat_result) -> list[int]:
    """What changes when somebody edits a file: size and time of change of its content."""
    return [status.st_size, status.st_mtime_ns]


def seal(new: Path, plan: Plan, made: Mapping[str, str]) -> None:
    """The manifest, last: what annotate put here, so that it can tell later what it may replace."""
    files = {path: signature(status) for path, status in sorted(files_below(new))}
    manifest = {
        "stage": plan.stage,
        "version": plan.version,
        "config": dict(plan.config),
        "inputs": dict(plan.inputs),
        "files": files,
        "originals": dict(made),
    }
    write_bytes(new / MANIFEST, as_json(manifest))
