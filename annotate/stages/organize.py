"""organize: labels become folders, with metadata and splits, ready to train on.

The folder is built beside its place and swapped in whole. Images are copied or linked, never moved; a folder
is replaced only if annotate made it, nobody changed it, and every image in it still exists elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from annotate.errors import printable
from annotate.exports.copying import check_unchanged, second_name, write_images
from annotate.exports.dataset import Copy, Digests, seal, why_stale
from annotate.exports.layout import ALIGNMENTS, Layout, Splitting, go_apart, lay_out, notes_on_splits
from annotate.exports.metadata import dataset_report, describe
from annotate.exports.place import check_holds_no_image, check_linkable, check_place, check_room
from annotate.exports.replacing import check_replaceable, claimed, replacing
from annotate.exports.results import RESULTS, REVIEW, by_doubt, name_in_review, write_results
from annotate.records import Duplicates, EmbeddingRows, Embeddings, Note, Organized, Refinement, Texts
from annotate.records.declared import some_rows
from annotate.settings.declared import OrganizeSettings
from annotate.stages import AnyStage, Context, Stage, versions
from annotate.stages.corrections import check_labels_know_answers, kept_as_answers
from annotate.stages.duplicates import STAGE as DUPLICATES
from annotate.stages.duplicates import firsts
from annotate.stages.grouping import group_names
from annotate.stages.refine import read_labelled
from annotate.workspace import Workspace
from annotate.workspace.artifacts import as_json, store, write_bytes
from annotate.workspace.digests import content_digest
from annotate.workspace.manifest import MANIFEST
from annotate.workspace.opening import set_time
from annotate.workspace.plan import Plan, State, json_text

NOT_SEARCHED: Note = {
    "message": "nobody looked for images that fit none of the names: all go to their likeliest class",
    "hint": "`annotate refine` looks among up to 50,000 images, unless refine.strangers says not to",
}


@dataclass(frozen=True)
class Material:
    """What planning has read: the images and their labels."""

    images: Embeddings
    texts: Texts
    labels: Refinement
    settings: OrganizeSettings
    splitting: Splitting
    output: Path
    force: bool
    left_out: int = 0  # copies of others

    @cached_property
    def layout(self) -> Layout:
        """Where each image goes."""
        apart = go_apart(
            self.labels, unfit=self.settings.unknown == "apart", min_confidence=self.settings.min_confidence
        )
        return lay_out(self.images, self.texts, self.labels, self.splitting, apart)

    @property
    def outcome(self) -> Organized:
        counts, parts = self.layout.counts, self.layout.split_counts
        strangers = int(self.labels.strange.sum())
        return Organized(
            os.path.abspath(self.output),
            len(self.layout.places),
            counts,
            self.settings.link,
            parts,
            strangers,
            strangers if self.settings.unknown == "apart" else 0,
        )


class Organize(Stage[Organized]):
    """The dataset, in a folder of its own, `output`."""

    name, record, version, after = "organize", Organized, 7, ("embed", "text", "refine", "duplicates")
    asks, sections, packages = ("output",), ("organize", "answers"), ("pillow",)

    @contextmanager
    def holding(self, context: Context, *, output: str | Path = "", **asked: Any) -> Iterator[None]:
        context.workspace.check_ours(self.name)
        check_place(Path(output), context.workspace.read(Embeddings).folder, context.workspace.root)
        with claimed(Path(output)):
            yield

    def first(self, context: Context, **asked: Any) -> Iterator[tuple[Context, AnyStage, dict[str, Any]]]:
        """The groups of copies, unless copies are kept as they come."""
        n = len(context.workspace.read(EmbeddingRows).embeddings)
        if context.config.resolve(n).organize.duplicates != "keep":
            yield context, DUPLICATES, {}

    def plan(self, context: Context, *, force: bool = False, output: str | Path = "", **asked: Any) -> Plan:
        """raises  InputError where the folder cannot be the output of this"""
        workspace, output = context.workspace, Path(output)
        images, texts, labels = read_labelled(workspace)
        check_labels_know_answers(context)
        n = len(images.embeddings)
        settings = context.config.resolve(n).organize
        check_place(output, images.folder, workspace.root)
        check_holds_no_image(output, images)
        check_linkable(images, settings.link)
        names = group_names(settings.group_by, images)
        found = workspace.read(Duplicates) if settings.duplicates != "keep" else None
        splitting = Splitting(settings.splits, settings.seed, names, [found.groups] if found else [])
        left_out = 0
        if found and settings.duplicates == "first":
            rows = firsts(found)
            left_out = len(labels.labels) - len(rows)
            splitting = Splitting(
                settings.splits, settings.seed, [names[i] for i in rows.tolist()] if names else [], [found.groups[rows]]
            )
            images, labels = some_rows(images, rows), some_rows(labels, rows)
        return Plan(
            self.name,
            self.version,
            settings_as_dict(settings) | {"output": json_text(os.path.abspath(output))},
            {
                **workspace.digests("embed", "embeddings.npy", "image_paths.txt", "images.json"),
                **workspace.digests("text"),
                **workspace.digests("refine"),
                **(workspace.digests("duplicates", "groups.npy", "copies.npy") if found else {}),
                **({"groups": content_digest(names)} if settings.group_by else {}),
            },
            context.config.request("organize", n=n),
            found=Material(images, texts, labels, settings, splitting, output, force, left_out),
        )

    def state(self, context: Context, plan: Plan) -> State:
        """That of the folder, where it is not what the plan would make; else that of the workspace."""
        output = plan.found.output
        name, _, why = why_stale(plan, output).partition(": ")
        if not name:
            return context.workspace.state(plan)
        recorded = context.workspace.state(plan)
        if name == "missing" and recorded.name != "missing":
            return State("missing", f"{printable(output)} is gone")
        return State(name, why)

    def make(self, context: Context, plan: Plan, folder: Path) -> Organized:
        """raises  InputError where the folder holds what annotate cannot answer for, StorageError without room"""
        found: Material = plan.found
        images, output, progress = found.images, found.output, context.progress
        if not why_stale(plan, output) and not found.force:
            return found.outcome
        digests = Digests()

        def excused() -> bool:
            return kept_as_answers(output, images, context)

        check_replaceable(output, images, digests, progress, excused)
        check_unchanged(images)
        check_room(images, output, found.settings.link)
        provenance = collect_provenance(context.workspace, images, found.texts, found.labels, found.settings)
        with replacing(output, images, digests, excused) as new:
            made = write_images(images, found.layout, found.settings.link, new, progress)
            made |= write_review(new, found, made)
            write_papers(new, images, found.texts, found.labels, found.layout, provenance)
            seal(new, plan, made)
        return found.outcome

    def finished(self, context: Context, plan: Plan, record: Organized) -> Organized:
        set_time(plan.found.output / MANIFEST)
        for note in notes_on(plan.found):
            context.progress.note(note)
        return record

    def rehearse(self, context: Context, output: str | Path) -> Organized:
        """What it would make; nothing is touched.

        raises  InputError where it would refuse to
        """
        for place, earlier, theirs in self.first(context):
            place.make(earlier, **theirs)
        found: Material = self.plan(context, output=output).found
        for note in notes_on(found):
            context.progress.note(note)
        images = found.images
        check_replaceable(
            found.output, images, Digests(), context.progress, lambda: kept_as_answers(found.output, images, context)
        )
        return found.outcome

    def asked_before(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return {"output": manifest["facts"]["output"]}


STAGE = Organize()


def notes_on(found: Material) -> list[Note]:
    """What a user should know of a dataset."""
    unsearched = found.settings.unknown == "apart" and found.labels.strangers is None
    copies: Note = {
        "message": f"copies of images that are in the dataset were left out: {found.left_out:,}",
        "hint": "duplicates/groups.csv in the workspace lists them",
    }
    return [NOT_SEARCHED] * unsearched + [copies] * bool(found.left_out) + notes_on_splits(found.texts, found.layout)


def settings_as_dict(settings: OrganizeSettings) -> dict[str, Any]:
    return asdict(settings)


def write_papers(
    new: Path, images: Embeddings, texts: Texts, labels: Refinement, layout: Layout, provenance: Mapping[str, Any]
) -> None:
    """metadata.json, report.txt, results.csv, and the arrays that made the labels."""
    metadata = describe(images, texts, labels, layout, provenance)
    write_bytes(new / "metadata.json", as_json(metadata))
    write_bytes(new / "report.txt", dataset_report(metadata).encode("utf-8", "backslashreplace"))
    write_results(new / RESULTS, images, texts.class_names, labels, layout)
    store(new / "class_prototypes.npy", labels.class_prototypes)
    for name in ALIGNMENTS:
        array = getattr(labels, name)
        if array is not None:
            store(new / f"{name}.npy", array)


def write_review(new: Path, found: Material, made: Mapping[str, Copy]) -> dict[str, Copy]:
    """The images most worth a look once more, by doubt, and their rows; path to what lies there."""
    rows = by_doubt(found.labels)[: found.settings.review].tolist()
    if not rows:
        return {}
    (new / REVIEW).mkdir()
    names = found.texts.class_names
    write_results(new / f"{REVIEW}.csv", found.images, names, found.labels, found.layout, rows)
    linked: dict[str, Copy] = {}
    for number, row in enumerate(rows, 1):
        place = found.layout.places[row]
        target = f"{REVIEW}/{name_in_review(number, len(rows), place, float(found.labels.confidences[row]))}"
        second_name(new / place, new / target, found.images.image_paths[row])
        linked[target] = made[place]
    return linked


def collect_provenance(
    workspace: Workspace, images: Embeddings, texts: Texts, labels: Refinement, settings: OrganizeSettings
) -> dict[str, Any]:
    """Model, prompts, settings, versions and digests of all that the labels were made from."""
    used = ["embed", "text", *(["cluster"] if labels.micro_cluster_alignment is not None else []), "refine"]
    manifests = {stage: workspace.manifest(stage) or {} for stage in used}
    packages = versions(["annotate-images"])
    for manifest in manifests.values():  # the first to use a package says which
        packages = {**manifest.get("ran_on", {}).get("packages", {}), **packages}
    return {
        "model": images.model,
        "prompts": texts.prompts,
        "temperature": labels.temperature,
        "config": {**{stage: m["config"] for stage, m in manifests.items()}, "organize": asdict(settings)},
        "packages": packages,
        "digests": {
            f"{stage}/{file}": entry["sha256"] for stage, m in manifests.items() for file, entry in m["files"].items()
        },
    }
