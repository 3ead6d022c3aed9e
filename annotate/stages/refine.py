"""refine: a label and a confidence for every image, by prototypes that learn from the images themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate.engines import open_workers
from annotate.errors import ConfigError, Hint, InputError, StaleArtifact
from annotate.kernels.blocks import one_thread_per_product
from annotate.kernels.neighbours import COMPARE_ALL_UP_TO, nearest_neighbours, neighbour_graph, recall
from annotate.kernels.transduction import NEIGHBOURS
from annotate.kernels.unfit import SMALLEST_GROUP
from annotate.methods import METHODS
from annotate.methods.material import Course, Material, Method
from annotate.methods.strangers import with_strangers
from annotate.methods.transductive import Neighbours
from annotate.progress import Progress
from annotate.records import IMPORTED, Clusters, EmbeddingRows, Embeddings, Refinement, Texts
from annotate.settings.declared import EngineSettings, RefineSettings
from annotate.stages import AnyStage, Context, Stage, answers, cache
from annotate.stages.background import background, is_looked_for, list_digest
from annotate.stages.cluster import STAGE as CLUSTER
from annotate.stages.ensemble import (
    check_method,
    held,
    joint,
    joint_inputs,
    joint_knobs,
    of_first,
    other_workspaces,
    rows_digest,
    texts_first,
)
from annotate.stages.given import take_in
from annotate.stages.text import STAGE as TEXT
from annotate.stages.text import imported, texts_for
from annotate.workspace import Workspace
from annotate.workspace.plan import CACHE, Plan

NEIGHBOURS_VERSION = 6  # of those that are kept; raise it when other ones would be found
WORTH_KEEPING = 5_000  # images; the neighbours of fewer are found in under a second


@dataclass(frozen=True)
class Preparation:
    """What planning has read.

    images, texts  of this workspace
    others         workspaces of the same images by other models
    answers        classes that somebody gave
    key            digest of the rows, by which their neighbours are kept
    """

    images: EmbeddingRows
    texts: Texts
    settings: RefineSettings
    engine: EngineSettings
    others: list[Workspace]
    answers: answers.Given | None
    key: str

    @property
    def method(self) -> Method:
        return METHODS[self.settings.method]

    @property
    def iterations(self) -> int:
        return self.settings.iterations or self.method.iterations


class Refine(Stage[Refinement]):
    """A label for every image.

    Asked for `classes` it takes those; without them those of the settings file, then those of the workspace.

    also   workspaces of the same images by other models, which label together with this one's (ensemble.py)
    given  classes that somebody knows, as `report` takes the truth, of images picked at random: those images bear them,
           `transductive` learns from them, and confidence is fitted to how often labels agree with them. The
           store keeps them for every later run (answers.py); `none` takes all answers back
    """

    name, record, version, after = "refine", Refinement, 9, ("embed", "text", "cluster")
    asks = ("classes", "also", "given")
    sections = ("refine", "text", "cluster", "engine", "answers")
    packages = ("scipy", "faiss-cpu")

    def holding(
        self, context: Context, *, also: Sequence[str | Path] = (), **asked: Any
    ) -> AbstractContextManager[None]:
        return held(context, also)

    def first(
        self, context: Context, *, classes: Sequence[str] = (), also: Sequence[str | Path] = (), **asked: Any
    ) -> Iterator[tuple[Context, AnyStage, dict[str, Any]]]:
        """The classes of this workspace; in those of other models the same, in the same words; clusters for `soft`."""
        workspace = context.workspace
        settings = context.config.resolve(len(workspace.read(EmbeddingRows).embeddings))
        check_settings(settings.refine, settings.engine)
        if also:
            check_method(settings.refine.method, settings.engine.name)
        if imported(workspace):
            texts_for(context, classes)
        else:
            yield context, TEXT, {"classes": classes}
        for other in other_workspaces(context, also):
            yield from texts_first(replace(context, workspace=other), workspace.read(Texts))
        if "clusters" in METHODS[settings.refine.method].needs:
            yield from clusters_first(context)

    def take_in(self, context: Context, *, given: Path | None = None, **asked: Any) -> None:
        if given is not None:
            take_in(context, Path(given))

    def plan(
        self,
        context: Context,
        *,
        force: bool = False,
        classes: Sequence[str] = (),
        also: Sequence[str | Path] = (),
        given: Path | None = None,
        **asked: Any,
    ) -> Plan:
        workspace, config = context.workspace, context.config
        images, texts = workspace.read(EmbeddingRows), workspace.read(Texts)
        check_dimensions(images, texts)
        resolved, others = config.resolve(len(images.embeddings)), other_workspaces(context, also)
        settings, method = resolved.refine, METHODS[resolved.refine.method]
        knobs: dict[str, object] = {"method": method.name, "temperature": settings.temperature}
        inputs = {
            **workspace.digests("embed", "embeddings.npy"),
            **workspace.digests("text", "text_embeddings.npy"),
            "logit scale": str(images.model["logit_scale"]),
        }
        if others:
            knobs |= joint_knobs(workspace, others)
            inputs |= joint_inputs(workspace, others)
        answered, said = answers.given_answers(context, texts, told=given is not None)
        inputs |= said
        if method.iterations:
            knobs["iterations"] = settings.iterations or method.iterations
        knobs |= {name: getattr(settings, name) for name in method.settings}
        if is_looked_for(context, images):
            knobs |= {"strangers": settings.strangers, "common names": list_digest(texts)}
            inputs |= workspace.digests("text", "common_embeddings.npy")
        if "clusters" in method.needs:
            inputs |= workspace.digests("cluster", "micro_assignments.npy", "micro_centroids.npy", "meta_centroids.npy")
        beside = {"classes": list(classes), "also": [os.path.abspath(place) for place in also]}
        sections = [name for name in self.sections if name != "answers"]  # an address may hold a password
        request = config.request(*sections, n=len(images.embeddings), **beside)
        key = rows_digest(inputs) if others else inputs["embed/embeddings.npy"]
        found = Preparation(images, texts, settings, resolved.engine, others, answered, key)
        return Plan(self.name, self.version, knobs, inputs, request, found=found)

    def make(self, context: Context, plan: Plan, folder: Path) -> Refinement:
        ready: Preparation = plan.found
        workspace, engine, method = context.workspace, ready.engine, ready.method
        images, texts, others = ready.images, ready.texts, ready.others
        file = workspace.folder("embed") / "embeddings.npy"
        x, t = joint(workspace, texts, others) if others else (images, texts)
        with one_thread_per_product(), open_workers(x.embeddings, file, engine.name, engine.address) as workers:
            material = Material(workers, x, t, lambda: workspace.read(Embeddings).image_paths)
            if ready.answers:
                material = replace(material, answers=ready.answers.classes, content=ready.answers.content)
            needed: dict[str, Any] = {}
            if "clusters" in method.needs:
                needed["clusters"] = workspace.read(Clusters)
            if "neighbours" in method.needs:
                needed["neighbours"] = own_graph(workspace, x, ready.key, context.progress)
            course = Course(ready.settings, ready.iterations, folder, context.progress)
            made = method.label(material, course, **needed)
            if is_looked_for(context, images):
                # Several models have no common names of theirs together: their strangers are found by groups.
                common = None if others else background(context, images, texts)
                made = with_strangers(made, material, common, needed.get("neighbours"))
        made = of_first(made, images.embeddings.shape[1]) if others else made
        people = {str(row): who for row, who in ready.answers.people.items()} if ready.answers else {}
        return replace(made, answered_by=people) if people else made

    def finished(self, context: Context, plan: Plan, record: Refinement) -> Refinement:
        for note in record.notes:
            context.progress.note(note)
        return record


STAGE = Refine()


def check_settings(settings: RefineSettings, engine: EngineSettings) -> None:
    """Find what does not go together before anything is computed."""
    if settings.class_sizes == "balanced" and settings.method != "transductive":
        raise ConfigError(
            f"refine: class_sizes: 'balanced' needs the method transductive, not '{settings.method}'",
            hint=Hint(
                "choose the method transductive, or let classes have any size",
                "add --method transductive, or leave out --balanced (--set refine.class_sizes=free)",
            ),
        )
    if engine.name not in METHODS[settings.method].engines:
        raise ConfigError(
            f"engine: the method {settings.method} runs in one process, not on '{engine.name}'",
            hint=Hint(
                "choose the method dynamic, or use this machine alone",
                "add --method dynamic, or --set engine.name=local",
            ),
        )


def clusters_first(context: Context) -> Iterator[tuple[Context, AnyStage, dict[str, Any]]]:
    """The workspace's clusters: imported ones as they are, others made anew where they are stale.

    Settings that `annotate cluster` was given count until others are said.
    """
    manifest, config = context.workspace.manifest("cluster"), context.config
    if manifest is None:
        yield context, CLUSTER, {}
    elif manifest["config"].get("source") != IMPORTED:
        given = {f"cluster.{key}": value for key, value in manifest["facts"]["given"].items()}
        values, said = {**given, **config.values}, {**given, **config.said}
        yield replace(context, config=replace(config, values=values, said=said)), CLUSTER, {}
    elif not context.workspace.of_these_embeddings("cluster"):
        raise StaleArtifact(
            "the imported clusters are of other embeddings",
            hint=Hint(
                "find clusters anew, or import them again",
                "run `annotate cluster --force` to find clusters, or import them again",
            ),
        )


def own_graph(workspace: Workspace, images: EmbeddingRows, key: str, progress: Progress) -> Neighbours:
    """The nearest images of each image of the workspace; neighbours that took a while to find are kept."""
    n = len(images.embeddings)
    if n < WORTH_KEEPING:
        return Neighbours(neighbour_graph(*nearest_neighbours(images.embeddings, NEIGHBOURS)), 1.0)
    kept = workspace.root / CACHE / f"neighbours-{NEIGHBOURS}-v{NEIGHBOURS_VERSION}-{key[:16]}.npz"
    stored = cache.read(kept)
    shapes = {"nearest": (n, NEIGHBOURS), "cosines": (n, NEIGHBOURS), "recall": ()}
    if {name: rows.shape for name, rows in stored.items()} != shapes:
        with progress.steps("finding neighbours", n, "images") as advance:
            nearest, cosines = nearest_neighbours(images.embeddings, NEIGHBOURS, advance)
        found = recall(images.embeddings, nearest) if n > COMPARE_ALL_UP_TO else 1.0
        stored = {"nearest": nearest, "cosines": cosines, "recall": np.array(found)}
        cache.write(kept, stored)
        cache.keep_only(kept, "neighbours-*")
    return Neighbours(neighbour_graph(stored["nearest"], stored["cosines"]), float(stored["recall"]))


def classes_and_looks(context: Context, classes: Sequence[str]) -> list[str]:
    """The classes, and what images look like that fit none of them: the nearest common name of each group.

    classes  those of the labels that are there unless given
    raises   InputError where there are no labels, or no such images
    """
    workspace = context.workspace
    _, texts, labels = read_labelled(workspace)
    if not labels.looks_like or labels.strangers is None:
        raise InputError(
            "no common name is known of images that fit none of the classes: there is no class to add",
            hint=Hint(
                "label the images first; the report says whether such images were looked for",
                "run `annotate refine` first; `annotate report` says whether it looked for such images",
            ),
        )
    names = list(classes or texts.class_names)
    taken, counts = {name.lower() for name in names}, np.bincount(labels.strangers[labels.strange])
    large = counts >= min(SMALLEST_GROUP, counts.max())  # fewer images are no class
    looks = [looks[0] for looks, enough in zip(labels.looks_like, large, strict=True) if enough]
    return names + [name for name in looks if name.lower() not in taken]


def check_dimensions(images: EmbeddingRows, texts: Texts) -> None:
    d, expected = texts.text_embeddings.shape[1], images.embeddings.shape[1]
    if d != expected:
        raise StaleArtifact(
            f"text embeddings have {d} dimensions, image embeddings {expected}: they are of different models",
            hint=Hint("import embeddings of one model", "run `annotate import` with embeddings of one model"),
        )


def read_labelled(workspace: Workspace) -> tuple[Embeddings, Texts, Refinement]:
    """Images, classes and labels that belong together, for the stages that use labels.

    raises  StaleArtifact where the labels are of other images or other classes
    """
    images, texts, refinement = workspace.read(Embeddings), workspace.read(Texts), workspace.read(Refinement)
    made_from = (workspace.manifest("refine") or {"inputs": {}})["inputs"]
    now = {**workspace.digests("embed"), **workspace.digests("text")}
    changed = [name for name, digest in made_from.items() if name in now and now[name] != digest]
    if changed or len(refinement.labels) != len(images.embeddings):
        what = changed[0] if changed else "embed/ and text/"
        raise StaleArtifact(
            f"the labels in refine/ are older than {what}", hint=Hint("label the images again", "run `annotate refine`")
        )
    return images, texts, refinement
