"""What `refine` does between reading and publishing: a method's passes, and what the last of them says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotate.config import RefineSettings
from annotate.kernels.alignment import Groups, alignment, refine_soft
from annotate.kernels.blocks import BLOCK, across, cached, single, slices, spread
from annotate.kernels.calibration import matching_temperature
from annotate.kernels.chances import Chances, chances_of, kept_of
from annotate.kernels.prototypes import Crew, Pass, refine_dynamic
from annotate.kernels.transduction import expected_accuracy, transduce
from annotate.kernels.vectors import Rows
from annotate.kernels.zeroshot import mean_confidence
from annotate.progress import Progress
from annotate.records import Clusters, EmbeddingRows, Iteration, Refinement, Texts
from annotate.stages.signs import signs_of

SAMPLE = 4096  # images on which mean confidences are taken, where there are more


@dataclass(frozen=True)
class Material:
    """What a method works on.

    clusters  where the method wants them
    graph     (N, N) of nearest neighbours, where the method wants it
    recall    share of the true neighbours that are in it
    """

    crew: Crew
    images: EmbeddingRows
    texts: Texts
    clusters: Clusters | None = None
    graph: Any = None
    recall: float = 1.0

    @property
    def shape(self) -> tuple[int, int]:
        """N and K."""
        return len(self.images.embeddings), len(self.texts.prompts)

    @property
    def temperature(self) -> float:
        """The model's own."""
        return 1 / self.images.model["logit_scale"]


def label(material: Material, settings: RefineSettings, iterations: int, progress: Progress) -> Refinement:
    """Run the method to its end, keep a row of history per pass, and turn the last pass into a record."""
    n, k = material.shape
    temperature = settings.temperature or material.temperature
    history: list[Iteration] = []
    with progress.iterations() as show:
        for last in passes(material, settings, iterations):
            if not history:
                expected = mean_confidence(last.sample, material.temperature)
            history.append(row_of(len(history), last, n, temperature))
            show(history[-1])
    if settings.method == "transductive":
        own = mean_confidence(last.sample, material.temperature)
        expected = max(expected_accuracy(expected, own, last), 1.2 / k)
    if settings.temperature is None and settings.method != "direct" and k > 1:
        temperature = matching_temperature(last.sample, expected)
    outcome = Chances.joined(n, outcomes(material, last, temperature))
    clusters, alignments = material.clusters, {}
    if clusters:
        scale = settings.temperature or material.temperature
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
        notes=signs_of(material.images, material.texts, settings.method, history, last, alignments, material.recall),
        **alignments,
    )


def passes(material: Material, settings: RefineSettings, iterations: int) -> Iterator[Pass]:
    """The method's passes over all images; the first is zero-shot, the last is the outcome."""
    crew, x, t = material.crew, material.images.embeddings, material.texts.text_embeddings
    some = spread(len(x), SAMPLE)
    if settings.method == "transductive":
        return transduce(
            x,
            t,
            material.graph,
            some,
            logit_scale=material.images.model["logit_scale"],
            iterations=iterations,
            balanced=settings.class_sizes == "balanced",
            kept=kept_of(*material.shape),
        )
    sample = single(x[some])
    if material.clusters:
        levels = levels_of(x, material.clusters, settings.cluster_weights)
        temperature = settings.temperature or material.temperature
        return refine_soft(crew, t, sample, levels, iterations=iterations, temperature=temperature)
    learning = iterations if settings.method == "dynamic" else 0
    start, end = settings.text_weight_start, settings.text_weight_end
    return refine_dynamic(crew, t, sample, iterations=learning, start=start, end=end)


def outcomes(material: Material, last: Pass, temperature: float) -> Iterator[Chances]:
    """What the last pass says of every image, block by block."""
    (n, k), similarity = material.shape, last.similarity
    if similarity is None:
        return material.crew.ask("chances", last.prototypes, temperature, kept_of(n, k))
    parts = [part for block in slices(n, BLOCK) for part in cached(block, k)]
    return across(lambda rows: chances_of(similarity(rows), temperature, kept_of(n, k)), parts)


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
