"""export: labels and answers become a dataset in the format of another program.

An export is built beside its place and swapped in whole, as `organize` does it. It is fresh where its own manifest is
the one that would be written now.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from msgspec.structs import asdict

from annotate import sources
from annotate.classes.folders import folder_names
from annotate.errors import Hint, InputError, first_few, printable
from annotate.exports.boxes import Box
from annotate.exports.catalogue import UNLABELLED, Catalogue, Entry
from annotate.exports.copying import check_unchanged
from annotate.exports.dataset import Digests, seal, why_stale
from annotate.exports.formats import Format, formats
from annotate.exports.layout import NO_SPLIT, Splitting, go_apart, lay_out
from annotate.exports.naming import ending_of, names_of
from annotate.exports.place import check_holds_no_image, check_linkable, check_place, check_room
from annotate.exports.placing import place_images
from annotate.exports.replacing import check_packed, check_replaceable, claimed, replacing
from annotate.exports.upright import measured
from annotate.exports.writing import write_papers
from annotate.images import Unreadable
from annotate.kernels.splits import SPLITS
from annotate.records import Duplicates, Embeddings, ImageFacts, Note, Refinement, Texts
from annotate.records.exported import Exported
from annotate.settings.declared import ExportSettings, OrganizeSettings
from annotate.stages import Context, reason
from annotate.stages.answers import known_digest, snapshot_of
from annotate.stages.boxes import boxes_on
from annotate.stages.duplicates import STAGE as DUPLICATES
from annotate.stages.grouping import group_names
from annotate.stages.refine import read_labelled
from annotate.workspace.digests import content_digest
from annotate.workspace.plan import Plan, State

VERSION = 1  # raise it when the same labels would give other bytes


@dataclass(frozen=True)
class Material:
    """What planning has read.

    texts, labels  where classes are exported
    boxes          of each image that somebody looked at, by its row, where boxes are
    """

    images: Embeddings
    form: Format
    export: ExportSettings
    organize: OrganizeSettings
    splitting: Splitting
    class_names: Sequence[str]
    texts: Texts | None = None
    labels: Refinement | None = None
    boxes: Mapping[int, tuple[Box, ...]] | None = None


def export(context: Context, output: str | Path, *, force: bool = False) -> Exported:
    """The dataset, in the folder `output`; nothing is done where it is there already.

    raises  InputError where the folder holds what annotate cannot answer for, StaleArtifact where labels are old
    """
    workspace, output = context.workspace, Path(output)
    with workspace.lock():
        check_place(output, workspace.read(Embeddings).folder, workspace.root)
        with claimed(output):
            plan = planned(context, output)
            catalogue = catalogue_of(plan.found)
            why = why_stale(plan, output)
            if why or force:
                name, _, details = why.partition(": ")
                context.progress.started("export", reason(State(name or "fresh", details), plan, force=force))
                make(context, plan, catalogue, output)
            else:
                context.progress.fresh("export")
    for note in notes_on(catalogue):
        context.progress.note(note)
    return summary(plan.found, catalogue, output)


def planned(context: Context, output: Path) -> Plan:
    """What an export would make now.

    raises  InputError where the folder cannot be its output
    """
    workspace = context.workspace
    images = workspace.read(Embeddings)
    settings = context.config.resolve(len(images.embeddings))
    form = form_for(settings.export)
    check_holds_no_image(output, images)
    check_linkable(images, settings.organize.link)
    names = group_names(settings.organize.group_by, images)
    copies = groups_of_copies(context, settings.organize)
    together = [copies.groups] if copies else []
    splitting = Splitting(settings.organize.splits, settings.organize.seed, names, together)
    inputs = workspace.digests("embed", "embeddings.npy", "image_paths.txt", "images.json")
    inputs |= workspace.digests("duplicates", "groups.npy") if copies else {}
    inputs |= {"groups": content_digest(names)} if settings.organize.group_by else {}
    about = (images, form, settings.export, settings.organize, splitting)
    if form.boxes_only:
        answers = snapshot_of(context)
        class_names, boxes = boxes_on(images, answers)
        inputs |= {"answers": answers.digest}
        found = Material(*about, class_names, boxes=boxes)
    else:
        _, texts, labels = read_labelled(workspace)
        inputs |= {**workspace.digests("text"), **workspace.digests("refine")}
        found = Material(*about, texts.class_names, texts, labels)
    return Plan("export", VERSION, {**asdict(settings.export), **asdict(settings.organize)}, inputs, found=found)


def groups_of_copies(context: Context, settings: OrganizeSettings) -> Duplicates | None:
    """Copies and bursts, which lie in one split as `organize` has them; None where they are kept as they come."""
    return None if settings.duplicates == "keep" else context.make(DUPLICATES)


def form_for(settings: ExportSettings) -> Format:
    """The format that is asked for, of boxes where those are.

    raises  InputError where it has none, or where boxes of a model are asked for
    """
    form = formats()[settings.format]
    if settings.shapes == "boxes" and not form.boxes_only:
        if form.boxes is None:
            able = [name for name, one in formats().items() if one.boxes or one.boxes_only]
            raise InputError(f"the format {form.name} has no boxes", hint=f"use one of {', '.join(sorted(able))}")
        form = replace(form.boxes, boxes_only=True)
    if form.boxes_only and settings.what == "labels":
        raise InputError(
            "annotate proposes no boxes yet",
            hint=Hint("export people's boxes", "leave `--what labels` out: people's boxes are exported"),
        )
    return form


def make(context: Context, plan: Plan, catalogue: Catalogue, output: Path) -> None:
    found: Material = plan.found
    form, images = found.form, found.images
    if not catalogue.entries:
        what = "a class that would be exported" if found.boxes is None else "boxes yet"
        raise InputError(f"no image has {what}", hint=how_to_get_some(found))
    if form.measures:
        check_measured(catalogue, form)
    digests = Digests()
    check_replaceable(output, images, digests, context.progress, stage="export")
    check_packed(output)
    check_unchanged(images)
    check_room(images, output, found.organize.link)
    base = sources.base_folder(images.folder) if images.folder else None
    with replacing(output, images, digests, stage="export") as new:
        with context.progress.steps("exporting", len(catalogue.entries), "images") as advance:
            placed = place_images(form, catalogue, found.organize.link, new, advance)
            write_papers(form, catalogue, placed, base, new, advance)
        packed = {entry.original: placed.digests[entry.row] for entry in catalogue.entries} if form.pack else {}
        seal(new, plan, placed.files, format=form.name, class_names=list(catalogue.class_names), packed=packed)


# -- what goes into it ---------------------------------------------------------------------------------


def catalogue_of(found: Material) -> Catalogue:
    """The images that have a class or boxes here, and the others where they are asked for."""
    images = found.images
    n = len(images.image_paths)
    if found.boxes is None:
        assert found.labels
        answers, proposals, sure = said_of(found.labels, found.export, found.organize)
        keep = {row for row in range(n) if answers[row] is not None or proposals[row] is not None}
    else:
        answers, proposals, sure, keep = [None] * n, [None] * n, [None] * n, {*found.boxes}
    rows = [row for row in range(n) if row in keep or found.export.unlabelled == "include"]
    known = [known_of(images.images[row], images.image_paths[row]) for row in rows]
    endings = [ending_of(images.image_paths[row], facts[2]) for row, facts in zip(rows, known, strict=True)]
    base = sources.base_folder(images.folder) if images.folder else None
    names = names_of(((images.image_paths[row], ending) for row, ending in zip(rows, endings, strict=True)), base)
    splits = splits_of(found)
    entries = [
        Entry(
            row,
            images.image_paths[row],
            name,
            splits[row] if row in keep else UNLABELLED,
            answers[row],
            proposals[row],
            sure[row],
            *facts,
            known_digest(images.images[row]),
        )
        for row, name, facts in zip(rows, names, known, strict=True)
    ]
    labels = found.labels
    return Catalogue(
        found.class_names,
        folder_names(found.class_names, (UNLABELLED,)),
        entries,
        left_out=n - len(rows),
        category_base=found.export.category_base,
        model=images.model["name"],
        embeddings=images.embeddings,
        probabilities=labels.probabilities if labels else None,
        top_classes=labels.top_classes if labels else None,
        boxes=found.boxes,
    )


def said_of(
    labels: Refinement, settings: ExportSettings, organize: OrganizeSettings
) -> tuple[list[int | None], list[int | None], list[float | None]]:
    """Of each image: the class that a person gave it, the one that annotate gives it, and how surely; None for none.

    Images that fit none of the names have no class of annotate's where they go apart.
    """
    n = len(labels.labels)
    answers: list[int | None] = [None] * n
    proposals: list[int | None] = [None] * n
    sure: list[float | None] = [None] * n
    called, confident = labels.labels, labels.confidences
    if labels.labels_without_answer is not None and labels.confidences_without_answer is not None:
        called, confident = labels.labels_without_answer, labels.confidences_without_answer
    if settings.what != "labels" and labels.answers is not None:
        answers = [k if k >= 0 else None for k in labels.answers.tolist()]
    strange = labels.outside
    if organize.unknown == "apart":
        strange = strange | labels.strange
    if settings.what != "answers":
        for row in np.flatnonzero((confident >= organize.min_confidence) & ~strange).tolist():
            proposals[row], sure[row] = int(called[row]), float(confident[row])
    return answers, proposals, sure


def known_of(fact: ImageFacts | None, original: str) -> tuple[int | None, int | None, int]:
    """Width, height and orientation of an image; where nobody looked, it is looked at now."""
    if fact and "width" in fact and "height" in fact and "orientation" in fact:
        return fact["width"], fact["height"], fact["orientation"]
    try:
        return measured(sources.fetch(original))
    except Unreadable:
        return None, None, 1


def check_measured(catalogue: Catalogue, form: Format) -> None:
    """raises  InputError where a format needs the size of every picture, and something is none"""
    unknown = next((entry for entry in catalogue.entries if entry.width is None), None)
    if unknown:
        raise InputError(
            f"{printable(unknown.original)} cannot be read as a picture, and {form.name} needs its width and height",
            hint=Hint("use the format csv", "use --format csv"),
        )


def splits_of(found: Material) -> list[str]:
    """The split of each image: the one that `organize` gives it."""
    if found.texts is None or found.labels is None:
        alike = np.zeros(len(found.images.image_paths), np.int64)  # a split is drawn by the image, not by its classes
        return [SPLITS[split] for split in found.splitting.splits(found.images, alike).tolist()]
    apart = go_apart(found.labels, unfit=found.organize.unknown == "apart")
    layout = lay_out(found.images, found.texts, found.labels, found.splitting, apart)
    return [UNLABELLED if split == NO_SPLIT else SPLITS[split] for split in layout.splits.tolist()]


# -- what is told --------------------------------------------------------------------------------------


def notes_on(catalogue: Catalogue) -> list[Note]:
    """What a user should know of an export."""
    missing = [
        f"{part} has none of {first_few([printable(name) for name in names])}"
        for part, names in catalogue.missing_in_parts()
    ]
    if not missing:
        return []
    return [
        {
            "message": f"some classes have too few images to be in every split: {'; '.join(missing)}",
            "hint": "class ids are the same in all splits all the same; find more images of these classes to measure "
            "them",
        }
    ]


def how_to_get_some(found: Material) -> str:
    if found.boxes is not None:
        return "take some in first: `annotate label boxes.json`"
    if found.export.what == "answers":
        return "give some classes first: `annotate label known.csv`; or export labels, too: `--what both`"
    return "lower `--min-confidence`, or add `--include-unlabelled`"


def summary(found: Material, catalogue: Catalogue, output: Path) -> Exported:
    return Exported(
        os.path.abspath(output),
        found.export.format,
        len(catalogue.entries),
        dict(zip(catalogue.class_names, catalogue.class_counts, strict=True)),
        {part: catalogue.counts[part] for part in catalogue.parts},
        catalogue.answered if found.boxes is None else len(found.boxes),
        catalogue.left_out,
        sum(entry.orientation != 1 for entry in catalogue.entries),
    )
