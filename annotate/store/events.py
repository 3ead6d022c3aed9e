"""An event: one thing that somebody said of one image, or took back."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from annotate.workspace.plan import json_text

CLASS, CLASSES, VOTES, NONE, EMPTY, BOXES, UNDO = "class", "classes", "votes", "none", "empty", "boxes", "undo"
KINDS = {
    CLASS: "the image shows this class",
    CLASSES: "the image shows several classes",
    VOTES: "how many people, or how surely somebody, said each class",
    NONE: "the image shows none of the classes",
    EMPTY: "there is nothing on the image that boxes would go round",
    BOXES: "boxes, each with a class",
    UNDO: "an earlier event is taken back",
}
SIDES = ("x", "y", "width", "height")
LONGEST_NAME = 200  # letters of who said something, or of where it came from


@dataclass(frozen=True)
class Class:
    """A class of a project. Its id stays when its name changes, and so do the answers that speak of it."""

    id: str
    name: str
    colour: str = ""
    key: str = ""  # of the keyboard
    position: int = 0


@dataclass(frozen=True)
class Event:
    """What somebody said.

    id        made by whoever sends it, so that sending it twice adds it once
    who       said it
    when      in UTC, as ISO 8601 writes it
    source    the file, the folder or the page that it came from
    image     what the image is known by (`image_key`); empty for an undo
    kind      one of KINDS
    payload   {"class": id}; {"classes": [id, ...]}; {"votes": {id: number}}; {"boxes": [{"x", "y", "width", "height",
              "class"}, ...]} in pixels of the upright image; {} for all others
    saw       the revision of the store that this person had before their eyes
    undoes    the id of the event that is taken back
    batch     equal for events that were said together, and that one undo takes back
    revision  its number in the store, from one
    """

    id: str
    who: str
    when: str
    source: str
    image: str
    kind: str
    payload: Mapping[str, Any]
    saw: int = 0
    undoes: str | None = None
    batch: str = ""
    revision: int = 0


@dataclass(frozen=True)
class Seen:
    """An image that an event speaks of: where it lies, and its size in pixels where that is known."""

    key: str
    path: str
    width: int | None = None
    height: int | None = None


def image_key(digest: str | None, path: str) -> str:
    """What an image is known by: its bytes, or its path where those are unknown."""
    return digest or f"path {json_text(path)}"


def new_id() -> str:
    return uuid.uuid4().hex


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_json(event: Event) -> dict[str, Any]:
    """The event without its number, which is that of one store alone."""
    return {name: value for name, value in vars(event).items() if name != "revision" and value is not None}


def from_json(content: Any) -> Event:
    """raises  ValueError that says what is wrong with it"""
    if not isinstance(content, dict):
        raise ValueError("not an event")
    texts = ("id", "who", "when", "source", "image", "kind")
    missing = next((name for name in texts if not isinstance(content.get(name), str)), None)
    if missing:
        raise ValueError(f"no '{missing}'")
    saw, undoes, batch = content.get("saw", 0), content.get("undoes"), content.get("batch", "")
    if not isinstance(saw, int) or not isinstance(batch, str) or not (undoes is None or isinstance(undoes, str)):
        raise ValueError("'saw', 'undoes' or 'batch' is of another type")
    said = {name: content[name] for name in texts}
    return checked(Event(**said, payload=content.get("payload", {}), saw=saw, undoes=undoes, batch=batch))


def checked(event: Event) -> Event:
    """The event, with names cut where they are too long to be names.

    raises  ValueError that says what is wrong with it
    """
    if event.kind not in KINDS:
        raise ValueError(f"no kind of answer is called '{event.kind}'")
    if not isinstance(event.payload, Mapping):
        raise ValueError("its payload is no object")
    if bool(event.undoes) != (event.kind == UNDO) or bool(event.image) == (event.kind == UNDO):
        raise ValueError("an undo names an event and no image, everything else an image")
    check_payload(event.kind, event.payload)
    return replace(event, who=clean(event.who), source=clean(event.source))


def clean(name: str) -> str:
    """A name as every database takes it."""
    return json_text(name.replace("\0", "").strip()[:LONGEST_NAME])


def check_payload(kind: str, payload: Mapping[str, Any]) -> None:
    if kind == CLASS and not is_id(payload.get("class")):
        raise ValueError("it names no class")
    if kind == CLASSES:
        named = payload.get("classes")
        if not isinstance(named, list) or not named or not all(map(is_id, named)) or len({*named}) < len(named):
            raise ValueError("it names no classes, or one twice")
    if kind == VOTES:
        votes = payload.get("votes")
        if not isinstance(votes, Mapping) or not all(is_id(name) and is_amount(n) for name, n in votes.items()):
            raise ValueError("its votes are not a number of zero or more for each class")
        if not sum(votes.values()) > 0:
            raise ValueError("all its votes are zero")
    if kind == BOXES:
        boxes = payload.get("boxes")
        if not isinstance(boxes, list) or not all(is_box(box) for box in boxes):
            raise ValueError("its boxes are not of x, y, width, height and class")


def is_box(box: Any) -> bool:
    return (
        isinstance(box, Mapping)
        and is_id(box.get("class"))
        and all(is_number(box.get(side)) for side in SIDES)
        and box["width"] > 0
        and box["height"] > 0
    )


def is_id(name: Any) -> bool:
    return isinstance(name, str) and bool(name)


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_amount(value: Any) -> bool:
    return is_number(value) and value >= 0


def class_ids(event: Event) -> list[str]:
    """The classes that an event speaks of."""
    said = event.payload
    boxes = [box["class"] for box in said.get("boxes", [])]
    return [*([said["class"]] if "class" in said else []), *said.get("classes", []), *said.get("votes", {}), *boxes]


def with_classes(event: Event, other: Mapping[str, str]) -> Event:
    """The event with other ids for its classes."""
    said = dict(event.payload)
    if "class" in said:
        said["class"] = other.get(said["class"], said["class"])
    if "classes" in said:
        said["classes"] = [other.get(name, name) for name in said["classes"]]
    if "votes" in said:
        said["votes"] = {other.get(name, name): n for name, n in said["votes"].items()}
    if "boxes" in said:
        said["boxes"] = [{**box, "class": other.get(box["class"], box["class"])} for box in said["boxes"]]
    return replace(event, payload=said)
