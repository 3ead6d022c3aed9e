"""soft: each class's prototype moves toward the clusters that look like the class.

kernels/alignment.py has the formula.
"""

from __future__ import annotations

import numpy as np

from annotate.kernels.alignment import Groups, alignment, refine_soft
from annotate.kernels.blocks import single
from annotate.kernels.vectors import Rows
from annotate.methods.material import (
    Course,
    Material,
    Method,
    as_sure_as_zero_shot,
    refined_by,
    run_passes,
)
from annotate.methods.signs import signs_of_blur, signs_of_collapse, signs_of_few_images, signs_of_mismatch
from annotate.records import Clusters, Refinement

REMEDY = "run `annotate refine --method dynamic`, or --method direct"


def label(material: Material, course: Course, *, clusters: Clusters) -> Refinement:
    """Draw prototypes to meta-clusters and micro-clusters; the record keeps how far each class answers for each."""
    asked, texts, names = course.settings, material.texts.text_embeddings, material.texts.class_names
    scale = asked.temperature or material.temperature
    passes = refine_soft(
        material.workers,
        texts,
        material.sample,
        levels_to_align(material.images.embeddings, clusters, asked.cluster_weights),
        iterations=course.iterations,
        temperature=scale,
    )
    first, last, history = run_passes(passes, material, course)
    before = asked.temperature or as_sure_as_zero_shot(material, first.sample, last.sample)
    made = refined_by(
        material,
        course,
        last.prototypes,
        before,
        history,
        micro_cluster_alignment=alignment(last.prototypes, clusters.micro_centroids, temperature=scale),
        meta_cluster_alignment=alignment(last.prototypes, clusters.meta_centroids, temperature=scale),
    )
    made.notes.extend(
        [
            *signs_of_mismatch(material.images, material.texts),
            *signs_of_few_images(last.counts, "try --method transductive, which lets the text decide there"),
            *signs_of_blur("micro-clusters", made.micro_cluster_alignment),
            *signs_of_blur("meta-clusters", made.meta_cluster_alignment),
            *signs_of_collapse(history, last.counts, names, remedy=REMEDY),
        ]
    )
    return made


def levels_to_align(embeddings: Rows, clusters: Clusters, weights: str) -> list[Groups]:
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


SOFT = Method("soft", label, iterations=5, settings=("cluster_weights",), needs=("clusters",))
