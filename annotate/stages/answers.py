"""Answers: what people said of the images, as `refine` uses it. They live in the store, and no stage writes there.

An answer belongs to the bytes of an image and to the id of a class. So it outlives other names, another order and
other images beside it, and counts for every copy.
"""

from __future__ import annotations

import getpass
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from annotate.errors import AnnotateError, first_few, printable
from annotate.kernels.vectors import Ints
from annotate.progress import Progress
from annotate.records import OUTSIDE, Embeddings, ImageFacts, Texts
from annotate.stages.ensemble import MATCHED_BY
from annotate.store.connecting import FILE
from annotate.store.events import image_key
from annotate.store.older import FILE as OLDER
from annotate.store.older import older_answers
from annotate.store.place import store_at
from annotate.store.snapshot import Snapshot, replay
from annotate.store.store import Store
from annotate.workspace import Workspace

if TYPE_CHECKING:
    from annotate.stages import Context

INPUT = "answers"  # as a plan calls them
SOMEBODY = "somebody"  # where the system does not know who is at it


@dataclass(frozen=True)
class Given:
    """What people say of each image.

    classes  (N,) -1 where nobody says anything, -2 where it is none of the classes
    content  (N,) equal numbers for images of the same bytes
    people   who says so, of each image with an answer, by its row
    """

    classes: Ints
    content: Ints
    people: Mapping[int, str]


def store_of(context: Context) -> Store:
    settings = context.config.resolve().answers
    return store_at(context.workspace.root, settings.database, settings.project)


def who_of(context: Context) -> str:
    """Who is at it: as the settings say, else by the name of the account."""
    named = context.config.resolve().answers.who
    if named:
        return str(named)
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return SOMEBODY


def snapshot_of(context: Context) -> Snapshot:
    """The answers as they stand, those of before the store among them. Nothing is written."""
    store, root = store_of(context), context.workspace.root
    if not os.path.lexists(root / OLDER):
        return store.snapshot()
    before, named, _ = older_answers(root, who_of(context))
    events, classes = store.everything()
    known = {event.id for event in events}
    names = {one.name: one.id for one in classes}
    fresh = [event for event in before if event.id not in known]
    if any(one.name in names for one in named):
        from annotate.store.events import with_classes

        other = {one.id: names[one.name] for one in named if one.name in names}
        fresh = [with_classes(event, other) for event in fresh]
    return replay([*fresh, *events], [*classes, *(one for one in named if one.name not in names)])


def given_answers(context: Context, texts: Texts, *, told: bool) -> tuple[Given | None, dict[str, str]]:
    """The answers on the images of the workspace, None where there are none; and what a plan must know of them.

    told  whether the user knows that they are used
    """
    found = snapshot_of(context)
    if not found.answers:
        return None, {}
    images = context.workspace.read(Embeddings)
    given, unused = on(images, texts, found)
    if not told:
        tell_used(len(found.answers), unused, context.progress)
        tell_disputed(found, images, context.progress)
    return given, {INPUT: found.digest, **context.workspace.digests("embed", *MATCHED_BY)}


def answer_inputs(context: Context) -> dict[str, str]:
    """Name to digest of what answers are, for the plan of `refine`; nothing where there are none."""
    found = snapshot_of(context)
    return {INPUT: found.digest, **context.workspace.digests("embed", *MATCHED_BY)} if found.answers else {}


def on(images: Embeddings, texts: Texts, found: Snapshot) -> tuple[Given, int]:
    """The answers on these images, of these classes, and how many answers are of others."""
    from annotate.classes.spelling import matcher

    class_of = matcher(texts.class_names)
    index_of: dict[str | None, int | None] = {one.id: class_of(one.name) for one in found.classes}
    index_of[None] = OUTSIDE
    n = len(images.image_paths)
    classes, content = np.full(n, -1, np.int64), np.arange(n)
    first: dict[str, int] = {}
    people: dict[int, str] = {}
    used: set[str] = set()
    for row, (path, fact) in enumerate(zip(images.image_paths, images.images, strict=True)):
        digest = known_digest(fact)
        if digest is not None:
            content[row] = first.setdefault(digest, row)
        known = next((key for key in (image_key(digest, path), image_key(None, path)) if key in found.answers), None)
        verdict = found.verdict(known) if known else None
        index = index_of.get(verdict[0]) if verdict else None
        if known and verdict and index is not None:
            classes[row], people[row] = index, ", ".join(verdict[1])
            used.add(known)
    return Given(classes, content, people), len(found.answers) - len(used)


def known_digest(fact: ImageFacts | None) -> str | None:
    return fact["digest"] if fact else None


def damage(workspace: Workspace) -> str:
    """What is wrong with the answers in the workspace, or nothing."""
    try:
        older_answers(workspace.root, SOMEBODY)
        store = store_at(workspace.root, None, None)
        if store.exists():
            store.snapshot()
    except AnnotateError as error:
        return str(error)
    return ""


def are_here(workspace: Workspace) -> bool:
    """Whether the workspace holds a file of answers, whole or not."""
    return any(os.path.lexists(workspace.root / name) for name in (FILE, OLDER))


def counts(context: Context) -> dict[str, Any] | None:
    """Answers by class and by person, and how many images are disputed; None where there are none."""
    found = snapshot_of(context)
    if not found.answers:
        return None
    classes = {one.name: 0 for one in found.classes}
    outside = 0
    for image in found.answers:
        verdict = found.verdict(image)
        if verdict and verdict[0] is not None:
            name = found.names.get(verdict[0], verdict[0])
            classes[name] = classes.get(name, 0) + 1
        else:
            outside += 1
    return {
        "images": len(found.answers),
        "classes": {name: count for name, count in classes.items() if count},
        "none of these": outside,
        "who": found.people,
        "disputed": len(found.disputed),
    }


def tell_used(count: int, unused: int, progress: Progress) -> None:
    """That answers count which were given before, and that some of all do not."""
    message = f"the answers that were given before are used again: {count:,}"
    if unused:
        message += f"; {unused:,} of all that were given are of images or classes that are not here now"
    progress.note({"message": f"{message}; `annotate refine --given none` forgets them all", "hint": ""})


def tell_disputed(found: Snapshot, images: Embeddings, progress: Progress) -> None:
    """That people say different things of an image."""
    disputed = found.disputed
    if not disputed:
        return
    paths = {
        image_key(known_digest(fact), path): path for path, fact in zip(images.image_paths, images.images, strict=True)
    }
    shown = first_few([printable(os.path.basename(paths.get(image, image))) for image in disputed], 3)
    what = "1 image" if len(disputed) == 1 else f"{len(disputed):,} images"
    progress.note(
        {
            "message": f"people disagree about {what}: {shown}; what most say counts, and of as many the later",
            "hint": "`annotate label --export FILE` has all that was said",
        }
    )
