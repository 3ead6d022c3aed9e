"""refine: a label and a confidence for every image, by prototypes that learn from the images themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from annotate.config import Config, RefineSettings
from annotate.engines import crew_of
from annotate.errors import ConfigError, StaleArtifact
from annotate.kernels.alignment import Groups, alignment, refine_soft
from annotate.kernels.blocks import BLOCK, across, cached, one_thread_per_product, single, slices, spread
from annotate.kernels.calibration import matching_temperature
from annotate.kernels.chances import Chances, chances_of, kept_of
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.prototypes import Crew, Pass, refine_dynamic
from annotate.kernels.transduction import NEIGHBOURS, expected_accuracy, transduce
from annotate.kernels.vectors import Rows
from annotate.kernels.zeroshot import mean_confidence
from annotate.progress import Progress, Silent
from annotate.records import IMPORTED, Clusters, EmbeddingRows, Embeddings, Iteration, Refinement, Texts
from annotate.stages import cache, run_stage
from annotate.stages.cluster import cluster
from annotate.stages.signs import signs_of_blur, signs_of_collapse
from annotate.stages.text import embed_text
from annotate.workspace import Plan, Workspace

VERSION = 3
SAMPLE = 4096  # images on which mean confidences are taken, where there are more
ITERATIONS = {"direct": 0, "dynamic": 10, "soft": 5, "transductive": 15}  # unless given
WORTH_KEEPING = 5_000  # images; the neighbours of fewer are found in under a second


def refine(
    workspace: Workspace,
    config: Config,
    *,
    classes: Sequence[str] = (),
    force: bool = False,
    progress: Progress | None = None,
) -> Refinement:
    """Label every image with one of the classes.

    classes  names; without them those of the config file, then those of the workspace
    """
    progress = progress or Silent()
    with workspace.lock():
        images = workspace.read(EmbeddingRows)
        resolved = config.resolve(len(images.embeddings))
        settings, engine = resolved.refine, resolved.engine
        method = settings.method
        iterations = settings.iterations or ITERATIONS[method]
        if settings.class_sizes == "balanced" and method != "transductive":
            raise ConfigError(
                f"refine: class_sizes: 'balanced' needs the method transductive, not '{method}'",
                hint="add --method transductive, or leave out --balanced (--set refine.class_sizes=free)",
            )
        if engine.name != "local" and method == "transductive":
            raise ConfigError(
                f"engine: the method transductive runs in one process, not on '{engine.name}'",
                hint="add --method dynamic, or leave out --engine",
            )
        texts = embed_text(workspace, images.model, config, classes=classes, progress=progress)
        check_dimensions(images, texts)
        knobs: dict[str, object] = {"method": method, "temperature": settings.temperature}
        inputs = {
            **workspace.digests("embed", "embeddings.npy"),
            **workspace.digests("text", "text_embeddings.npy"),
            "logit scale": str(images.model["logit_scale"]),
        }
        clusters = None
        if method != "direct":
            knobs["iterations"] = iterations
        if method == "dynamic":
            knobs |= {"text_weight_start": settings.text_weight_start, "text_weight_end": settings.text_weight_end}
        if method == "transductive":
            knobs["class_sizes"] = settings.class_sizes
        if method == "soft":
            knobs["cluster_weights"] = settings.cluster_weights
            clusters = own_clusters(workspace, config, progress)
            inputs |= workspace.digests("cluster", "micro_assignments.npy", "micro_centroids.npy", "meta_centroids.npy")
        plan = Plan("refine", VERSION, knobs, inputs)

        def make() -> Refinement:
            file = workspace.folder("embed") / "embeddings.npy"
            with one_thread_per_product(), crew_of(images.embeddings, file, engine.name, engine.address) as crew:
                graph = own_graph(workspace, images, progress) if method == "transductive" else None
                return label(crew, images, texts, clusters, graph, settings, iterations, progress)

        record = run_stage(workspace, plan, Refinement, make, force=force, progress=progress)
        for note in record.notes:
            progress.note(note)
        return record


def own_clusters(workspace: Workspace, config: Config, progress: Progress) -> Clusters:
    """The workspace's clusters: imported ones as they are, others made anew where they are stale.

    Settings that `annotate cluster` was given count until others are said.
    """
    manifest = workspace.manifest("cluster")
    if manifest is None:
        return cluster(workspace, config, progress=progress)
    if manifest["config"].get("source") != IMPORTED:
        given = {f"cluster.{key}": value for key, value in manifest["facts"]["given"].items()}
        return cluster(workspace, replace(config, values={**given, **config.values}), progress=progress)
    if not workspace.of_these_embeddings("cluster"):
        raise StaleArtifact(
            "the imported clusters are of other embeddings",
            hint="run `annotate cluster --force` to find clusters, or import them again",
        )
    return workspace.read(Clusters)


def own_graph(workspace: Workspace, images: EmbeddingRows, progress: Progress) -> Any:
    """The graph of the workspace's embeddings; neighbours that took a while to find are kept."""
    n = len(images.embeddings)
    if n < WORTH_KEEPING:
        return neighbour_graph(*nearest_neighbours(images.embeddings, NEIGHBOURS))
    digest = workspace.digests("embed", "embeddings.npy")["embed/embeddings.npy"]
    kept = workspace.root / ".cache" / f"neighbours-{NEIGHBOURS}-v{VERSION}-{digest[:16]}.npz"
    stored = cache.read(kept)
    if {name: rows.shape for name, rows in stored.items()} != dict.fromkeys(("nearest", "cosines"), (n, NEIGHBOURS)):
        with progress.steps("finding neighbours", n, "images") as advance:
            nearest, cosines = nearest_neighbours(images.embeddings, NEIGHBOURS, advance)
        stored = {"nearest": nearest, "cosines": cosines}
        cache.write(kept, stored)
        for older in kept.parent.glob("neighbours-*"):
            if older != kept:
                older.unlink()
    return neighbour_graph(stored["nearest"], stored["cosines"])


def check_dimensions(images: EmbeddingRows, texts: Texts) -> None:
    d, expected = texts.text_embeddings.shape[1], images.embeddings.shape[1]
    if d != expected:
        raise StaleArtifact(
            f"text embeddings have {d} dimensions, image embeddings {expected}: they are of different models",
            hint="run `annotate import` with embeddings of one model",
        )


def label(
    crew: Crew,
    images: EmbeddingRows,
    texts: Texts,
    clusters: Clusters | None,
    graph: Any,
    settings: RefineSettings,
    iterations: int,
    progress: Progress,
) -> Refinement:
    """Run the method to its end, keep a row of history per pass, and turn the last pass into a record."""
    n, k = len(images.embeddings), len(texts.prompts)
    own_temperature = 1 / images.model["logit_scale"]
    temperature = settings.temperature or own_temperature
    history: list[Iteration] = []
    with progress.iterations() as show:
        for last in passes(crew, images, texts, clusters, graph, settings, iterations, temperature):
            if not history:
                expected = mean_confidence(last.sample, own_temperature)
            history.append(row_of(len(history), last, n, temperature))
            show(history[-1])
    if settings.method == "transductive":
        own = mean_confidence(last.sample, own_temperature)
        expected = max(expected_accuracy(expected, own, last), 1.2 / k)
    if settings.temperature is None and settings.method != "direct" and k > 1:
        temperature = matching_temperature(last.sample, expected)
    kept = kept_of(n, k)
    outcome = Chances.joined(n, outcomes(crew, images, last, temperature, kept))
    alignments = {}
    if clusters:
        scale = settings.temperature or own_temperature
        alignments = {
            "micro_cluster_alignment": alignment(last.prototypes, clusters.micro_centroids, temperature=scale),
            "meta_cluster_alignment": alignment(last.prototypes, clusters.meta_centroids, temperature=scale),
        }
    return Refinement(
        labels=outcome.labels,
        probabilities=outcome.probabilities,
        top_classes=outcome.classes,
        confidences=outcome.confidences,
        class_prototypes=last.prototypes,
        history=history,
        method=settings.method,
        temperature=temperature,
        notes=signs_of_blur(alignments) + signs_of_collapse(history, last.counts, texts.class_names, settings.method),
        **alignments,
    )


def outcomes(crew: Crew, images: EmbeddingRows, last: Pass, temperature: float, kept: int | None) -> Iterator[Chances]:
    """What the last pass says of every image, block by block."""
    similarity = last.similarity
    if similarity is None:
        return crew.ask("chances", last.prototypes, temperature, kept)
    k = len(last.prototypes)
    parts = [part for block in slices(len(images.embeddings), BLOCK) for part in cached(block, k)]
    return across(lambda rows: chances_of(similarity(rows), temperature, kept), parts)


def passes(
    crew: Crew,
    images: EmbeddingRows,
    texts: Texts,
    clusters: Clusters | None,
    graph: Any,
    settings: RefineSettings,
    iterations: int,
    temperature: float,
) -> Iterator[Pass]:
    """The method's passes over all images; the first is zero-shot, the last is the outcome."""
    x, t = images.embeddings, texts.text_embeddings
    some = spread(len(x), SAMPLE)
    if settings.method == "transductive":
        return transduce(
            x,
            t,
            graph,
            some,
            logit_scale=images.model["logit_scale"],
            iterations=iterations,
            balanced=settings.class_sizes == "balanced",
            kept=kept_of(len(x), len(t)),
        )
    sample = single(x[some])
    if clusters:
        levels = levels_of(x, clusters, settings.cluster_weights)
        return refine_soft(crew, t, sample, levels, iterations=iterations, temperature=temperature)
    start, end = settings.text_weight_start, settings.text_weight_end
    return refine_dynamic(
        crew, t, sample, iterations=iterations if settings.method == "dynamic" else 0, start=start, end=end
    )


def levels_of(embeddings: Rows, clusters: Clusters, weights: str) -> list[Groups]:
    """Meta-clusters, then micro-clusters with noise as single images; with one cluster only, the images."""
    if len(clusters.micro_centroids) <= 1:
        return [Groups(single(embeddings), np.ones(len(embeddings)))]
    levels = []
    for assignments, centroids in (
        (clusters.meta_assignments, clusters.meta_centroids),
        (clusters.micro_assignments, clusters.micro_centroids),
    ):
        noise = single(embeddings[assignments < 0])
        sizes = np.bincount(assignments[assignments >= 0], minlength=len(centroids)).astype(np.float64)
        counts = sizes if weights == "size" else np.ones(len(centroids))
        levels.append(Groups(np.concatenate([centroids, noise]), np.concatenate([counts, np.ones(len(noise))])))
    return levels


def row_of(number: int, last: Pass, n: int, temperature: float) -> Iteration:
    """What is worth knowing of a pass. Confidence is the sample's, at the model's own temperature or the one given."""
    return {
        "iteration": number,
        "mean_confidence": mean_confidence(last.sample, temperature),
        "active_classes": int((last.counts > 0).sum()),
        "largest_share": float(last.counts.max() / n),
        "text_weight": last.text_weight,
        "moved": last.moved,
        "moved_percent": 100 * last.moved / n,
    }


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
