"""transductive: all images are labelled together, by text, by classes learned from the images, and by neighbours.

kernels/transduction.py has the equations, kernels/confidence.py how sure the evidence makes each label.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annotate.kernels.blocks import BLOCK, across, cached, evenly_spaced, products, single, slices
from annotate.kernels.calibration import PARTS_LEFT_OUT, part_of_each
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
    platt,
    rescaled,
    within,
)
from annotate.kernels.naming import names_by_answers, renamed
from annotate.kernels.transduction import JointPass, transduce
from annotate.kernels.unfit import SMALLEST_GROUP, Unfit, unfit_groups
from annotate.kernels.vectors import Doubles, Ints
from annotate.methods.material import SAMPLE, Course, Judged, Material, Method, refinement, run_passes
from annotate.methods.signs import (
    signs_of_absence,
    signs_of_approximation,
    signs_of_collapse,
    signs_of_few_images,
    signs_of_mismatch,
    signs_of_renaming,
    signs_of_strangers,
)
from annotate.records import Refinement

SEARCHED = 50_000  # images up to which groups that fit no name are looked for; it takes seconds there
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
    x, texts = material.images.embeddings, material.texts.text_embeddings
    passes = transduce(
        x,
        texts,
        neighbours.graph,
        evenly_spaced(len(x), SAMPLE),
        logit_scale=material.images.model["logit_scale"],
        iterations=course.iterations,
        balanced=asked.class_sizes == "balanced",
        kept=material.kept,
    )
    first, found, history = run_passes(passes, material, course)
    sure, last, judged = by_evidence(material, neighbours, first, found, rename=asked.class_sizes == "free")
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
    groups = groups_that_fit_no_name(material, neighbours, made.labels)
    borne = found.counts + np.bincount(made.labels, minlength=len(names))
    made.notes.extend(
        [
            *signs_of_mismatch(material.images, material.texts),
            *signs_of_few_images(found.counts, "add images, or ask for fewer classes"),
            *signs_of_absence(borne, names),
            *signs_of_collapse(history, found.counts, names, remedy=REMEDY, emptied=False),
            *signs_of_approximation(neighbours.recall),
            *(signs_of_renaming(found.labels, last.labels, names) if last is not found else []),
            *signs_of_strangers(groups or [], names, material.image_paths),
        ]
    )
    return made if groups is None else replace(made, unfit=group_numbers(groups, len(x)))


def by_evidence(
    material: Material, neighbours: Neighbours, first: JointPass, last: JointPass, *, rename: bool
) -> tuple[Doubles, JointPass, Judged]:
    """How sure the evidence makes every label, (N,), and the last pass with the names that classes have now.

    rename   whether people's answers may give classes other names
    returns  also what the answered images would be called without their own answers, and how surely
    """
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
    sure = confidences(within(evidence), between(last.labels, named, case), k)
    rows = material.answered
    if not len(rows):
        return corrected(sure, rows, np.empty(0, np.bool_), k), last, {}
    labels, answers, certainty = last.labels[rows], material.answers[rows], sure[rows]

    def names_by(some: Any) -> tuple[Ints, Ints]:
        """The names of the classes by some of the answers, and each of their images' label by the others of them."""
        if not rename:
            return np.arange(k), labels[some]
        return names_by_answers(labels[some], answers[some], float(certainty[some].mean()), k)

    names, alone = names_by(slice(None))
    judged = {"labels": alone, "confidences": np.maximum(judged_by_others(certainty, answers, names_by), 1 / k)}
    return corrected(sure, rows, alone == answers, k), renamed(last, names, t), judged


def judged_by_others(certainty: Doubles, answers: Ints, names_by: Callable[[Any], tuple[Ints, Ints]]) -> Doubles:
    """How sure each answered image's label is by the answers on images of other parts alone, (M,).

    names_by  as in `by_evidence`
    """
    part, confidence = part_of_each(len(answers)), certainty.copy()
    for number in range(min(PARTS_LEFT_OUT, len(answers)) if len(answers) > 1 else 0):
        mine, others = part == number, part != number
        fitted = platt(certainty[others], names_by(others)[1] == answers[others])
        confidence[mine] = rescaled(certainty[mine], *fitted)
    return confidence


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


def groups_that_fit_no_name(material: Material, neighbours: Neighbours, labels: Ints) -> list[Unfit] | None:
    """Groups of images that look alike and fit none of the names; None where images are too many to look.

    An image whose class somebody gave is in none.
    """
    n, x, t = len(labels), material.images.embeddings, material.texts.text_embeddings
    if n > SEARCHED or material.kept:
        return None
    groups = unfit_groups(x, t, labels, neighbours.graph, logit_scale=material.images.model["logit_scale"])
    if len(material.answers):
        groups = [replace(group, rows=group.rows[material.answers[group.rows] < 0]) for group in groups]
    return [group for group in groups if len(group.rows) >= SMALLEST_GROUP]


def group_numbers(groups: Sequence[Unfit], n: int) -> Ints:
    """The group of each image, (N,); -1 for none."""
    numbers = np.full(n, -1, np.int64)
    for number, group in enumerate(groups):
        numbers[group.rows] = number
    return numbers


TRANSDUCTIVE = Method(
    "transductive", label, iterations=15, settings=("class_sizes",), needs=("neighbours",), engines=("local",)
)
