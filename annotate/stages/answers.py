"""Answers: the classes that people gave images, kept in the workspace until somebody forgets them.

An answer belongs to the bytes of an image and to the name of a class. So it outlives other names, another order and
other images beside it, and counts for every copy. A later answer on an image replaces the one before.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from annotate.errors import DamagedArtifact, Hint, first_few, printable
from annotate.kernels.vectors import Ints
from annotate.progress import Progress
from annotate.records import Embeddings, ImageFacts, Texts
from annotate.records.declared import fits
from annotate.stages.ensemble import MATCHED_BY
from annotate.workspace import Workspace, jsonfile
from annotate.workspace.artifacts import as_json, read_file
from annotate.workspace.digests import content_digest
from annotate.workspace.opening import not_ours, replacing_file, sync, sync_handle
from annotate.workspace.plan import json_text

if TYPE_CHECKING:
    from annotate.reports.truth import SourceNames

NONE = "none"  # the word that forgets all answers
FILE = "answers.json"
LARGEST = 1 << 33  # bytes; a million answers take a fortieth
INPUT = "given labels"  # as a plan calls them


class Answer(TypedDict):
    """What somebody said of an image. `digest` is None where the image's bytes were not there to be read."""

    digest: str | None
    path: str
    name: str


@dataclass(frozen=True)
class Given:
    """The class that somebody gave each image.

    classes  (N,) -1 for none
    content  (N,) equal numbers for images of the same bytes
    """

    classes: Ints
    content: Ints


def keep(workspace: Workspace, texts: Texts, source: Path, progress: Progress) -> None:
    """Keep what a source says of these images from now on; the word `none` forgets all answers.

    source  as `report` takes the truth
    raises  InputError where the source cannot be read, or says nothing of these images and classes
    """
    from annotate.reports.truth import match_classes, read_truth_names

    if str(source) == NONE:
        forget(workspace, progress)
        return
    before = read(workspace)
    images = workspace.read(Embeddings)
    said = read_truth_names(source, images.image_paths, texts.class_names, folder=images.folder, images=images.images)
    match_classes(said, texts.class_names)
    tell_unused(said, texts, progress)
    new = {answer_key(answer): answer for answer in as_answers(said, images)}
    answers = {key: answer for key, answer in before.items() if key not in new} | new
    if answers != before:
        write(workspace, answers)
    older = len(before.keys() - new.keys())
    if older:
        tell_remembered(older, on(images, texts, answers)[1], progress)


def given_classes(workspace: Workspace, texts: Texts, progress: Progress, *, told: bool) -> Given | None:
    """The answers of the workspace on its images; None where there are none.

    told  whether the user knows that they are used
    """
    answers = read(workspace)
    if not answers:
        return None
    given, unused = on(workspace.read(Embeddings), texts, answers)
    if not told:
        tell_remembered(len(answers), unused, progress)
    return given


def as_answers(said: SourceNames, images: Embeddings) -> list[Answer]:
    facts, paths = images.images, images.image_paths
    return [
        {"digest": known_digest(facts[row]), "path": json_text(paths[row]), "name": name}
        for row, name in enumerate(said.names)
        if name is not None
    ]


def on(images: Embeddings, texts: Texts, answers: dict[str, Answer]) -> tuple[Given, int]:
    """The answers on these images, of these classes, and how many answers are of others."""
    from annotate.classes.spelling import matcher

    class_of = matcher(texts.class_names)
    index_of = {name: class_of(name) for name in {answer["name"] for answer in answers.values()}}
    n = len(images.image_paths)
    classes, content = np.full(n, -1, np.int64), np.arange(n)
    first: dict[str, int] = {}
    used: set[str] = set()
    for row, (path, fact) in enumerate(zip(images.image_paths, images.images, strict=True)):
        digest = known_digest(fact)
        if digest is not None:
            content[row] = first.setdefault(digest, row)
        answer = answers.get(key(digest, path)) or answers.get(key(None, path))
        index = index_of[answer["name"]] if answer else None
        if answer and index is not None:
            classes[row] = index
            used.add(answer_key(answer))
    return Given(classes, content), len(answers) - len(used)


def known_digest(fact: ImageFacts | None) -> str | None:
    return fact["digest"] if fact else None


def answer_key(answer: Answer) -> str:
    return key(answer["digest"], answer["path"])


def key(digest: str | None, path: str) -> str:
    """What an answer is found by: the bytes of its image, or its path where those are unknown."""
    return digest or f"path {json_text(path)}"


# -- on disk -------------------------------------------------------------------------------------------


def read(workspace: Workspace) -> dict[str, Answer]:
    """All answers, the oldest first.

    raises  DamagedArtifact where the file is not what was written
    """
    path = workspace.root / FILE
    try:
        content = jsonfile.loads(read_file(path, LARGEST))
        answers: list[Answer] = content["answers"]
        if not fits(list[Answer])(answers) or content["sha256"] != content_digest(answers):
            raise ValueError("other types, or its own digest differs")
        return {answer_key(answer): answer for answer in answers}
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedArtifact(
            f"{printable(path)}: not the answers that were written",
            hint=Hint(
                "put back a copy of the file, or forget the answers and give them again",
                "put back a copy of the file; or run `annotate refine --given none`, then give the answers again",
            ),
        ) from error


def write(workspace: Workspace, answers: dict[str, Answer]) -> None:
    """Replace the file whole: whatever instant a kill comes, the old answers are there or the new ones."""
    said = list(answers.values())
    with replacing_file(workspace.root / FILE) as file:
        file.write(as_json({"answers": said, "sha256": content_digest(said)}))
        file.flush()
        sync_handle(file.fileno())
    sync(workspace.root)


def forget(workspace: Workspace, progress: Progress) -> None:
    path = workspace.root / FILE
    try:
        count = f"{len(read(workspace)):,} "
    except DamagedArtifact:
        count = ""
    if path.is_dir():
        raise not_ours(path)
    if path.exists():
        path.unlink()
        sync(workspace.root)
        progress.note({"message": f"{count}classes that were given are forgotten", "hint": ""})


def damage(workspace: Workspace) -> str:
    """What is wrong with the file of answers, or nothing."""
    try:
        read(workspace)
    except DamagedArtifact as error:
        return str(error)
    return ""


def answer_inputs(workspace: Workspace) -> dict[str, str]:
    """Name to digest of what given classes are made from, for the plan of `refine`; nothing where there are none."""
    answers = read(workspace)
    if not answers:
        return {}
    return {INPUT: content_digest(list(answers.values())), **workspace.digests("embed", *MATCHED_BY)}


# -- what is told --------------------------------------------------------------------------------------


def tell_unused(said: SourceNames, texts: Texts, progress: Progress) -> None:
    """What of a new source is not used, or is contradicted."""
    from annotate.classes.spelling import matcher

    class_of = matcher(texts.class_names)
    often = Counter(name for name in said.names if name is not None)
    strange = {name: count for name, count in often.items() if class_of(name) is None}
    reasons = []
    if strange:
        names = first_few([f"'{printable(name)}'" for name in strange])
        reasons.append(f"{names} {'is no class' if len(strange) == 1 else 'are no classes'}")
    if said.unused:
        reasons.append(f"{said.unused:,} name no image that is here")
    if reasons:
        unused = sum(strange.values()) + said.unused
        progress.note(
            {
                "message": f"{unused:,} of the given labels were not used: {'; '.join(reasons)}",
                "hint": "check how names and paths are spelt",
            }
        )
    if said.disputed:
        progress.note(
            {
                "message": f"{said.source}: copies of the same image have different classes, for example "
                f"{printable(said.disputed[0])}; the later one counts for all copies",
                "hint": "give byte-identical images one class",
            }
        )


def tell_remembered(older: int, unused: int, progress: Progress) -> None:
    """That classes count again which were given before."""
    message = f"the classes that were given before are used again: {older:,}"
    if unused:
        message += f"; {unused:,} of all that were given are of images or classes that are not here now"
    progress.note({"message": f"{message}; `annotate refine --given none` forgets them all", "hint": ""})
