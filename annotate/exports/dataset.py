"""The folder of a dataset: know what annotate put there, whether it may be replaced, and swap in a new one.

The folder's own manifest lists every file with its size, time and sha256, and the image that each copy came from.
A folder is replaced only if annotate made it, nobody added to it or changed it, and every image in it still
exists elsewhere: images are somebody's only copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annotate import sources
from annotate.classes.folders import is_litter
from annotate.errors import InputError, WorkspaceBusy, printable
from annotate.images import Unreadable
from annotate.images.own import made_by
from annotate.progress import Progress, Silent
from annotate.records import Embeddings
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import as_json, write_bytes
from annotate.workspace.digests import file_digest
from annotate.workspace.locks import Taken, locked
from annotate.workspace.manifest import MANIFEST
from annotate.workspace.plan import Plan
from annotate.workspace.publishing import remove, swap

SEAL = b',\n "sha256": "'  # before the digest of all that stands above it, in the last line of a manifest
GONE = "is gone"
SEALED_FROM = 3  # version of organize


@dataclass(frozen=True)
class Copy:
    """An image of a dataset: where it came from, and the sha256 of its bytes."""

    original: str
    sha256: str


@contextlib.contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Keep other runs off the folder, whatever their workspace, and clean up after a killed one.

    raises  WorkspaceBusy where another run is writing it
    """
    place = Path(os.path.abspath(output))
    place.parent.mkdir(parents=True, exist_ok=True)
    previous, new = hidden(place, "old"), hidden(place, "new")
    try:
        with locked(hidden(place, "lock"), keep=False):
            if previous.is_dir() and not previous.is_symlink() and not os.path.lexists(place):
                previous.rename(place)
            remove(previous)
            remove(new)
            yield
    except Taken:
        raise WorkspaceBusy(f"{printable(output)} is being written by another run", hint="wait until it ends") from None


@contextlib.contextmanager
def replacing(output: Path, images: Embeddings, digests: Digests) -> Iterator[Path]:
    """A new folder to fill; put in the output's place when the block ends well, gone when it does not.

    The old folder is looked at once more just before: somebody may have worked in it meanwhile.

    digests  of its files as they were looked at before
    """
    place = Path(os.path.abspath(output))
    new = hidden(place, "new")
    new.mkdir()
    try:
        yield new
        check_replaceable(output, images, digests)
        swap(new, place, hidden(place, "old"))
    finally:
        remove(new)


def hidden(place: Path, role: str) -> Path:
    """A name beside the folder, for the new one, the old one or the lock."""
    return place.parent / f".{place.name}.annotate-{role}"


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


def check_replaceable(
    output: Path,
    images: Embeddings | None = None,
    digests: Digests | None = None,
    progress: Progress | None = None,
) -> None:
    """An existing folder may go only if annotate made it, nobody worked in it, and no image lives there alone.

    images   as they are now: one that was only renamed is not gone; without them only the rest is checked
    digests  read every copy, so that an edit is noticed that kept size and time; without, those with another time
    """
    shown, hint = printable(output), "choose another folder, or move this one away yourself"
    if not output.exists() or all(is_litter(path) for path, _ in entries_below(output)):
        return
    manifest = read_manifest(output)
    if manifest is None:
        if (output / MANIFEST).is_file() and made_by(output) == "organize":
            raise InputError(f"{shown}: somebody changed its {MANIFEST}", hint=hint)
        raise InputError(f"{shown} exists and was not made by annotate", hint=hint)
    recorded: dict[str, list[Any]] = manifest["files"]
    present = dataset_files(output, recorded)
    removed = sorted(recorded.keys() - present.keys())
    if removed:
        hint = "delete the folder yourself to have it made anew, or choose another one"
        raise InputError(f"{shown}: somebody removed {printable(removed[0])}{and_more(removed)}", hint=hint)
    added = sorted(present.keys() - recorded.keys())
    if added:
        raise InputError(f"{shown}: somebody added {printable(added[0])}{and_more(added)}", hint=hint)
    originals: dict[str, str] = manifest["originals"]
    changed = []
    with (progress or Silent()).steps("reading what is replaced", len(present), "files") as advance:
        for path, status in sorted(present.items()):
            if somebody_changed(output / path, status, recorded[path], originals.get(path), digests):
                changed.append(path)
            advance(1)
    if changed:
        raise InputError(f"{shown}: somebody changed {printable(changed[0])}{and_more(changed)}", hint=hint)
    if images:
        check_not_the_only_copies(output, images)


def somebody_changed(
    path: Path, status: os.stat_result, recorded: Sequence[Any], original: str | None, digests: Digests | None
) -> bool:
    """Whether a file holds what only it holds: other bytes than annotate put there, and not those of the image itself.

    digests  of files; without them the bytes decide only where another time makes them doubtful
    """
    size, modified_ns, *digest = recorded  # annotate 0.1.0 recorded no digest
    if path.is_symlink():
        return signature(status) != [size, modified_ns] or not leads_to(path, original)
    if is_the_original(path, original):
        return False
    if status.st_size != size or not digest:
        return signature(status) != [size, modified_ns]
    if digests is None and status.st_mtime_ns == modified_ns:
        return False
    return (digests or Digests()).sha256(path) != str(digest[0])


def check_not_the_only_copies(output: Path, images: Embeddings) -> None:
    """An existing folder stays if it holds an image whose original is gone, and not only renamed."""
    manifest = read_manifest(output)
    if manifest is None or manifest["config"].get("link") == "symlink":
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
        if sources.image_status(location) is None:
            sources.fetch(location)
    except (OSError, Unreadable):
        return False
    return True


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


def read_manifest(output: Path) -> dict[str, Any] | None:
    """The manifest of a dataset; None where annotate did not write it, or somebody changed it."""
    try:
        content = (output / MANIFEST).read_bytes()
        manifest = jsonfile.loads(content)
        ours = manifest["stage"] == "organize" and has_its_types(manifest)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    body, mark, digest = content.rpartition(SEAL)
    whole = digest.startswith(hashlib.sha256(body).hexdigest().encode()) if mark else manifest["version"] < SEALED_FROM
    return dict(manifest) if ours and whole else None


def has_its_types(manifest: Mapping[str, Any]) -> bool:
    return (
        isinstance(manifest["version"], int)
        and all(isinstance(manifest[key], dict) for key in ("config", "inputs", "files", "originals"))
        and all(isinstance(entry, list) and len(entry) in (2, 3) for entry in manifest["files"].values())
        and all(isinstance(original, str) for original in manifest["originals"].values())
    )


def dataset_files(output: Path, recorded: Collection[str]) -> dict[str, os.stat_result]:
    """The files of a dataset but its manifest and what systems strew about."""
    return {
        path: status
        for path, status in entries_below(output)
        if path != MANIFEST and (path in recorded or not is_litter(path))
    }


def entries_below(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Every file or link below a folder, as a path relative to it."""
    for here, folders, files in os.walk(folder):
        names = [*files, *(name for name in folders if os.path.islink(os.path.join(here, name)))]
        for name in names:
            path = os.path.join(here, name)
            yield os.path.relpath(path, folder).replace(os.sep, "/"), os.lstat(path)


def signature(status: os.stat_result) -> list[int]:
    """What changes when somebody edits a file: size and time of change of its content."""
    return [status.st_size, status.st_mtime_ns]


def seal(new: Path, plan: Plan, made: Mapping[str, Copy]) -> None:
    """The manifest, last: what annotate put here, so that it can tell later what it may replace.

    made  path in the dataset to the image that is there
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
    }
    # Of the bytes themselves, which for a million images is quicker than to sort and write them once more.
    body = as_json(manifest).removesuffix(b"\n}\n")
    write_bytes(new / MANIFEST, body + SEAL + hashlib.sha256(body).hexdigest().encode() + b'"\n}\n')
