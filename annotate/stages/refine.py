"""refine: a label and a confidence for every image, by prototypes that learn from the images themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from annotate.config import Config, RefineSettings
from annotate.errors import ConfigError, StaleArtifact, first_few, printable
from annotate.kernels.alignment import Groups, alignment, mean_entropy, refine_soft
from annotate.kernels.calibration import matching_temperature
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.prototypes import Pass, assigned, refine_dynamic
from annotate.kernels.transduction import NEIGHBOURS, expected_accuracy, transduce
from annotate.kernels.vectors import Floats, Ints
from annotate.kernels.zeroshot import mean_confidence, probabilities
from annotate.progress import Progress, Silent
from annotate.records import IMPORTED, Clusters, Embeddings, Iteration, Note, Refinement, Texts
from annotate.stages import cache, run_stage
from annotate.stages.cluster import cluster
from annotate.stages.text import embed_text
from annotate.workspace import Plan, Workspace

VERSION = 2
ITERATIONS = {"direct": 0, "dynamic": 10, "soft": 5, "transductive": 15}  # unless given
BLURRED = 0.9  # of the entropy of a uniform alignment
NEARLY_ALL = 0.9  # of the images in one class
WORTH_KEEPING = 5_000  # images; the neighbours of fewer are found in under a second
GAIN = 0.1  # by which a class must have grown for its size to be refinement's doing


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
        images = workspace.read(Embeddings)
        settings = config.resolve(len(images.embeddings)).refine
        method = settings.method
        iterations = settings.iterations or ITERATIONS[method]
        if settings.class_sizes == "balanced" and method != "transductive":
            raise ConfigError(
                f"refine: class_sizes: 'balanced' needs the method transductive, not '{method}'",
                hint="add --method transductive, or leave out --balanced (--set refine.class_sizes=free)",
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
            graph = own_graph(workspace, images, progress) if method == "transductive" else None
            return label(images, texts, clusters, graph, settings, iterations, progress)

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


def own_graph(workspace: Workspace, images: Embeddings, progress: Progress) -> Any:
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


def check_dimensions(images: Embeddings, texts: Texts) -> None:
    d, expected = texts.text_embeddings.shape[1], images.embeddings.shape[1]
    if d != expected:
        raise StaleArtifact(
            f"text embeddings have {d} dimensions, image embeddings {expected}: they are of different models",
            hint="run `annotate import` with embeddings of one model",
        )


def label(
    images: Embeddings,
    texts: Texts,
    clusters: Clusters | None,
    graph: Any,
    settings: RefineSettings,
    iterations: int,
    progress: Progress,
) -> Refinement:
    """Run the method to its end, keep a row of history per pass, and turn the last pass into a record."""
    own_temperature = 1 / images.model["logit_scale"]
    temperature = settings.temperature or own_temperature
    history: list[Iteration] = []
    before: Ints | None = None
    with progress.iterations() as show:
        for last in passes(images, texts, clusters, graph, settings, iterations, temperature):
            if before is None:
                expected = mean_confidence(last.similarity, own_temperature)
            moved = 0 if before is None else int((last.labels != before).sum())
            before = last.labels
            history.append(row_of(len(history), last, moved, temperature))
            show(history[-1])
    if settings.method == "transductive":
        own = mean_confidence(last.similarity, own_temperature)
        expected = max(expected_accuracy(expected, own, last), 1.2 / last.similarity.shape[1])
    if settings.temperature is None and settings.method != "direct" and last.similarity.shape[1] > 1:
        temperature = matching_temperature(last.similarity, expected)
    chances = probabilities(last.similarity, temperature)
    alignments = {}
    if clusters:
        scale = settings.temperature or own_temperature
        alignments = {
            "micro_cluster_alignment": alignment(last.prototypes, clusters.micro_centroids, temperature=scale),
            "meta_cluster_alignment": alignment(last.prototypes, clusters.meta_centroids, temperature=scale),
        }
    return Refinement(
        labels=last.labels,
        probabilities=chances,
        confidences=chances[np.arange(len(chances)), last.labels],
        class_prototypes=last.prototypes,
        history=history,
        method=settings.method,
        temperature=temperature,
        notes=signs_of_blur(alignments)
        + signs_of_collapse(
            history, np.bincount(last.labels, minlength=len(texts.prompts)), texts.class_names, settings.method
        ),
        **alignments,
    )


def passes(
    images: Embeddings,
    texts: Texts,
    clusters: Clusters | None,
    graph: Any,
    settings: RefineSettings,
    iterations: int,
    temperature: float,
) -> Iterator[Pass]:
    """The method's passes over all images; the first is zero-shot, the last is the outcome."""
    x, t = images.embeddings, texts.text_embeddings
    if settings.method == "dynamic":
        start, end = settings.text_weight_start, settings.text_weight_end
        yield from refine_dynamic(x, t, iterations=iterations, start=start, end=end)
    elif settings.method == "transductive":
        balanced = settings.class_sizes == "balanced"
        scale = images.model["logit_scale"]
        yield from transduce(x, t, graph, logit_scale=scale, iterations=iterations, balanced=balanced)
    elif clusters:
        levels = levels_of(x, clusters, settings.cluster_weights)
        yield from refine_soft(x, t, levels, iterations=iterations, temperature=temperature)
    else:
        yield assigned(x, t, 1.0)


def levels_of(embeddings: Floats, clusters: Clusters, weights: str) -> list[Groups]:
    """Meta-clusters, then micro-clusters with noise as single images; with one cluster only, the images."""
    if len(clusters.micro_centroids) <= 1:
        return [Groups(embeddings, np.ones(len(embeddings)))]
    levels = []
    for assignments, centroids in (
        (clusters.meta_assignments, clusters.meta_centroids),
        (clusters.micro_assignments, clusters.micro_centroids),
    ):
        noise = embeddings[assignments < 0]
        sizes = np.bincount(assignments[assignments >= 0], minlength=len(centroids)).astype(np.float64)
        counts = sizes if weights == "size" else np.ones(len(centroids))
        levels.append(Groups(np.concatenate([centroids, noise]), np.concatenate([counts, np.ones(len(noise))])))
    return levels


def row_of(number: int, last: Pass, moved: int, temperature: float) -> Iteration:
    """What is worth knowing of a pass. Confidence is at the model's own temperature, or the one given."""
    n, k = last.similarity.shape
    counts = np.bincount(last.labels, minlength=k)
    return {
        "iteration": number,
        "mean_confidence": mean_confidence(last.similarity, temperature),
        "active_classes": int((counts > 0).sum()),
        "largest_share": float(counts.max() / n),
        "text_weight": last.text_weight,
        "moved": moved,
        "moved_percent": 100 * moved / n,
    }


def signs_of_blur(alignments: Mapping[str, Floats]) -> list[Note]:
    """An alignment whose rows are all nearly uniform: every class answers for every cluster alike."""
    notes: list[Note] = []
    for name, shares in alignments.items():
        blur = mean_entropy(shares)
        if blur > BLURRED:
            level = name.split("_")[0]
            notes.append(
                {
                    "message": f"the alignment of {level}-clusters is blurred: {100 * blur:.0f} % of chance's entropy",
                    "hint": "lower the temperature (--temperature 0.01), or run `annotate refine --method dynamic`",
                }
            )
    return notes


REMEDIES = {
    "dynamic": "run `annotate refine --method direct`, or keep more of the words: --text-weight-end 0.9",
    "soft": "run `annotate refine --method dynamic`, or --method direct",
    "transductive": "run `annotate refine --method direct`, or ask for other classes",
    "direct": "reword the classes, or give prompts: --prompts FILE.yaml",
}


def signs_of_collapse(
    history: Sequence[Iteration], counts: Ints, class_names: Sequence[str], method: str
) -> list[Note]:
    """Signs of collapse: classes that went empty on the way, or one that holds nearly all."""
    start, end = history[0], history[-1]
    notes: list[Note] = []
    n, largest = int(counts.sum()), class_names[int(counts.argmax())]
    fewest = min(row["active_classes"] for row in history)
    if method == "transductive":
        notes += absent_classes(counts, class_names)
    elif fewest < start["active_classes"]:
        notes.append(
            {
                "message": f"collapse: {start['active_classes']} classes had images at the start, "
                f"{fewest} during refinement, {end['active_classes']} at the end",
                "hint": REMEDIES[method],
            }
        )
    if end["largest_share"] >= NEARLY_ALL and n > len(class_names):
        share = f"'{printable(largest)}' holds {100 * end['largest_share']:.0f} % of the images"
        if end["largest_share"] >= start["largest_share"] + GAIN:
            notes.append(
                {
                    "message": f"collapse: {share}, {100 * start['largest_share']:.0f} % before refinement",
                    "hint": REMEDIES[method],
                }
            )
        else:
            notes.append(
                {
                    "message": f"{share}, and did so before refinement",
                    "hint": "if that is not what they show, reword the classes or give prompts: --prompts FILE.yaml",
                }
            )
    return notes


def absent_classes(counts: Ints, class_names: Sequence[str]) -> list[Note]:
    """Names that no image was found for: transduction takes their few zero-shot images for strays."""
    absent = [f"'{printable(class_names[k])}'" for k in np.flatnonzero(counts == 0).tolist()]
    if not absent:
        return []
    return [
        {
            "message": f"no image looks like {first_few(absent)}",
            "hint": "if the images show one of them, reword it, give --prompts FILE.yaml, or try --method direct",
        }
    ]


def read_labelled(workspace: Workspace) -> tuple[Embeddings, Texts, Refinement]:
    """Images, classes and labels that belong together, for the stages that use labels.

    raises  StaleArtifact where the labels are of other images or other classes
    """
    images, texts, refinement = workspace.read(Embeddings), workspace.read(Texts), workspace.read(Refinement)
    made_from = (workspace.manifest("refine") or {"inputs": {}})["inputs"]
    now = {**workspace.digests("embed"), **workspace.digests("text")}
    changed = [name for name, digest in made_from.items() if name in now and now[name] != digest]
    if changed or refinement.probabilities.shape != (len(images.embeddings), len(texts.prompts)):
        what = changed[0] if changed else "embed/ and text/"
        raise StaleArtifact(f"the labels in refine/ are older than {what}", hint="run `annotate refine`")
    return images, texts, refinement
