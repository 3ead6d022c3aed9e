"""What `refine --given` says: answers that are kept in the store, as those of `label`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from annotate.errors import first_few, printable
from annotate.records import Embeddings, Texts
from annotate.stages import answers
from annotate.stages.labelling import Labelled, keep, keys_of, undo
from annotate.store.events import CLASS
from annotate.store.reading import Said, Table, read_table

if TYPE_CHECKING:
    from annotate.reports.truth import SourceNames
    from annotate.stages import Context

NONE = "none"  # the word that takes all answers back


def take_in(context: Context, source: Path) -> None:
    """Keep what a table, a folder per class or the images' own folders say; the word `none` takes all answers back.

    Names that are no class now are kept as well, and wait until they are asked for.

    source  as `report` takes the truth
    raises  InputError where the source cannot be read, or says nothing of these images and classes
    """
    from annotate.reports.truth import match_classes, read_truth_names

    if str(source) == NONE:
        forget(context)
        return
    images, texts = context.workspace.read(Embeddings), context.workspace.read(Texts)
    said = read_truth_names(source, images.image_paths, texts.class_names, folder=images.folder, images=images.images)
    match_classes(said, texts.class_names)
    tell_unused(said, texts, context)
    before = answers.snapshot_of(context).answers.keys()
    table = Table(
        said.source, [Said(row, row, "", CLASS, (name,)) for row, name in enumerate(said.names) if name is not None]
    )
    if source.is_file():
        table = read_table(source, images.image_paths, images.folder, texts.class_names)
    keep(context, table, said.source, images, Labelled(said.source, len(table.said), len(table.said), added=True))
    older = len(before - {keys_of(images, one.image) for one in table.said})
    if older:
        found = answers.snapshot_of(context)
        answers.tell_used(older, answers.on(images, texts, found)[1], context.progress)


def forget(context: Context) -> None:
    back = undo(context, everything=True)
    if back:
        count = len({event.image for event in back})
        context.progress.note({"message": f"{count:,} classes that were given are forgotten", "hint": ""})


def tell_unused(said: SourceNames, texts: Texts, context: Context) -> None:
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
        context.progress.note(
            {
                "message": f"{unused:,} of the given labels were not used: {'; '.join(reasons)}",
                "hint": "check how names and paths are spelt",
            }
        )
    if said.disputed:
        context.progress.note(
            {
                "message": f"{said.source}: copies of the same image have different classes, for example "
                f"{printable(said.disputed[0])}; the later one counts for all copies",
                "hint": "give byte-identical images one class",
            }
        )
