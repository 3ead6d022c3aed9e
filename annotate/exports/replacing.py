"""Putting a new dataset in the place of an old one, without the loss of anybody's work.

A folder is replaced only if annotate made it, nobody added to it or changed it, and every image in it still
exists elsewhere: images are somebody's only copy.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from annotate import sources
from annotate.errors import InputError, WorkspaceBusy, printable
from annotate.exports.dataset import (
    Digests,
    and_more,
    dataset_files,
    entries_below,
    is_the_original,
    leads_to,
    signature,
)
from annotate.progress import Progress, Silent
from annotate.records import Embeddings
from annotate.sources.own import made_by
from annotate.workspace.digests import file_digest
from annotate.workspace.litter import is_litter
from annotate.workspace.locks import Taken, locked
from annotate.workspace.manifest import MANIFEST
from annotate.workspace.publishing import remove, swap
from annotate.workspace.sealed import SEALED, read_manifest

HINT = "choose another folder, or move this one away yourself"

Excused = Callable[[], bool]


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
def replacing(
    output: Path, images: Embeddings, digests: Digests, excused: Excused | None = None, *, stage: str = "organize"
) -> Iterator[Path]:
    """A new folder to fill; put in the output's place when the block ends well, gone when it does not.

    The old folder is looked at once more just before: somebody may have worked in it meanwhile.

    digests  of its files as they were looked at before
    stage    that writes it
    excused  as of `check_replaceable`
    """
    place = Path(os.path.abspath(output))
    new = hidden(place, "new")
    new.mkdir()
    try:
        yield new
        check_replaceable(output, images, digests, excused=excused, stage=stage)
        swap(new, place, hidden(place, "old"))
    finally:
        remove(new)


def hidden(place: Path, role: str) -> Path:
    """A name beside the folder, for the new one, the old one or the lock."""
    return place.parent / f".{place.name}.annotate-{role}"


def check_replaceable(
    output: Path,
    images: Embeddings | None = None,
    digests: Digests | None = None,
    progress: Progress | None = None,
    excused: Excused | None = None,
    *,
    stage: str = "organize",
) -> None:
    """An existing folder may go only if annotate made it, nobody worked in it, and no image lives there alone.

    images   as they are now: one that was only renamed is not gone; without them only the rest is checked
    digests  read every copy, so that an edit is noticed that kept size and time; without, those with another time
    stage    that is to write it; what another one wrote stays
    excused  asked where somebody worked in it: whether all that is kept elsewhere
    """
    shown, hint = printable(output), HINT
    if not output.exists() or all(is_litter(path) for path, _ in entries_below(output)):
        return
    manifest = read_manifest(output)
    if manifest is None:
        if (output / MANIFEST).is_file() and made_by(output) in SEALED:
            raise InputError(f"{shown}: somebody changed its {MANIFEST}", hint=hint)
        raise InputError(f"{shown} exists and was not made by annotate", hint=hint)
    if manifest["stage"] != stage:
        raise InputError(f"{shown} was made by `annotate {manifest['stage']}`", hint=hint)
    present = dataset_files(output, manifest["files"])
    originals = {path: original for path, original in manifest["originals"].items() if path in present}
    work = somebodys_work(output, manifest, present, digests, progress)
    if work and not (excused and excused()):
        raise work
    if images and manifest["config"].get("link") != "symlink":
        check_not_the_only_copies(output, images, originals)


def somebodys_work(
    output: Path,
    manifest: Mapping[str, Any],
    present: Mapping[str, os.stat_result],
    digests: Digests | None,
    progress: Progress | None,
) -> InputError | None:
    """What somebody removed, added or changed since the folder was written."""
    shown, recorded = printable(output), manifest["files"]
    removed = sorted(recorded.keys() - present.keys())
    if removed:
        hint = "delete the folder yourself to have it made anew, or choose another one"
        return InputError(f"{shown}: somebody removed {printable(removed[0])}{and_more(removed)}", hint=hint)
    added = sorted(present.keys() - recorded.keys())
    if added:
        return InputError(f"{shown}: somebody added {printable(added[0])}{and_more(added)}", hint=HINT)
    changed = []
    with (progress or Silent()).steps("reading what is replaced", len(present), "files") as advance:
        for path, status in sorted(present.items()):
            if somebody_changed(output / path, status, recorded[path], manifest["originals"].get(path), digests):
                changed.append(path)
            advance(1)
    if changed:
        return InputError(f"{shown}: somebody changed {printable(changed[0])}{and_more(changed)}", hint=HINT)
    return None


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


def check_packed(output: Path) -> None:
    """An export stays if its archives hold an image whose original is gone."""
    packed = (read_manifest(output) or {}).get("packed", {})
    lonely = sorted(original for original in packed if not sources.is_url(original) and not sources.is_there(original))
    if lonely:
        raise InputError(
            f"{printable(output)} holds in its archives the only copy of {printable(lonely[0])}{and_more(lonely)}",
            hint="if the original was deleted or moved on purpose, delete this folder too; else choose another one",
        )


def check_not_the_only_copies(output: Path, images: Embeddings, originals: Mapping[str, str]) -> None:
    """An existing folder stays if it holds an image whose original is gone, and not only renamed.

    originals  path in the folder to the image that it came from
    """
    known = {
        fact["digest"]
        for fact, path in zip(images.images, images.image_paths, strict=True)
        if fact and (sources.is_url(path) or sources.is_there(path))  # addresses have been fetched, or will be
    }
    lonely = sorted(
        {
            original: path
            for path, original in originals.items()
            if (output / path).exists()
            and (sources.is_url(original) or not sources.is_there(original))  # addresses are asked last
            and file_digest(output / path) not in known
            and not sources.is_there(original)
        }.values()
    )
    if lonely:
        raise InputError(
            f"{printable(output)} holds the only copy of {printable(lonely[0])}{and_more(lonely)}",
            hint="if the original was deleted on purpose, delete this folder too; else choose another one",
        )
