"""transductive: all images are labelled together, by text, by classes learned from the images, and by neighbours.

kernels/transduction.py has the equations, kernels/confidence.py how sure the evidence makes each label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annotate.kernels.blocks import BLOCK, across, cached, evenly_spaced, products, single, slices
from annotate.kernels.chances import Chances, chances_with, softmax_chances
from annotate.kernels.confidence import (
    CaseEvidence,
    agreement,
    at_confidence,
    between,
    confidences,
    corrected,
    evidence_for_labels,
    named_by_words,
    within,
)
from annotate.kernels.lesson import Answers
from annotate.kernels.transduction import JointPass, transduce
from annotate.kernels.vectors import Doubles, Ints
from annotate.methods.material import SAMPLE, Course, Judged, Material, Method, refinement, run_passes
from annotate.methods.signs import (
    signs_of_absence,
    signs_of_approximation,
    signs_of_collapse,
    signs_of_few_images,
    signs_of_mismatch,
)
from annotate.records import Refinement

PARTS = 4  # of the answers, each judged by the others alone: every one labels all images once more
REMEDY = "run `annotate refine --method direct`, or ask for other classes"


@dataclass(frozen=True)
class Neighbours:
    """The nearest images of each image.

    graph   (N, N) sparse, of `neighbour_graph`
    recall  share of the true neighbours that are in it
    """

    graph: Any
    recall: float


def label(material: Material, course: Course, *, neighbours: Neighbours) -> Refinement:
    """Label all images together; confidence comes from the evidence for each label, unless a temperature is given."""
    asked, names = course.settings, material.texts.class_names
    judged = judged_apart(material, course, neighbours) if len(material.answered) else {}
    listened, as_labelled = whom_to_believe(material, course, neighbours, judged)
    first, last, history = run_passes(passes_of(listened, course, neighbours), material, course)
    sure = by_evidence(material, neighbours, first, last, as_labelled)
    if asked.temperature is None:
        blocks = as_sure_as_evidence(material, last, sure)
    else:
        blocks = at_temperature(material, last, asked.temperature)
    made = refinement(
        material,
        course,
        blocks,
        judged,
        prototypes=last.prototypes,
        temperature=asked.temperature or material.temperature,
        history=history,
    )
    borne = last.counts + np.bincount(made.labels, minlength=len(names))
    made.notes.extend(
        [
            *signs_of_mismatch(material.images, material.texts),
            *signs_of_few_images(last.counts, "add images, or ask for fewer classes"),
            *signs_of_absence(borne, names),
            *signs_of_collapse(history, last.counts, names, remedy=REMEDY, emptied=False),
            *signs_of_approximation(neighbours.recall),
        ]
    )
    return made


def passes_of(material: Material, course: Course, neighbours: Neighbours) -> Iterator[JointPass]:
    """The passes of transduction, with what people answered."""
    x = material.images.embeddings
    return transduce(
        x,
        material.texts.text_embeddings,
        neighbours.graph,
        evenly_spaced(len(x), SAMPLE),
        logit_scale=material.images.model["logit_scale"],
        iterations=course.iterations,
        balanced=course.settings.class_sizes == "balanced",
        kept=material.kept,
        answers=Answers(material.answers, material.content) if len(material.answered) else None,
    )


def whom_to_believe(
    material: Material, course: Course, neighbours: Neighbours, judged: Judged
) -> tuple[Material, Judged]:
    """The images with the answers that labelling learns from: all of them, or none where words alone do better.

    Both are compared on the answered images, each judged without its own answer. Where words are right already, a few
    answers can teach less than they spoil.

    judged   of `judged_apart`; it is what people are told of an answered image, since no choice heard its own answer
    returns  also what the answered images are called, and how surely, by what labels the others, (M,)
    """
    rows = material.answered
    if not len(rows):
        return material, {}
    unheard = replace(material, answers=np.full_like(material.answers, -1))
    first, *_, last = passes_of(unheard, course, neighbours)
    answers = material.answers[rows]
    if (last.labels[rows] == answers).sum() <= (judged["labels"] == answers).sum():
        return material, judged
    sure = np.maximum(evidence_alone(unheard, neighbours, first, last)[rows], 1 / material.shape[1])
    return unheard, {"labels": last.labels[rows], "confidences": sure}


def judged_apart(material: Material, course: Course, neighbours: Neighbours) -> Judged:
    """What the answered images would be called without their own answers, and how surely, (M,).

    Of a few parts of the answers each is left out once, and all images are labelled by the others.
    """
    rows = material.answered
    part = np.arange(len(rows)) % PARTS
    labels, sure = np.empty(len(rows), np.int64), np.empty(len(rows))
    for number in range(min(PARTS, len(rows))):
        mine = part == number
        hidden = np.isin(material.content, material.content[rows[mine]])
        others = replace(material, answers=np.where(hidden, -1, material.answers))
        first, *_, last = passes_of(others, course, neighbours)
        labels[mine] = last.labels[rows[mine]]
        sure[mine] = evidence_alone(others, neighbours, first, last)[rows[mine]]
    return {"labels": labels, "confidences": np.maximum(sure, 1 / material.shape[1])}


def by_evidence(
    material: Material, neighbours: Neighbours, first: JointPass, last: JointPass, judged: Judged
) -> Doubles:
    """How sure the evidence makes every label, (N,), corrected by how often it is right of the answered images.

    judged  of `whom_to_believe`
    """
    sure, rows, k = evidence_alone(material, neighbours, first, last), material.answered, material.shape[1]
    if not len(rows):
        return corrected(sure, rows, np.empty(0, np.bool_), k)
    sure[rows] = judged["confidences"]
    return corrected(sure, rows, judged["labels"] == material.answers[rows], k)


def evidence_alone(material: Material, neighbours: Neighbours, first: JointPass, last: JointPass) -> Doubles:
    """How sure the evidence makes every label, (N,), whatever people answered."""
    (n, k), similarity = material.shape, last.similarity
    x, t = material.images.embeddings, material.texts.text_embeddings
    scale = np.float32(1 / material.temperature)
    case = CaseEvidence.from_passes(first, last, t, logit_scale=1 / material.temperature)
    around = agreement(neighbours.graph, last.labels)

    def look(rows: slice) -> tuple[Doubles, Ints]:
        words = scale * products(single(x[rows]), t)
        return (
            evidence_for_labels(scale * similarity(rows), last.labels[rows], around[rows], case),
            named_by_words(words, case),
        )

    evidence, named = (np.concatenate(blocks) for blocks in zip(*across(look, parts_in_cache(n, k)), strict=True))
    return confidences(within(evidence), between(last.labels, named, case), k)


def as_sure_as_evidence(material: Material, last: JointPass, sure: Doubles) -> Iterator[Chances]:
    """What the last pass says of every image, each as surely as the evidence makes it."""

    def chances(rows: slice) -> Chances:
        here = last.similarity(rows)
        return chances_with(here, at_confidence(here, sure[rows]), material.kept)

    return across(chances, parts_in_cache(*material.shape))


def at_temperature(material: Material, last: JointPass, temperature: float) -> Iterator[Chances]:
    """What the last pass says of every image, at a temperature that somebody chose."""
    parts = parts_in_cache(*material.shape)
    return across(lambda rows: softmax_chances(last.similarity(rows), temperature, material.kept), parts)


def parts_in_cache(n: int, k: int) -> list[slice]:
    """Parts of all images whose similarities to k classes stay in the processor's cache."""
    return [part for block in slices(n, BLOCK) for part in cached(block, k)]


TRANSDUCTIVE = Method(
    "transductive", label, iterations=15, settings=("class_sizes",), needs=("neighbours",), engines=("local",)
)
