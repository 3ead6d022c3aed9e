"""Boxes that people drew: taken in from files of other programs, and read from the store for whoever needs them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from annotate import sources
from annotate.errors import InputError, first_few, printable
from annotate.exports.boxes import Box, Boxed, Drawings, table, voc, yolo
from annotate.exports.boxes.reading import read_boxes
from annotate.exports.naming import names_of
from annotate.records import Embeddings
from annotate.sources.own import made_by
from annotate.stages.answers import known_digest, snapshot_of, store_of, who_of
from annotate.stages.labelling import (
    LISTED,
    Classes,
    Confirm,
    Decision,
    Labelled,
    count_of,
    keys_of,
    seen_of,
)
from annotate.store import older, place
from annotate.store.events import BOXES, EMPTY, Event, image_key, new_id, now
from annotate.store.paths import finder
from annotate.store.snapshot import Snapshot
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import read_file
from annotate.workspace.plan import json_text
from annotate.workspace.publishing import paths_below

if TYPE_CHECKING:
    from annotate.stages import Context

LARGEST_JSON = 1 << 31  # bytes
PLACES = 3  # decimals of a pixel that are kept


@dataclass(frozen=True)
class Drawn(Labelled):
    """What a file of boxes comes to.

    boxes    that are new, on `images`
    empty    images with nothing on them
    named    classes of the file
    fresh    those that are no class of boxes yet
    dropped  rows that were not used, each with its reason
    """

    boxes: int = 0
    empty: int = 0
    named: int = 0
    fresh: Sequence[str] = ()
    dropped: Sequence[str] = ()

    @property
    def in_words(self) -> list[str]:
        new = f" ({len(self.fresh):,} new)" if self.fresh else ""
        said = [
            f"{count_of(self.boxes, 'box', 'boxes')} on {count_of(self.images, 'image')}, "
            f"{count_of(self.named, 'class', 'classes')}{new}"
        ]
        if self.empty:
            said.append(f"{count_of(self.empty, 'image')} with nothing on it")
        if self.unchanged:
            said.append(f"{count_of(self.unchanged, 'image')} with the same boxes as before")
        if self.strangers:
            listed = first_few([printable(name) for _, name in self.strangers], LISTED)
            said.append(f"{count_of(len(self.strangers), 'row')} of the file name no image that is here: {listed}")
        if self.dropped:
            said.append(f"{count_of(len(self.dropped), 'box', 'boxes')} not used: {first_few(self.dropped, LISTED)}")
        return [*said, *self.notes]


# -- from files ----------------------------------------------------------------------------------------


def are_in(source: Path) -> bool:
    """Whether a file or folder speaks of boxes, as far as a look at it tells."""
    kind = source.suffix.lower()
    if source.is_dir():
        if made_by(source) == "organize":
            return False
        return yolo.is_folder_of(source) or voc.is_folder_of(source) or has_coco(source)
    if kind == ".xml":
        return True
    if kind in (".csv", ".tsv"):
        return table.is_table_of(source)
    return kind == ".json" and is_json_of(source)


def has_coco(folder: Path) -> bool:
    return any(is_json_of(Path(path)) for path in paths_below(folder) if path.endswith(".json"))


def is_json_of(file: Path) -> bool:
    """Whether a JSON file is one of COCO with boxes, or of Label Studio with rectangles."""
    try:
        content = jsonfile.loads(read_file(file, LARGEST_JSON))
    except (OSError, ValueError):
        return False
    if isinstance(content, dict):
        rows = content.get("annotations")
        if "images" not in content or "categories" not in content or not isinstance(rows, list):
            return False
        return not rows or any(isinstance(row, dict) and "bbox" in row for row in rows)
    return isinstance(content, list) and any("rectanglelabels" in str(task) for task in content[:100])


def label_boxes(context: Context, source: Path, *, confirm: Confirm | None = None) -> Drawn:
    """Keep the boxes of a file or folder; they replace those that the same person drew on the same images.

    confirm  asked before anything is written; without it all is
    raises   InputError where it cannot be read, or names none of the images; then nothing is written
    """
    images = context.workspace.read(Embeddings)
    find = image_finder(images, source)
    drawings = read_boxes(source, lambda name: size_of(images, find(name)))
    who, before = who_of(context), snapshot_of(context)
    made, kept = judged(drawings, source, images, find, before, who)
    if not made.images and not made.unchanged:
        raise InputError(
            f"{printable(source)}: names none of the {len(images.image_paths):,} images",
            hint="names of files must be those of the images, or of an export of annotate",
        )
    decision = confirm(made) if confirm else Decision(True, True)
    if not decision.write or not kept:
        return replace(made, answers=0, images=0, boxes=0)
    write(context, drawings, kept, images, source, who)
    return made


def judged(
    drawings: Drawings,
    source: Path,
    images: Embeddings,
    find: Callable[[str], int | None],
    before: Snapshot,
    who: str,
) -> tuple[Drawn, dict[int, Boxed]]:
    """What the file comes to, and the images by row whose boxes are new."""
    found: dict[int, Boxed] = {}
    strangers = []
    for number, image in enumerate(drawings.images, 1):
        row = find(image.name)
        if row is None:
            strangers.append((number, image.name))
        elif row in found:  # of two splits, or two names of one image
            found[row] = replace(found[row], boxes=found[row].boxes + image.boxes)
        else:
            found[row] = image
    kept = {row: image for row, image in found.items() if not is_there(image, drawings, images, row, before, who)}
    used = {drawings.class_names[box.kind] for image in found.values() for box in image.boxes}
    known = {one.name for one in before.classes}
    notes = []
    if drawings.clipped:
        notes.append(f"{count_of(drawings.clipped, 'box', 'boxes')} reached over the edge and were cut there")
    if drawings.disagreeing:
        notes.append(
            f"{count_of(len(drawings.disagreeing), 'image')} of another size than the file says: "
            f"{first_few(drawings.disagreeing, 3)}; coordinates are taken as those of the upright image"
        )
    return (
        Drawn(
            printable(source.name),
            answers=len(kept),
            images=len(kept),
            unchanged=len(found) - len(kept),
            strangers=strangers,
            added=True,
            notes=notes,
            boxes=sum(len(image.boxes) for image in kept.values()),
            empty=sum(not image.boxes for image in kept.values()),
            named=len(used),
            fresh=sorted(used - known),
            dropped=drawings.dropped,
        ),
        kept,
    )


def is_there(image: Boxed, drawings: Drawings, images: Embeddings, row: int, before: Snapshot, who: str) -> bool:
    """Whether this person drew the same boxes on the image before."""
    event = before.boxes.get(keys_of(images, row), {}).get(who)
    if event is None:
        return False
    there = [(before.names.get(box["class"]), *(box[side] for side in SIDES)) for box in event.payload["boxes"]]
    return there == [(drawings.class_names[box.kind], *sides_of(box).values()) for box in image.boxes]


SIDES = ("x", "y", "width", "height")


def sides_of(box: Box) -> dict[str, float]:
    return {side: round(getattr(box, side), PLACES) for side in SIDES}


def image_finder(images: Embeddings, source: Path) -> Callable[[str], int | None]:
    """From a name in a file of boxes to the image: by path, by its name in an export, or without ending."""
    around = source if source.is_dir() else source.parent
    folders = [*([images.folder] if images.folder else []), str(around)]
    by_path = finder(images.image_paths, folders=folders)
    base = sources.base_folder(images.folder) if images.folder else None
    exported = {name: row for row, name in enumerate(names_of(((path, "") for path in images.image_paths), base))}
    stems = Counter(stem_of(path) for path in images.image_paths)
    by_stem = {stem_of(path): row for row, path in enumerate(images.image_paths) if stems[stem_of(path)] == 1}

    def find(name: str) -> int | None:
        row = by_path(name)
        if row is None:
            row = exported.get(stem_of(name))
        return by_stem.get(stem_of(name)) if row is None else row

    return find


def stem_of(path: str) -> str:
    return os.path.splitext(os.path.basename(path))[0]


def size_of(images: Embeddings, row: int | None) -> tuple[int, int] | None:
    fact = images.images[row] if row is not None else None
    return (fact["width"], fact["height"]) if fact and "width" in fact and "height" in fact else None


def write(
    context: Context, drawings: Drawings, kept: dict[int, Boxed], images: Embeddings, source: Path, who: str
) -> None:
    """Add an event for every image, in one step."""
    store = store_of(context)
    older.take_over(store, context.workspace.root, who)
    with store.adding() as adding:
        classes = Classes(adding.known_classes(), [one.name for one in adding.known_classes()])
        for name in drawings.class_names:  # in the file's order, also those that no box has yet
            classes.id_of(name)
        adding.classes(classes.fresh)
        batch, at, saw = new_id(), now(), adding.snapshot().revision
        events = []
        for row, image in kept.items():
            boxes = [sides_of(box) | {"class": classes.id_of(drawings.class_names[box.kind])} for box in image.boxes]
            key = keys_of(images, row)
            said = json_text(printable(source.name))
            events.append(Event(new_id(), who, at, said, key, BOXES, {"boxes": boxes}, saw, None, batch))
        adding.images([seen_of(images, row, keys_of(images, row)) for row in kept])
        adding.events(events)
    place.note(store, context.workspace.root)


# -- from the store ------------------------------------------------------------------------------------


def boxes_on(images: Embeddings, found: Snapshot) -> tuple[list[str], dict[int, tuple[Box, ...]]]:
    """The names of all classes, and by row the boxes of every image that somebody looked at for boxes.

    Of several people who drew on an image, the last one counts.
    """
    numbers = {one.id: k for k, one in enumerate(found.classes)}
    boxes = {}
    for row, (path, fact) in enumerate(zip(images.image_paths, images.images, strict=True)):
        for key in (image_key(known_digest(fact), path), image_key(None, path)):
            drawn = [*found.boxes.get(key, {}).values()]
            drawn += [event for event in found.answers.get(key, {}).values() if event.kind == EMPTY]
            if drawn:
                last = max(drawn, key=lambda event: event.revision)
                rows = last.payload.get("boxes", [])
                boxes[row] = tuple(
                    Box(box["x"], box["y"], box["width"], box["height"], numbers[box["class"]]) for box in rows
                )
                break
    return [one.name for one in found.classes], boxes
