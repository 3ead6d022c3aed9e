"""All events as JSON lines, for another store or for other programs; and such a file back again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from annotate.errors import Hint, InputError, first_few, printable
from annotate.store.events import Class, Event, Seen, as_json, class_ids, from_json, with_classes
from annotate.store.store import Store
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import json_line
from annotate.workspace.opening import replacing_file, sync_handle

MARK, VERSION = "annotate answers", 1
BEGINNING = f'{{"format": "{MARK}"'.encode()
HINT = Hint(
    "give a file of answers that annotate has written", "give a file that `annotate label --export` has written"
)


def export(store: Store, file: Path) -> int:
    """Write all events, undos too, whole or not at all; returns how many."""
    events, classes, paths = store.everything_with_paths()
    with replacing_file(file) as out:
        for line in (
            {"format": MARK, "version": VERSION, "events": len(events)},
            *({"class": vars(one)} for one in classes),
            *({**as_json(event), **({"path": paths[event.image]} if event.image in paths else {})} for event in events),
        ):
            out.write(json_line(line).encode() + b"\n")
        out.flush()
        sync_handle(out.fileno())
    return len(events)


def is_export(file: Path) -> bool:
    """Whether a file is one of `export`, by its first bytes."""
    try:
        with open(file, "rb") as lines:
            return lines.read(len(BEGINNING)) == BEGINNING
    except OSError:
        return False


def take_in(store: Store, file: Path) -> list[Event]:
    """Add the events of an export; those that the store has already are left as they are.

    A class that the store has under the same name is taken for the same.

    returns  the events that are new
    raises   InputError where the file is not whole; then nothing is added
    """
    events, classes, images = read_export(file)
    with store.adding() as adding:
        ours = adding.known_classes()
        ids, names = {one.id for one in ours}, {one.name: one.id for one in ours}
        other = {one.id: names[one.name] for one in classes if one.id not in ids and one.name in names}
        last = max((one.position for one in ours), default=-1)
        fresh = [one for one in classes if one.id not in ids and one.id not in other]
        adding.classes([replace(one, position=one.position + last + 1) for one in fresh])
        adding.images(images)
        return adding.events([with_classes(event, other) for event in events])


def read_export(file: Path) -> tuple[list[Event], list[Class], list[Seen]]:
    """raises  InputError with the line that is wrong"""
    shown, events, classes, images = printable(file), list[Event](), list[Class](), list[Seen]()
    lines = read_lines(file)
    _, header = next(lines, (1, {}))
    if header.get("version") != VERSION:
        raise InputError(f"{shown}: answers in a format of another version", hint="use the annotate that wrote it")
    for number, content in lines:
        try:
            if "class" in content:
                classes.append(Class(**content["class"]))
                continue
            events.append(from_json(content))
        except (TypeError, ValueError) as error:
            raise InputError(f"{shown}: line {number}: {error}", hint=HINT) from error
        if isinstance(content.get("path"), str) and events[-1].image:
            images.append(Seen(events[-1].image, content["path"]))
    if len(events) != header.get("events"):
        raise InputError(
            f"{shown}: {len(events):,} answers, its first line says {printable(header.get('events'))}",
            hint="the file is not whole: export or copy it again",
        )
    named = {one.id for one in classes}
    lost = sorted({name for event in events for name in class_ids(event)} - named)
    if lost:
        raise InputError(f"{shown}: answers of classes that it does not name: {first_few(lost)}", hint=HINT)
    return events, classes, images


def read_lines(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's number and object."""
    try:
        with open(file, "rb") as lines:
            for number, line in enumerate(lines, 1):
                content = jsonfile.loads(line)
                if not isinstance(content, dict):
                    raise ValueError("not an object")
                yield number, content
    except (ValueError, json.JSONDecodeError) as error:
        raise InputError(f"{printable(file)}: line {number}: not readable as JSON", hint=HINT) from error
