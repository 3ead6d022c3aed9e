"""What somebody did to a dataset since it was written: images that were moved, renamed, added or thrown away.

An image is known by its bytes, whatever it is called. The folder that it lies in now is what that person says of it.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from annotate.errors import Hint, InputError, first_few, printable
from annotate.exports.dataset import Digests, dataset_files
from annotate.exports.layout import REVIEW, UNKNOWN_FOLDER, UNSURE_FOLDER
from annotate.progress import Progress, Silent
from annotate.records import Embeddings
from annotate.sources.lists import looks_like_an_image
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import read_file
from annotate.workspace.sealed import read_manifest

SPLITS, METADATA = "splits", "metadata.json"
LARGEST = 1 << 34  # bytes of metadata.json
NONE = ""  # the class of an image that shows none of them


@dataclass
class Moves:
    """What the folders say now that they did not say when they were written.

    classes   class name by the row of the image, NONE for none of the classes
    strange   files that are no image of the project as it is now
    harmless  whether all else that changed costs nothing: names, places in splits/ and review/
    notes     what was found and is no answer
    """

    classes: dict[int, str] = field(default_factory=dict)
    strange: list[str] = field(default_factory=list)
    harmless: bool = True
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scene:
    """The dataset as it was written, and as it is."""

    output: Path
    manifest: Mapping[str, Any]
    images: Embeddings
    present: Mapping[str, str]  # path of an image in it, to the sha256 of its bytes

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The image of some bytes."""
        return {fact["digest"]: row for row, fact in reversed([*enumerate(self.images.images)]) if fact}

    @cached_property
    def before(self) -> dict[str, str]:
        """Path of each image when the dataset was written, to the sha256 of its bytes."""
        rows = {path: row for row, path in enumerate(self.images.image_paths)}
        found = {}
        for path, original in self.manifest["originals"].items():
            entry = self.manifest["files"].get(path, [])
            row = rows.get(original)
            fact = None if row is None else self.images.images[row]
            digest = entry[2] if len(entry) == 3 else fact["digest"] if fact else None
            if digest:
                found[path] = str(digest)
        return found

    @cached_property
    def class_of_folder(self) -> dict[str, str]:
        """What the folders stood for when they were written."""
        try:
            content = jsonfile.loads(read_file(self.output / METADATA, LARGEST))
            named = {str(folder): str(name) for name, folder in content["class_folders"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            named = {}
        return named | {UNKNOWN_FOLDER: NONE}

    def class_named(self, folder: str) -> str:
        return self.class_of_folder.get(folder, unicodedata.normalize("NFC", folder))


def read_moves(output: Path, images: Embeddings, progress: Progress | None = None) -> Moves:
    """raises  InputError where annotate did not write the dataset, or not of these images"""
    shown, manifest = printable(output), read_manifest(output)
    if manifest is None:
        raise InputError(
            f"{shown}: not a dataset whose manifest annotate wrote",
            hint=Hint(
                "give a dataset of annotate, or a table of path,class",
                "give the folder that `annotate organize` wrote, or a table of path,class",
            ),
        )
    files = dataset_files(output, manifest["files"])
    digests, present, unread = Digests(), dict[str, str](), list[str]()
    with (progress or Silent()).steps("reading what was moved", len(files), "files") as advance:
        for path in files:
            if path in manifest["originals"] or looks_like_an_image(path):
                try:
                    present[path] = digests.sha256(output / path)
                except OSError:  # a link whose image is gone; it lies where it lay
                    unread.append(path)
                    recorded = manifest["files"].get(path, [])
                    present |= {path: recorded[2]} if len(recorded) == 3 else {}
            advance(1)
    scene = Scene(output, manifest, images, present)
    known = scene.before.values() & scene.row_of.keys()
    if manifest["originals"] and not known:
        raise InputError(
            f"{shown}: none of its images is one of this workspace",
            hint=Hint("name its own workspace", "name its own: `--workspace DIR`"),
        )
    moves = Moves(strange=[*unread, *(path for path, digest in present.items() if digest not in scene.row_of)])
    if manifest["originals"] and not by_folder(present):
        raise InputError(f"{shown}: all its images are gone", hint="delete the folder to have it made anew")
    renamed = renamed_folders(scene)
    read_places(scene, moves, renamed)
    papers = [path for path in manifest["files"] if path not in manifest["originals"]]
    lost = [path for path in papers if path not in files]
    extra = [path for path in files if path not in manifest["files"] and path not in present]
    moves.strange += extra
    moves.harmless = not lost
    for old, new in renamed.items():
        moves.notes.append(
            f"the folder {printable(old)}/ is called {printable(new)}/ now; that is no answer: to call the class so, "
            f"run `annotate label --rename {printable(scene.class_named(old))}={printable(new)}`"
        )
    if moves.strange:
        named = first_few([printable(path) for path in moves.strange], 3)
        count = len(moves.strange)
        what = "1 file is no image" if count == 1 else f"{count:,} files are no images"
        moves.notes.append(f"{what} of this project: {named}")
    return moves


def renamed_folders(scene: Scene) -> dict[str, str]:
    """Class folders that were only called otherwise: all that was in them lies in one new folder, and they are gone."""
    before, now = by_folder(scene.before), by_folder(scene.present)
    found = {}
    for old, digests in before.items():
        for new, others in now.items():
            if old not in now and new not in before and digests and digests <= others and len(digests) > 1:
                found[old] = new
    return found


def by_folder(places: Mapping[str, str]) -> dict[str, set[str]]:
    """The bytes in each class folder."""
    found: dict[str, set[str]] = defaultdict(set)
    for path, digest in places.items():
        part, folder = part_and_folder(path)
        if part == "" and folder:
            found[folder].add(digest)
    return found


def part_and_folder(path: str) -> tuple[str, str]:
    """ "" or the word splits or review, and the class folder that a path lies in; "" where it lies in none."""
    parts = path.split("/")
    if parts[0] == SPLITS:
        return SPLITS, parts[2] if len(parts) > 3 else ""
    if parts[0] == REVIEW:
        return REVIEW, ""
    return "", parts[0] if len(parts) > 1 else ""


Places = dict[str, dict[str, list[str]]]  # by the bytes, then by "" or splits: the class folders, one for each file


def places_of(paths: Mapping[str, str]) -> Places:
    found: Places = defaultdict(lambda: defaultdict(list))
    for path, digest in paths.items():
        part, folder = part_and_folder(path)
        if folder:
            found[digest][part].append(folder)
    return found


def read_places(scene: Scene, moves: Moves, renamed: Mapping[str, str]) -> None:
    """What each image's places say, image by image."""
    before, now = places_of(scene.before), places_of(scene.present)
    unclear = []
    for digest in [*before, *(digest for digest in now if digest not in before)]:
        row = scene.row_of.get(digest)
        if row is None:
            continue
        old, new = before[digest], now[digest]
        folder = moved_to([renamed.get(one, one) for one in old[""]], new[""])
        if folder is None and sorted(new[""]) == sorted(renamed.get(one, one) for one in old[""]):
            folder = moved_to(old[SPLITS], new[SPLITS]) if new[SPLITS] else None
        if folder is None:
            continue
        if folder == UNCLEAR:
            unclear.append(digest)
        elif folder != UNSURE_FOLDER:
            moves.classes[row] = NONE if folder == GONE else scene.class_named(folder)
    if unclear:
        rows = [scene.row_of[digest] for digest in unclear]
        named = first_few([printable(os.path.basename(scene.images.image_paths[row])) for row in rows], 3)
        what = "1 image lies" if len(unclear) == 1 else f"{len(unclear):,} images lie"
        moves.notes.append(f"{what} in several folders, which is no answer: {named}")


GONE, UNCLEAR = "/gone", "/unclear"  # no folder is called so


def moved_to(old: Sequence[str], new: Sequence[str]) -> str | None:
    """The folder that an image went to, None where it stayed; its files may be several, where it has copies.

    old, new  the class folder of each of its files
    """
    if not new:
        return GONE if old else None
    fresh = sorted(set(new) - set(old))
    if not fresh:
        return None
    if len(fresh) > 1 or (len(set(new)) > 1 and len(new) > len(old)):
        return UNCLEAR
    return fresh[0]
