"""Corrections by moving files: what somebody did in a dataset becomes answers, and answers let it be made anew."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from annotate import sources
from annotate.errors import AnnotateError, Hint, InputError, StaleArtifact, printable
from annotate.exports.dataset import Digests
from annotate.exports.moves import NONE, Moves, read_moves
from annotate.exports.results import RESULTS, REVIEW
from annotate.records import Embeddings
from annotate.stages.answers import INPUT, snapshot_of, who_of
from annotate.stages.labelling import is_there, known_names
from annotate.store import events
from annotate.store.reading import Said, Table, read_table
from annotate.workspace.sealed import read_manifest

if TYPE_CHECKING:
    from annotate.stages import Context

FILLED_IN = (RESULTS, f"{REVIEW}.csv")  # tables of a dataset in which somebody may write answers


def moves_as_table(output: Path, images: Embeddings, context: Context) -> Table:
    """What somebody moved in a dataset, as if a table said it."""
    moves = read_moves(output, images, context.progress)
    return Table(f"{printable(output)}/", as_said(moves), notes=tuple(moves.notes))


def as_said(moves: Moves) -> list[Said]:
    return [
        Said(number, row, "", events.NONE if name == NONE else events.CLASS, () if name == NONE else (name,))
        for number, (row, name) in enumerate(sorted(moves.classes.items()), 1)
    ]


def kept_as_answers(output: Path, images: Embeddings, context: Context) -> bool:
    """Whether all that somebody changed in a dataset is kept as answers, or costs nothing; False where it is not.

    raises  InputError with an offer where moves, or a table that was filled in, are not kept yet
    """
    try:
        moves = read_moves(output, images)
    except InputError:
        return False
    edited = edited_papers(output)
    if moves.strange or not moves.harmless or edited is None or not all_elsewhere(moves, images):
        return False
    shown = printable(output)
    waiting = not_kept(Table(shown, as_said(moves)), images, context)
    if waiting:
        images_were = "1 image was" if waiting == 1 else f"{waiting:,} images were"
        raise InputError(
            f"{shown}: {images_were} moved or removed since annotate wrote it",
            hint=Hint(
                "keep this as answers first, then label the images again",
                f"run `annotate label {shown}` to keep this as answers, then `annotate refine` and this command again",
            ),
        )
    for name in edited:
        try:
            table = read_table(output / name, images.image_paths, images.folder, names_of(context))
        except AnnotateError:
            return False
        if not_kept(table, images, context):
            raise InputError(
                f"{shown}: somebody filled in {name}",
                hint=Hint(
                    "keep the answers first, then label the images again",
                    f"run `annotate label {shown}/{name}` to keep the answers, then `annotate refine` and this "
                    "command again",
                ),
            )
    return True


def edited_papers(output: Path) -> list[str] | None:
    """The tables that somebody filled in; None where another file of annotate's was changed."""
    manifest, digests = read_manifest(output), Digests()
    assert manifest is not None
    edited = []
    for path, entry in manifest["files"].items():
        if path in manifest["originals"] or not (output / path).exists():
            continue
        if len(entry) < 3 or digests.sha256(output / path) != entry[2]:
            if path not in FILLED_IN:
                return None
            edited.append(path)
    return edited


def all_elsewhere(moves: Moves, images: Embeddings) -> bool:
    """Whether each image that was moved is also where it was embedded from."""
    return all(
        sources.is_url(images.image_paths[row]) or sources.is_there(images.image_paths[row]) for row in moves.classes
    )


def not_kept(table: Table, images: Embeddings, context: Context) -> int:
    """How many of a table's answers the store does not have, whoever gave them."""
    from annotate.classes.spelling import matcher

    found = snapshot_of(context)
    names = known_names(context, found.classes)
    class_of, waiting = matcher(names), 0
    for one in table.said:
        people = {who_of(context), *(who for said in found.answers.values() for who in said)}
        if not any(is_there(one, table, images, found, class_of, names, who) for who in people):
            waiting += 1
    return waiting


def names_of(context: Context) -> list[str]:
    return known_names(context, snapshot_of(context).classes)


def check_labels_know_answers(context: Context) -> None:
    """raises  StaleArtifact where people answered since the images were labelled: a dataset would not show it"""
    manifest = context.workspace.manifest("refine") or {"inputs": {}}
    found = snapshot_of(context)
    now = found.digest if found.answers else None
    if now is not None and manifest["inputs"].get(INPUT) != now:
        raise StaleArtifact(
            "the labels in refine/ are older than the answers",
            hint=Hint("label the images again", "run `annotate refine`"),
        )
