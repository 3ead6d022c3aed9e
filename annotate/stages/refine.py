"""refine: a label and a confidence for every image, by prototypes that learn from the images themselves."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate.engines import open_workers
from annotate.errors import ConfigError, StaleArtifact
from annotate.kernels.blocks import one_thread_per_product
from annotate.kernels.neighbours import COMPARE_ALL_UP_TO, nearest_neighbours, neighbour_graph, recall
from annotate.kernels.transduction import NEIGHBOURS
from annotate.methods import METHODS
from annotate.methods.material import Course, Material
from annotate.methods.transductive import Neighbours
from annotate.progress import Progress, Silent
from annotate.records import IMPORTED, Clusters, EmbeddingRows, Embeddings, Refinement, Texts
from annotate.settings.config import Config, EngineSettings, RefineSettings
from annotate.stages import answers, cache, run_stage
from annotate.stages.answers import given_classes
from annotate.stages.cluster import cluster
from annotate.stages.ensemble import check_method, held, inputs_of, joint, knobs_of, of_first, rows_digest, texts_of
from annotate.stages.text import embed_text
from annotate.workspace import Workspace
from annotate.workspace.plan import CACHE, Plan

VERSION = 8
NEIGHBOURS_VERSION = 6  # of those that are kept; raise it when other ones would be found
WORTH_KEEPING = 5_000  # images; the neighbours of fewer are found in under a second


def refine(
    workspace: Workspace,
    config: Config,
    *,
    classes: Sequence[str] = (),
    also: Sequence[str | Path] = (),
    given: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Refinement:
    """Label every image with one of the classes.

    classes  names; without them those of the config file, then those of the workspace
    given    classes that somebody knows, as `report` takes the truth, of images picked at random: those images bear
             them, `transductive` names others by them, and confidence is fitted to how often labels agree with them.
             The workspace keeps them for every later run (answers.py); `none` forgets them
    also     workspaces of the same images by other models, which label together with this one's (ensemble.py)
    """
    progress = progress or Silent()
    with workspace.lock(), held(workspace, also) as others:
        images = workspace.read(EmbeddingRows)
        resolved = config.resolve(len(images.embeddings))
        settings, engine = resolved.refine, resolved.engine
        method = METHODS[settings.method]
        iterations = settings.iterations or method.iterations
        check_settings(settings, engine)
        if others:
            check_method(method.name, engine.name)
        texts = embed_text(workspace, images.model, config, classes=classes, progress=progress)
        check_dimensions(images, texts)
        knobs: dict[str, object] = {"method": method.name, "temperature": settings.temperature}
        inputs = {
            **workspace.digests("embed", "embeddings.npy"),
            **workspace.digests("text", "text_embeddings.npy"),
            "logit scale": str(images.model["logit_scale"]),
        }
        if others:
            for other in others:
                texts_of(other, texts, config, progress)
            knobs |= knobs_of(workspace, others)
            inputs |= inputs_of(workspace, others)
        answered = given_classes(workspace, texts, given, progress)
        inputs |= answers.inputs_of(workspace)
        if method.iterations:
            knobs["iterations"] = iterations
        knobs |= {name: getattr(settings, name) for name in method.settings}
        clusters = own_clusters(workspace, config, progress) if "clusters" in method.needs else None
        if clusters:
            inputs |= workspace.digests("cluster", "micro_assignments.npy", "micro_centroids.npy", "meta_centroids.npy")
        asked = {"classes": list(classes), "also": [os.path.abspath(place) for place in also]}
        request = config.request("refine", "text", "cluster", "engine", n=len(images.embeddings), **asked)
        plan = Plan("refine", VERSION, knobs, inputs, request)

        key = rows_digest(inputs) if others else inputs["embed/embeddings.npy"]

        def image_paths() -> Sequence[str]:
            return workspace.read(Embeddings).image_paths

        def make(place: Path) -> Refinement:
            file = workspace.folder("embed") / "embeddings.npy"
            x, t = joint(workspace, texts, others) if others else (images, texts)
            with one_thread_per_product(), open_workers(x.embeddings, file, engine.name, engine.address) as workers:
                material = Material(workers, x, t, image_paths)
                if answered:
                    material = replace(material, answers=answered.classes, content=answered.content)
                needed: dict[str, Any] = {}
                if clusters:
                    needed["clusters"] = clusters
                if "neighbours" in method.needs:
                    needed["neighbours"] = own_graph(workspace, x, key, progress)
                made = method.label(material, Course(settings, iterations, place, progress), **needed)
            return of_first(made, images.embeddings.shape[1]) if others else made

        packages = ["scipy", "faiss-cpu"] if "neighbours" in method.needs else []  # by which neighbours are found
        record = run_stage(workspace, plan, Refinement, make, force=force, progress=progress, packages=packages)
        for note in record.notes:
            progress.note(note)
        return record


def check_settings(settings: RefineSettings, engine: EngineSettings) -> None:
    """Find what does not go together before anything is computed."""
    if settings.class_sizes == "balanced" and settings.method != "transductive":
        raise ConfigError(
            f"refine: class_sizes: 'balanced' needs the method transductive, not '{settings.method}'",
            hint="add --method transductive, or leave out --balanced (--set refine.class_sizes=free)",
        )
    if engine.name not in METHODS[settings.method].engines:
        raise ConfigError(
            f"engine: the method {settings.method} runs in one process, not on '{engine.name}'",
            hint="add --method dynamic, or --set engine.name=local",
        )


def own_clusters(workspace: Workspace, config: Config, progress: Progress) -> Clusters:
    """The workspace's clusters: imported ones as they are, others made anew where they are stale.

    Settings that `annotate cluster` was given count until others are said.
    """
    manifest = workspace.manifest("cluster")
    if manifest is None:
        return cluster(workspace, config, progress=progress)
    if manifest["config"].get("source") != IMPORTED:
        given = {f"cluster.{key}": value for key, value in manifest["facts"]["given"].items()}
        values, said = {**given, **config.values}, {**given, **config.said}
        return cluster(workspace, replace(config, values=values, said=said), progress=progress)
    if not workspace.of_these_embeddings("cluster"):
        raise StaleArtifact(
            "the imported clusters are of other embeddings",
            hint="run `annotate cluster --force` to find clusters, or import them again",
        )
    return workspace.read(Clusters)


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
        for older in kept.parent.glob("neighbours-*"):
            if older != kept:
                older.unlink()
    return Neighbours(neighbour_graph(stored["nearest"], stored["cosines"]), float(stored["recall"]))


def check_dimensions(images: EmbeddingRows, texts: Texts) -> None:
    d, expected = texts.text_embeddings.shape[1], images.embeddings.shape[1]
    if d != expected:
        raise StaleArtifact(
            f"text embeddings have {d} dimensions, image embeddings {expected}: they are of different models",
            hint="run `annotate import` with embeddings of one model",
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
        raise StaleArtifact(f"the labels in refine/ are older than {what}", hint="run `annotate refine`")
    return images, texts, refinement
