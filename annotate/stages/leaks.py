"""Leakage of a dataset that is split already, whoever made it: copies of one picture in more than one part."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from annotate import sources
from annotate.encoders import cores
from annotate.errors import InputError, printable
from annotate.images import Unreadable, own_pixel_budget
from annotate.images.look import SIDE, look_at
from annotate.kernels.copies import Looks, Pairs, find_copies, parts
from annotate.kernels.groups import numbers_of
from annotate.progress import Progress
from annotate.records.leaks import PARTS, CheckedDataset, Leak, part_of
from annotate.sources.folders import find_images

LAYOUT = "a dataset has folders train, val (or valid) and test, each with a folder for every class"


def check_dataset(folder: Path, *, max_megapixels: float, progress: Progress) -> CheckedDataset:
    """Look at every image once, and compare all with all; nothing is written.

    raises  InputError where the folder has not at least two parts with images
    """
    top = folder / "splits" if (folder / "splits").is_dir() else folder
    if not top.is_dir():
        raise InputError(f"no folder {printable(folder)}", hint=LAYOUT)
    places = sorted(entry for entry in os.listdir(top) if entry.lower() in PARTS and (top / entry).is_dir())
    paths = [
        os.path.relpath(path, top).replace(os.sep, "/") for place in places for path in find_images(top / place).images
    ]
    counts = {part: sum(part_of(path) == part for path in paths) for part in dict.fromkeys(PARTS.values())}
    images = {part: count for part, count in counts.items() if count}
    if len(images) < 2:
        raise InputError(f"{printable(folder)}: fewer than two parts with images", hint=LAYOUT)
    grey, digests = looked_at(top, paths, max_megapixels, progress)
    seen = np.array([i for i, digest in enumerate(digests) if digest and grey[i].any()], np.int64)
    with progress.steps("looking for copies", len(seen) * len(parts()), "looks") as advance:
        near = find_copies(grey[seen], advance)
    pairs = {(int(seen[i]), int(seen[j])): float(a) for i, j, a in zip(*columns(near), strict=True)}
    pairs |= dict.fromkeys(same_bytes(digests, paths), 1.0)
    leaks = [
        Leak(paths[i], paths[j], digests[i] == digests[j], agreement)
        for (i, j), agreement in pairs.items()
        if part_of(paths[i]) != part_of(paths[j])
    ]
    leaks.sort(key=lambda leak: (not leak.exact, -leak.agreement, leak.first, leak.second))
    return CheckedDataset(images, [path for path, digest in zip(paths, digests, strict=True) if not digest], leaks)


def columns(pairs: Pairs) -> tuple[list[int], list[int], list[float]]:
    return pairs.first.tolist(), pairs.second.tolist(), pairs.agreement.tolist()


def same_bytes(digests: list[str | None], paths: list[str]) -> list[tuple[int, int]]:
    """Of files of the same bytes, the first of each part with the first of the others."""
    first: dict[int, dict[str, int]] = {}
    for row, number in enumerate(numbers_of(digests).tolist()):
        if number >= 0:
            first.setdefault(number, {}).setdefault(part_of(paths[row]), row)
    return [
        (rows[i], rows[j])
        for rows in (sorted(group.values()) for group in first.values())
        for i in range(len(rows))
        for j in range(i + 1, len(rows))
    ]


def looked_at(top: Path, paths: list[str], max_megapixels: float, progress: Progress) -> tuple[Looks, list[str | None]]:
    """The look of each image, and the digest of its bytes; None for those that cannot be read."""
    grey, digests = np.zeros((len(paths), SIDE, SIDE), np.uint8), list[str | None]()

    def look(path: str) -> tuple[Looks | None, str | None]:
        try:
            content = sources.fetch(str(top / path))
            digest = hashlib.sha256(content).hexdigest()
            return look_at(content, max_megapixels=max_megapixels).grey, digest
        except (Unreadable, OSError):
            return None, None

    with (
        own_pixel_budget(),
        ThreadPoolExecutor(min(16, cores()), "look") as pool,
        progress.steps("looking at images", len(paths), "images") as advance,
    ):
        for row, (seen, digest) in enumerate(pool.map(look, paths)):
            if seen is not None:
                grey[row] = seen
            digests.append(digest)
            advance(1)
    return grey, digests
