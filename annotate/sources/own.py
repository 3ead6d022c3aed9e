"""Recognise what annotate itself wrote below a folder of photos, so that copies and figures are not taken for photos.

They are known by the first lines of their manifest, so that a manifest of a million images need not be read.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from annotate.records import SkippedFile

MANIFEST = "manifest.json"
MANIFEST_START = 256  # bytes of a manifest that are read: what every manifest begins with takes less than a hundred
BEGINNING = re.compile(rb'\{\s*"stage":\s*"([a-z]+)",\s*"version":\s*\d+,\s*"config":\s*\{')
SPLITS_FOLDER = "splits"
DATASET = "a dataset that annotate made: its images are copies. To use them, give this folder itself"
SECOND_NAMES = "the same images once more, sorted into splits"
FIGURES = "a report that annotate made: its images are figures"
REASONS = {"organize": DATASET, "export": DATASET, "report": FIGURES}


def to_search(
    folder: Path, entries: Sequence[os.DirEntry[str]], *, asked: bool
) -> tuple[Sequence[os.DirEntry[str]], SkippedFile | None]:
    """Which of a folder's entries may be somebody's photos, and a row for what is passed over.

    asked  the user named this very folder: then a dataset is searched, its images once
    """
    stage = made_by(folder) if any(entry.name == MANIFEST for entry in entries) else ""
    if stage in ("report", "export") and not asked:
        return [], {"path": str(folder), "reason": REASONS[stage]}
    if stage != "organize" or not any(entry.is_dir(follow_symlinks=False) for entry in entries):
        return entries, None
    if not asked:
        return [], {"path": str(folder), "reason": DATASET}
    rest = [entry for entry in entries if entry.name != SPLITS_FOLDER]
    return rest, {"path": str(folder / SPLITS_FOLDER), "reason": SECOND_NAMES} if len(rest) < len(entries) else None


def in_archive(names: Collection[str], made: Mapping[str, str]) -> dict[str, str]:
    """Which folders of an archive are passed over, and why. A dataset that holds all its images was meant: those once.

    names  of its images
    made   folder, with a slash at the end, to the stage whose manifest lies there
    """
    ours = {folder: stage for folder, stage in made.items() if stage in REASONS}
    if not ours:
        return {}
    inside = Counter(folder for name in names for folder in folders_around(name) if folder in ours)
    over = {}
    for folder, stage in ours.items():
        if stage == "organize" and inside[folder] == len(names):
            over[f"{folder}{SPLITS_FOLDER}/"] = SECOND_NAMES
        elif 0 < inside[folder] < len(names):
            over[folder] = REASONS[stage]
    return over


def folders_around(name: str) -> Iterator[str]:
    """The folders that a member of an archive lies in, each with a slash at the end; the archive itself has no name."""
    yield ""
    place = name.find("/")
    while place >= 0:
        yield name[: place + 1]
        place = name.find("/", place + 1)


def made_by(folder: Path) -> str:
    """The stage that wrote a folder; empty where annotate did not."""
    manifest = folder / MANIFEST
    try:
        if not stat.S_ISREG(manifest.stat().st_mode):  # opening a pipe would wait for whoever writes it
            return ""
        with open(manifest, "rb") as file:
            return stage_in_manifest(file.read(MANIFEST_START))
    except OSError:
        return ""


def stage_in_manifest(beginning: bytes) -> str:
    """The stage whose manifest begins so; empty where it is none of annotate's."""
    found = BEGINNING.match(beginning)
    return found[1].decode() if found else ""
