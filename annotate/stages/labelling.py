"""What `refine` does between reading and publishing: a method's passes, and what the last of them says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.arrays import RowsFile
from annotate.config import RefineSettings
from annotate.kernels.alignment import Groups, alignment, refine_soft
from annotate.kernels.blocks import BLOCK, across, cached, products, single, slices, spread
from annotate.kernels.calibration import (
    PARTS,
    likeliest_temperature,
    likeliest_temperatures_without,
    matching_temperature,
    part_of_each,
)
from annotate.kernels.chances import Chances, Held, Room, chances_of, chances_with, kept_of
from annotate.kernels.confidence import (
    Circumstances,
    agreement,
    at_confidence,
    between,
    confidences,
    corrected,
    names,
    platt,
    rescaled,
    shows,
    within,
)
from annotate.kernels.naming import names_by_given, renamed
from annotate.kernels.prototypes import Crew, Pass, class_directions, refine_dynamic
from annotate.kernels.transduction import Wide, transduce
from annotate.kernels.unfit import FEWEST, Unfit, unfit_groups
from annotate.kernels.vectors import Floats, Ints, Rows
from annotate.kernels.zeroshot import mean_confidence, probabilities
from annotate.progress import Progress
from annotate.records import Clusters, EmbeddingRows, Iteration, Refinement, Texts, artifacts_of
from annotate.stages.signs import signs_of, signs_of_renaming, signs_of_strangers

SEARCHED = 50_000  # images up to which groups that fit no name are looked for; it takes seconds there
SAMPLE = 2048  # images on which mean confidences are taken, where there are more
PER_CLASS = 16  # images that tell the direction of a class; with two of them a whole pass more is looked at
MOST_DIRECTING = 1 << 15  # such images in all, 64 MB
# Fields of `Chances` that go into files block by block.
FILES = {
    field: str(artifacts_of(Refinement)[name].file)
    for field, name in (("probabilities", "probabilities"), ("classes", "top_classes"))
}


@dataclass(frozen=True)
class Material:
    """What a method works on.

    crew      who holds the embeddings
    images    the same, with the model that made them
    texts     the classes
    clusters  where the method wants them
    graph     (N, N) of nearest neighbours, where the method wants it
    recall    share of the true neighbours that are in it
    image_paths  N, read when asked for
    given        (N,) class that somebody gave an image, -1 unknown; empty where nobody gave any
    content      (N,) equal numbers for images of the same bytes; empty where nothing was given
    """

    crew: Crew
    images: EmbeddingRows
    texts: Texts
    clusters: Clusters | None = None
    graph: Any = None
    recall: float = 1.0
    image_paths: Callable[[], Sequence[str]] = tuple
    given: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    content: Ints = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def asked(self) -> Ints:
        """Images whose class somebody gave, (M,), of copies the first: one image says no more by being there twice."""
        rows = np.flatnonzero(self.given >= 0)
        return rows[np.unique(self.content[rows], return_index=True)[1]]

    @property
    def shape(self) -> tuple[int, int]:
        """N and K."""
        return len(self.images.embeddings), len(self.texts.prompts)

    @property
    def temperature(self) -> float:
        """The model's own."""
        return 1 / self.images.model["logit_scale"]


def label(material: Material, settings: RefineSettings, iterations: int, progress: Progress, place: Path) -> Refinement:
    """Run the method to its end, keep a row of history per pass, and turn the last pass into a record.

    place  a folder for its probabilities, which are written as they come
    """
    (n, _), texts = material.shape, material.texts
    temperature = settings.temperature or material.temperature
    history: list[Iteration] = []
    with progress.iterations() as show:
        for last in passes(material, settings, iterations):
            if not history:
                first = last
            history.append(row_of(len(history), last, n, temperature))
            show(history[-1])
    found, without = last, Without.of(material)
    if last.known is not None:
        sure, last = by_evidence(material, first, last, without, rename=settings.class_sizes == "free")
    if settings.temperature is None and last.known is not None:
        blocks = outcomes_as_sure(material, last, sure)
    else:
        if settings.temperature is None:
            temperature = fitted_temperature(material, settings.method, first, last, without)
        blocks = outcomes(material, last, temperature)
    with ExitStack() as files:

        def room(field: str) -> Room:
            return files.enter_context(RowsFile(place / FILES[field], n)) if field in FILES else Held(n)

        outcome = Chances.joined(n, as_given(noted(blocks, without), material.given), room)
    without.share(material)
    clusters, alignments = material.clusters, {}
    if clusters:
        scale = settings.temperature or material.temperature
        alignments = {
            "micro_cluster_alignment": alignment(last.prototypes, clusters.micro_centroids, temperature=scale),
            "meta_cluster_alignment": alignment(last.prototypes, clusters.meta_centroids, temperature=scale),
        }
    groups = unfit_of(material, outcome.labels)
    return Refinement(
        labels=outcome.labels,
        unfit=None if groups is None else numbered(groups, n),
        probabilities=outcome.probabilities,
        top_classes=outcome.classes,
        confidences=outcome.confidences,
        class_prototypes=last.prototypes,
        history=history,
        method=settings.method,
        temperature=temperature,
        answers=without.or_none(material.given),
        labels_without_answer=without.or_none(without.labels),
        confidences_without_answer=without.or_none(without.confidences),
        notes=[
            *signs_of(
                material.images, texts, settings.method, history, found, outcome.labels, alignments, material.recall
            ),
            *signs_of_renaming(found, last, texts.class_names),
            *signs_of_strangers(groups or [], texts.class_names, material.image_paths),
        ],
        **alignments,
    )


@dataclass(frozen=True)
class Without:
    """What is said of each image without its own answer; empty where nobody gave any.

    asked        (M,) images whose class was given, of copies the first
    labels       (N,)
    confidences  (N,)
    """

    asked: Ints
    labels: Ints
    confidences: Floats
    known: dict[str, npt.NDArray[Any]] = field(default_factory=dict)

    @staticmethod
    def of(material: Material) -> Without:
        n = len(material.given)
        return Without(material.asked, np.empty(n, np.int64), np.empty(n, np.float32))

    def know(self, **of_asked: npt.NDArray[Any]) -> None:
        """Labels or confidences of the images asked, (M,), that what others say makes of them."""
        self.known.update(of_asked)

    def take(self, rows: slice, block: Chances) -> None:
        """What a method says of a block of images before any answer."""
        if len(self.labels):
            self.labels[rows], self.confidences[rows] = block.labels, block.confidences

    def share(self, material: Material) -> None:
        """Put in what is known of the images asked, and say the same of their copies."""
        rows = np.flatnonzero(material.given >= 0)
        for name, of_asked in self.known.items():
            getattr(self, name)[self.asked] = of_asked
        first = self.asked[np.searchsorted(material.content[self.asked], material.content[rows])]
        self.labels[rows], self.confidences[rows] = self.labels[first], self.confidences[first]

    def or_none(self, rows: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        return rows if len(self.asked) else None


def fitted_temperature(material: Material, method: str, first: Pass, last: Pass, without: Without) -> float:
    """The temperature at which confidence is right on given labels, or else zero-shot's on average.

    Zero-shot's own is the model's: its probabilities are nearly calibrated as they are.
    """
    if method == "direct":
        untold = material.temperature
    else:
        untold = matching_temperature(last.sample, mean_confidence(first.sample, material.temperature))
    rows = material.asked
    if not len(rows):
        return untold
    similarity, said = products(single(material.images.embeddings[rows]), last.prototypes), material.given[rows]
    others = likeliest_temperatures_without(similarity, said, untold)
    own = np.asarray(similarity / others[:, None], np.float32)
    without.know(confidences=probabilities(own, 1.0).max(axis=1))
    return likeliest_temperature(similarity, said, untold)


def by_evidence(material: Material, first: Pass, last: Pass, without: Without, *, rename: bool) -> tuple[Wide, Pass]:
    """How sure the evidence makes every label of transduction, (N,), and the last pass with the names that it has now.

    without  learns what images whose class was given would be called without their own answers, and how surely
    rename   whether classes may bear other names by the labels that were given
    """
    (n, k), similarity, known = material.shape, last.similarity, last.known
    if similarity is None or known is None:
        raise ValueError("a pass of another method")
    x, t = material.images.embeddings, material.texts.text_embeddings
    scale = np.float32(1 / material.temperature)
    case = Circumstances.of(first, last, t, logit_scale=1 / material.temperature)
    around = agreement(material.graph, known.labels)

    def seen(rows: slice) -> tuple[Wide, Ints]:
        words = scale * products(single(x[rows]), t)
        return shows(scale * similarity(rows), known.labels[rows], around[rows], case), names(words, case)

    shown, named = (np.concatenate(blocks) for blocks in zip(*across(seen, parts_of(n, k)), strict=True))
    sure = confidences(within(shown), between(known.labels, named, case), k)
    rows = material.asked
    if not len(rows):
        return corrected(sure, rows, np.empty(0, np.bool_), k), last
    labels, said, certainty = known.labels[rows], material.given[rows], sure[rows]

    def called(some: Any) -> tuple[Ints, Ints]:
        """Names of the classes by some of the images asked, and what each of those is called by the others of them."""
        if not rename:
            return np.arange(k), labels[some]
        return names_by_given(labels[some], said[some], float(certainty[some].mean()), k)

    told, alone = called(slice(None))
    without.know(labels=alone, confidences=np.maximum(seen_by_others(certainty, said, called), 1 / k))
    return corrected(sure, rows, alone == said, k), renamed(last, told, t)


def seen_by_others(certainty: Wide, said: Ints, called: Callable[[Any], tuple[Ints, Ints]]) -> Wide:
    """Confidences of the images asked, (M,), each fitted to the answers on the images of other parts alone.

    called  as in `by_evidence`
    """
    part, confidence = part_of_each(len(said)), certainty.copy()
    for number in range(min(PARTS, len(said)) if len(said) > 1 else 0):
        mine, others = part == number, part != number
        fitted = platt(certainty[others], called(others)[1] == said[others])
        confidence[mine] = rescaled(certainty[mine], *fitted)
    return confidence


def outcomes_as_sure(material: Material, last: Pass, sure: Wide) -> Iterator[Chances]:
    """What the last pass says of every image, each as surely as the evidence makes it."""
    (n, k), similarity = material.shape, last.similarity
    if similarity is None:
        raise ValueError("a pass of another method")

    def chances(rows: slice) -> Chances:
        here = similarity(rows)
        return chances_with(here, at_confidence(here, sure[rows]), kept_of(n, k))

    return across(chances, parts_of(n, k))


def parts_of(n: int, k: int) -> list[slice]:
    """Parts of all images whose similarities to k classes stay in the cache."""
    return [part for block in slices(n, BLOCK) for part in cached(block, k)]


def noted(blocks: Iterable[Chances], without: Without) -> Iterator[Chances]:
    """The same blocks; `without` learns what they say before any answer."""
    start = 0
    for block in blocks:
        without.take(slice(start, start + len(block.labels)), block)
        start += len(block.labels)
        yield block


def as_given(blocks: Iterable[Chances], given: Ints) -> Iterator[Chances]:
    """Images whose class somebody gave bear it, for certain."""
    start = 0
    for block in blocks:
        said = given[start : start + len(block.labels)]
        start += len(block.labels)
        yield certain(block, said) if (said >= 0).any() else block


def certain(block: Chances, given: Ints) -> Chances:
    """A block in which these images, -1 for none, are what was said; blocks of other processes are read-only."""
    rows = np.flatnonzero(given >= 0)
    said, column = given[rows], given[rows]
    labels, confidences, probabilities = block.labels.copy(), block.confidences.copy(), block.probabilities.copy()
    classes = None if block.classes is None else block.classes.copy()
    if classes is not None:  # what was said goes first, what stood there takes its place, or the last one
        there = classes[rows] == said[:, None]
        place = np.where(there.any(axis=1), there.argmax(axis=1), -1)
        classes[rows, place] = classes[rows, 0]
        classes[rows, 0], column = said, np.zeros_like(said)
    labels[rows], confidences[rows], probabilities[rows] = said, 1, 0
    probabilities[rows, column] = 1
    return Chances(labels, confidences, probabilities, classes)


def unfit_of(material: Material, labels: Ints) -> list[Unfit] | None:
    """Groups of images that fit none of the names; None where the method has no graph, or images are too many.

    An image whose class somebody gave is in none.
    """
    (n, k), x, t = material.shape, material.images.embeddings, material.texts.text_embeddings
    if material.graph is None or n > SEARCHED or kept_of(n, k):
        return None
    groups = unfit_groups(x, t, labels, material.graph, logit_scale=material.images.model["logit_scale"])
    if len(material.given):
        groups = [replace(group, rows=group.rows[material.given[group.rows] < 0]) for group in groups]
    return [group for group in groups if len(group.rows) >= FEWEST]


def numbered(groups: Sequence[Unfit], n: int) -> Ints:
    """The group of each image, (N,); -1 for none."""
    of = np.full(n, -1, np.int64)
    for number, group in enumerate(groups):
        of[group.rows] = number
    return of


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
    if settings.method == "direct":
        return refine_dynamic(crew, t, sample, iterations=0, start=1, end=1)
    start, end = settings.text_weight_start, settings.text_weight_end
    more = min(PER_CLASS * len(t), MOST_DIRECTING, len(x) // 8)
    directions = class_directions(single(x[spread(len(x), more)]) if more > SAMPLE else sample, t)
    return refine_dynamic(crew, t, sample, iterations=iterations, start=start, end=end, directions=directions)


def outcomes(material: Material, last: Pass, temperature: float) -> Iterator[Chances]:
    """What the last pass says of every image, block by block."""
    (n, k), similarity = material.shape, last.similarity
    if similarity is None:
        return material.crew.chances(last.prototypes, temperature, kept_of(n, k))
    return across(lambda rows: chances_of(similarity(rows), temperature, kept_of(n, k)), parts_of(n, k))


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
