"""What every method is given to work on, and how what it found becomes a record.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import evenly_spaced, products, single
from annotate.kernels.calibration import (
    likeliest_temperature,
    likeliest_temperatures_without,
    matching_temperature,
)
from annotate.kernels.chances import Chances, InMemory, RoomForRows, number_kept
from annotate.kernels.prototypes import Workers
from annotate.kernels.vectors import Floats, Ints
from annotate.kernels.zeroshot import mean_confidence, probabilities
from annotate.progress import Progress
from annotate.records import EmbeddingRows, Iteration, Note, Refinement, Texts
from annotate.records.declared import artifact_fields
from annotate.settings.declared import RefineSettings
from annotate.workspace.arrays import RowsFile

SAMPLE = 2048  # images on which mean confidences are taken, where there are more
Judged = Mapping[str, npt.NDArray[Any]]
# Fields of `Chances` that go into files block by block: they are the large ones.
FIELD_FILES = {
    field: str(artifact_fields(Refinement)[name].file)
    for field, name in (("probabilities", "probabilities"), ("classes", "top_classes"))
}


@dataclass(frozen=True)
class Material:
    """What a method works on.

    workers      hold the embeddings
    images       the same, with the model that made them
    texts        the classes
    image_paths  N, read when asked for
    answers      (N,) class that somebody gave an image, -1 where nobody did; empty where none was given
    content      (N,) equal numbers for images of the same bytes; empty where none was given
    """

    workers: Workers
    images: EmbeddingRows
    texts: Texts
    image_paths: Callable[[], Sequence[str]] = tuple
    answers: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    content: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def shape(self) -> tuple[int, int]:
        """N and K."""
        return len(self.images.embeddings), len(self.texts.prompts)

    @property
    def answered(self) -> Ints:
        """Images whose class somebody gave, (M,), of copies the first: one image says no more by being there twice."""
        rows = np.flatnonzero(self.answers >= 0)
        return rows[np.unique(self.content[rows], return_index=True)[1]]

    @property
    def temperature(self) -> float:
        """The model's own."""
        return 1 / self.images.model["logit_scale"]

    @property
    def kept(self) -> int | None:
        """How many probabilities of each image are kept; None for all."""
        return number_kept(*self.shape)

    @property
    def sample(self) -> Floats:
        """(S, D) some of the images, evenly spread."""
        x = self.images.embeddings
        return single(x[evenly_spaced(len(x), SAMPLE)])


@dataclass(frozen=True)
class Course:
    """How a method is to run, and where it reports its progress.

    settings    of `refine`
    iterations  passes after the zero-shot one
    folder      empty, for the files that are written block by block
    """

    settings: RefineSettings
    iterations: int
    folder: Path
    progress: Progress


@dataclass(frozen=True)
class Method:
    """A way to label all images.

    name        as in the setting `method`
    label       the record of a material and a course, and of what the method needs beside them
    iterations  passes unless the user says otherwise; 0 where there is but one
    settings    those of `refine` that reach it, beside method, temperature and iterations
    needs       what `label` is given by name: "clusters", or "neighbours"
    engines     where it can run
    """

    name: str
    label: Callable[..., Refinement]
    iterations: int = 0
    settings: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    engines: tuple[str, ...] = ("local", "ray")


class PassCounts(Protocol):
    """What every pass over all images yields, whatever the method."""

    @property
    def sample(self) -> Floats: ...
    @property
    def counts(self) -> Ints: ...
    @property
    def moved(self) -> int: ...
    @property
    def text_weight(self) -> float | None: ...


AnyPass = TypeVar("AnyPass", bound=PassCounts)


def run_passes(
    passes: Iterable[AnyPass], material: Material, course: Course
) -> tuple[AnyPass, AnyPass, list[Iteration]]:
    """Run all passes and show each; return the first, the last, and a row of history for each."""
    temperature = course.settings.temperature or material.temperature
    n, rows = len(material.images.embeddings), list[Iteration]()
    first: AnyPass | None = None
    with course.progress.iterations() as show:
        for last in passes:
            first = first or last
            rows.append(
                {
                    "iteration": len(rows),
                    "mean_confidence": mean_confidence(last.sample, temperature),
                    "active_classes": int((last.counts > 0).sum()),
                    "largest_share": float(last.counts.max() / n),
                    "text_weight": last.text_weight,
                    "moved": last.moved,
                    "moved_percent": 100 * last.moved / n,
                }
            )
            show(rows[-1])
    assert first is not None
    return first, last, rows


def temperature_for(material: Material, course: Course, prototypes: Floats, before: float) -> tuple[float, Judged]:
    """The temperature at which confidence is right on the images whose class somebody gave, unless one was asked for.

    prototypes  (K, D) unit rows
    before      the temperature without answers, toward which few of them are drawn; or the one asked for
    returns     the temperature, and how sure each of those images is by the answers on others alone
    """
    rows = material.answered
    if course.settings.temperature is not None or not len(rows):
        return before, {}
    similarity, answers = products(single(material.images.embeddings[rows]), prototypes), material.answers[rows]
    others = likeliest_temperatures_without(similarity, answers, before)
    own = np.asarray(similarity / others[:, None], np.float32)
    judged = {"confidences": probabilities(own, 1.0).max(axis=1)}
    return likeliest_temperature(similarity, answers, before), judged


def as_sure_as_zero_shot(material: Material, zero_shot: Floats, sample: Floats) -> float:
    """The temperature at which images are as sure of their labels, on average, as in the zero-shot pass.

    Zero-shot's own is the model's: its probabilities are nearly calibrated as they are.

    zero_shot, sample  (S, K) similarities of the same images in the first pass and in the last
    """
    return matching_temperature(sample, mean_confidence(zero_shot, material.temperature))


def nearest_prototypes(material: Material, prototypes: Floats, temperature: float) -> Iterator[Chances]:
    """softmax(x · P / temperature) of all images, in blocks."""
    return material.workers.chances(prototypes, temperature, material.kept)


def refined_by(
    material: Material, course: Course, prototypes: Floats, before: float, history: list[Iteration], **further: Any
) -> Refinement:
    """The record of labels by the nearest of these prototypes, (K, D).

    before   the temperature, unless answers tell a better one
    further  fields that one method alone fills
    """
    temperature, judged = temperature_for(material, course, prototypes, before)
    blocks = nearest_prototypes(material, prototypes, temperature)
    return refinement(
        material, course, blocks, judged, prototypes=prototypes, temperature=temperature, history=history, **further
    )


def refinement(
    material: Material,
    course: Course,
    blocks: Iterable[Chances],
    judged: Judged,
    *,
    prototypes: Floats,
    temperature: float,
    history: list[Iteration],
    **further: Any,
) -> Refinement:
    """The record of an outcome; `further` are fields that one method alone fills.

    blocks  what it says of all images before any answer, in order; the large fields go into files as they come
    judged  labels or confidences of `material.answered`, (M,), by the answers on other images alone
    """
    n = len(material.images.embeddings)
    labels, sure = np.empty(len(material.answers), np.int64), np.empty(len(material.answers), np.float32)
    if len(material.answers):
        blocks = with_answers(keep_unanswered(blocks, labels, sure), material.answers)
        further |= {"answers": material.answers, "labels_without_answer": labels, "confidences_without_answer": sure}
    with ExitStack() as files:

        def room(field: str) -> RoomForRows:
            if field not in FIELD_FILES:
                return InMemory(n)
            return files.enter_context(RowsFile(course.folder / FIELD_FILES[field], n))

        outcome = Chances.joined(n, blocks, room)
    write_judged(material, judged, labels, sure)
    return Refinement(
        labels=outcome.labels,
        probabilities=outcome.probabilities,
        top_classes=outcome.classes,
        confidences=outcome.confidences,
        class_prototypes=prototypes,
        history=history,
        method=course.settings.method,
        temperature=temperature,
        notes=list[Note](),
        **further,
    )


def keep_unanswered(blocks: Iterable[Chances], labels: Ints, confidences: Floats) -> Iterator[Chances]:
    """Pass the blocks on, and copy their labels and confidences, (N,), before any answer changes them."""
    start = 0
    for block in blocks:
        rows = slice(start, start + len(block.labels))
        labels[rows], confidences[rows] = block.labels, block.confidences
        start = rows.stop
        yield block


def write_judged(material: Material, judged: Judged, labels: Ints, confidences: Floats) -> None:
    """Write what other answers say of the answered images and their copies into `labels` and `confidences`, (N,)."""
    answered = material.answered
    if not len(answered):
        return
    for rows, name in ((labels, "labels"), (confidences, "confidences")):
        if name in judged:
            rows[answered] = judged[name]
    copies = np.flatnonzero(material.answers >= 0)
    first = answered[np.searchsorted(material.content[answered], material.content[copies])]
    labels[copies], confidences[copies] = labels[first], confidences[first]


def with_answers(blocks: Iterable[Chances], answers: Ints) -> Iterator[Chances]:
    """Give images whose class somebody gave that class, with confidence 1."""
    start = 0
    for block in blocks:
        own = answers[start : start + len(block.labels)]
        start += len(block.labels)
        yield certain(block, own) if (own >= 0).any() else block


def certain(block: Chances, answers: Ints) -> Chances:
    """A copy of a block with the answers as labels; -1 is none. Blocks of other processes cannot be written to."""
    rows = np.flatnonzero(answers >= 0)
    given, column = answers[rows], answers[rows]
    labels, confidences, probabilities = block.labels.copy(), block.confidences.copy(), block.probabilities.copy()
    classes = None if block.classes is None else block.classes.copy()
    if classes is not None:  # the answer goes first; what was first takes its place, or the last one
        there = classes[rows] == given[:, None]
        place = np.where(there.any(axis=1), there.argmax(axis=1), -1)
        classes[rows, place] = classes[rows, 0]
        classes[rows, 0], column = given, np.zeros_like(given)
    labels[rows], confidences[rows], probabilities[rows] = given, 1, 0
    probabilities[rows, column] = 1
    return Chances(labels, confidences, probabilities, classes)
