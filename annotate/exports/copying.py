"""Getting images into a dataset: copied, linked or fetched, and only the bytes that were embedded."""

from __future__ import annotations

import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from annotate import sources
from annotate.errors import Hint, InputError, StaleArtifact, printable
from annotate.exports.dataset import Copy, is_the_original
from annotate.exports.layout import NO_SPLIT, Layout
from annotate.images import Unreadable
from annotate.images.allowance import FILE_MEMORY, UNKNOWN_FILE
from annotate.kernels.splits import SPLITS
from annotate.progress import Progress
from annotate.records import Embeddings, ImageFacts
from annotate.workspace.digests import file_digest
from annotate.workspace.opening import copy_file, set_time

GONE = Hint(
    "put it back, or embed the images again without it", "put it back, or run `annotate embed` again without it"
)
EDITED = Hint("embed and label the images again", "run `annotate embed` and `annotate refine` again")
FETCHERS = 8  # threads; one waits for a server while another writes
FETCHED = FILE_MEMORY.total  # bytes fetched ahead of what is written


def check_unchanged(images: Embeddings) -> None:
    """Every image must be the one that was embedded: its label is of those bytes.

    raises  InputError where one is gone, StaleArtifact where one was edited since
    """
    for path, fact in zip(images.image_paths, images.images, strict=True):
        try:
            status = sources.image_status(path)
        except FileNotFoundError:
            raise InputError(f"{printable(path)} is gone", hint=GONE) from None
        except Unreadable as reason:
            raise InputError(f"{printable(path)}: {reason}", hint=GONE) from reason
        if not status or not fact or (status.size, status.modified_ns) == (fact["size"], fact["modified_ns"]):
            continue
        # Of what is no file here, the bytes tell when they are fetched.
        if sources.is_local(path) and file_digest(Path(path)) != fact["digest"]:
            raise edited(path)


def edited(path: str) -> StaleArtifact:
    return StaleArtifact(f"{printable(path)} was edited since it was embedded", hint=EDITED)


def write_images(images: Embeddings, layout: Layout, link: str, new: Path, progress: Progress) -> dict[str, Copy]:
    """Put every image in its class and in its split; returns path in the output to what lies there.

    Within the output, a split's file is a second name of the class's file where the disk allows it.
    """
    placed = PLACERS[link]
    made: dict[str, Copy] = {}
    parts = layout.splits.tolist()
    in_splits = [
        None if part == NO_SPLIT else f"splits/{SPLITS[part]}/{target}"
        for target, part in zip(layout.places, parts, strict=True)
    ]
    # A folder without images would be a class that loaders look for in vain.
    for folder in sorted({path.rpartition("/")[0] for path in [*layout.places, *in_splits] if path}):
        (new / folder).mkdir(parents=True, exist_ok=True)
    with progress.steps("organizing", len(layout.places), "images") as advance:
        fetched = contents(images.image_paths, images.images)
        for (original, content), fact, target, in_split in zip(
            fetched, images.images, layout.places, in_splits, strict=True
        ):
            try:
                if content is None:
                    placed(original, new / target)
                else:
                    write_copy(original, content, new / target)
                copy = Copy(original, checked_digest(original, new / target, fact))
                if in_split:
                    second_name(new / target, new / in_split, original)
            except FileNotFoundError:
                if os.path.exists(original):
                    raise
                raise InputError(f"{printable(original)} is gone", hint=GONE) from None
            made |= {name: copy for name in (target, in_split) if name}
            advance(1)
    return made


def checked_digest(original: str, target: Path, fact: ImageFacts | None) -> str:
    """The sha256 of a copy, which is read for it; of a link that of the image when it was embedded.

    raises  StaleArtifact where the copy is not of the bytes that were embedded
    """
    if fact and (target.is_symlink() or is_the_original(target, original)):
        return fact["digest"]
    digest = file_digest(target)
    if fact and digest != fact["digest"]:
        raise edited(original)
    return digest


def contents(paths: Sequence[str], facts: Sequence[ImageFacts | None]) -> Iterator[tuple[str, bytes | None]]:
    """Each path with the bytes that were embedded, fetched a few ahead in threads; None for files of this machine.

    raises  InputError where one cannot be fetched, StaleArtifact where it has other bytes by now
    """

    def fetch(path: str, fact: ImageFacts | None) -> bytes:
        try:
            content = sources.fetch(path)
        except Unreadable as reason:
            raise InputError(f"{printable(path)}: {reason}", hint=GONE) from reason
        if fact and hashlib.sha256(content).hexdigest() != fact["digest"]:
            raise edited(path)
        return content

    waiting: deque[tuple[str, Future[bytes] | None, int]] = deque()
    held = 0
    with ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch") as pool:
        try:
            for path, fact in zip(paths, facts, strict=True):
                size = 0 if sources.is_local(path) else fact["size"] if fact else UNKNOWN_FILE
                while waiting and (len(waiting) > 2 * FETCHERS or held + size > FETCHED):
                    first, future, freed = waiting.popleft()
                    yield first, future.result() if future else None
                    held -= freed
                held += size
                waiting.append((path, None if sources.is_local(path) else pool.submit(fetch, path, fact), size))
            for first, future, _ in waiting:
                yield first, future.result() if future else None
        finally:
            pool.shutdown(cancel_futures=True)


def write_copy(original: str, content: bytes, target: Path) -> None:
    """A copy of what is no file here; as old as its archive, where it comes from one."""
    target.write_bytes(content)
    status = sources.image_status(original)
    if status:
        set_time(target, status.modified_ns)


def copy(original: str, target: Path) -> None:
    copy_file(original, target)


def hardlink(original: str, target: Path) -> None:
    try:
        os.link(os.path.realpath(original), target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
            raise
        raise InputError(
            f"{printable(original)} cannot be hard-linked there: {error.strerror}",
            hint=Hint("copy the images, or use symbolic links", "use --link copy or --link symlink"),
        ) from error


def symlink(original: str, target: Path) -> None:
    if not os.path.exists(original):
        raise FileNotFoundError(errno.ENOENT, "no such file", original)
    os.symlink(os.path.abspath(original), target)


def cheapest(original: str, target: Path) -> None:
    """A hard link where the disk allows it, else a symbolic link, else a copy."""
    for place in (hardlink, symlink, copy):
        try:
            place(original, target)
            return
        except (InputError, OSError, NotImplementedError) as error:
            if place is copy or isinstance(error, FileNotFoundError):
                raise


PLACERS: dict[str, Callable[[str, Path], None]] = {
    "copy": copy,
    "hardlink": hardlink,
    "symlink": symlink,
    "auto": cheapest,
}


def second_name(first: Path, second: Path, original: str) -> None:
    if first.is_symlink():
        os.symlink(os.path.abspath(original), second)
        return
    try:
        os.link(first, second)
    except OSError:
        copy_file(first, second)
