"""The answers of a workspace that annotate wrote before there was a store: `answers.json`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypedDict

from annotate.errors import DamagedArtifact, printable
from annotate.records.declared import fits
from annotate.store.events import CLASS, Class, Event, Seen, image_key, with_classes
from annotate.store.store import Store
from annotate.workspace import jsonfile
from annotate.workspace.artifacts import read_file
from annotate.workspace.digests import content_digest
from annotate.workspace.opening import sync

FILE = "answers.json"
TAKEN_OVER = "answers.json.old"  # its name once the store has all that it says
LARGEST = 1 << 33  # bytes; a million answers take a fortieth
SOURCE = FILE
LONG_AGO = "1970-01-01T00:00:00.000Z"  # nobody wrote down when they were said


class Answer(TypedDict):
    """What somebody said of an image. `digest` is None where the image's bytes were not there to be read."""

    digest: str | None
    path: str
    name: str


def older_answers(root: Path, who: str) -> tuple[list[Event], list[Class], list[Seen]]:
    """What a workspace's file says, as events; the same ones each time.

    raises  DamagedArtifact where the file is not what was written
    """
    answers = read(root / FILE)
    ids = {name: f"json-{content_digest(name)[:32]}" for name in dict.fromkeys(answer["name"] for answer in answers)}
    events, images = [], []
    for answer in answers:
        key = image_key(answer["digest"], answer["path"])
        number = f"json-{content_digest([key, answer['name']])[:32]}"
        said = {"class": ids[answer["name"]]}
        events.append(Event(number, who, LONG_AGO, SOURCE, key, CLASS, said, batch="json"))
        images.append(Seen(key, answer["path"]))
    return events, [Class(id, name, position=place) for place, (name, id) in enumerate(ids.items())], images


def take_over(store: Store, root: Path, who: str) -> None:
    """Put what the file says into the store, once; the file stays, under another name.

    A kill in between costs nothing: the events have the same ids the next time, and are added once.
    """
    if not os.path.lexists(root / FILE):
        return
    events, classes, images = older_answers(root, who)
    if events:
        with store.adding() as adding:
            known = {one.name: one.id for one in adding.known_classes()}
            other = {one.id: known[one.name] for one in classes if one.name in known}
            adding.classes([one for one in classes if one.id not in other])
            adding.images(images)
            adding.events([with_classes(event, other) for event in events])
    os.replace(root / FILE, root / TAKEN_OVER)
    sync(root)


def read(path: Path) -> list[Answer]:
    """All answers, the oldest first.

    raises  DamagedArtifact where the file is not what was written
    """
    try:
        content = jsonfile.loads(read_file(path, LARGEST))
        answers: list[Answer] = content["answers"]
        if not fits(list[Answer])(answers) or content["sha256"] != content_digest(answers):
            raise ValueError("other types, or its own digest differs")
        return answers
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedArtifact(
            f"{printable(path)}: not the answers that were written",
            hint="put back a copy of the file; or move it away, then give the answers again",
        ) from error
