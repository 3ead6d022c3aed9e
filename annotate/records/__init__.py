"""Records: what one stage writes and the next one reads. Each array declares its file, shape and dtype.

Letters: N images, K classes, W common names, C micro-clusters, M meta-clusters, D embedding dimensions, S skipped
files.
A letter means the same length everywhere within a record, and row i is image i in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NotRequired, TypedDict

import numpy as np
import numpy.typing as npt

from annotate.records.declared import Record, artifact

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]
Rows = npt.NDArray[np.floating]  # float16 or float32

OUTSIDE = -2  # the answer of an image that shows none of the classes
IMPORTED = "imported"  # the name of a model that is not ours, and the source of artifacts made elsewhere


class ImageFacts(TypedDict):
    """One image file. `digest` is the sha256 of its bytes, `orientation` the EXIF value that was applied.

    Of imported rows only size, time and digest are known, for which nothing is decoded.
    """

    size: int
    modified_ns: int
    digest: str
    orientation: NotRequired[int]
    width: NotRequired[int]
    height: NotRequired[int]


class SkippedFile(TypedDict):
    """A file that could not be used, and why. By size, time and digest a later run sees whether it is still that file.

    `again` is true where the machine or the network failed and not the file: the next run tries it again.
    """

    path: str
    reason: str
    again: NotRequired[bool]
    size: NotRequired[int]
    modified_ns: NotRequired[int]
    digest: NotRequired[str]


class Model(TypedDict):
    """Where embeddings came from. `logit_scale` turns similarities into the model's logits.

    `path` is that of a local checkpoint, None for models known by name.
    """

    name: str
    path: str | None
    digest: str
    dimensions: int
    logit_scale: float


@dataclass(frozen=True)
class EmbeddingRows(Record):
    """The embeddings without the paths of the images, which may be millions: all that most stages need.

    Small files are read, large ones mapped; of these float16 stays what it is.
    """

    stage: ClassVar[str] = "embed"
    command: ClassVar[str] = "annotate embed IMAGES"
    embeddings: Rows = artifact("embeddings.npy", "N D", "float32|float16", rows="unit")
    model: Model = artifact()


@dataclass(frozen=True)
class Embeddings(EmbeddingRows):
    """The images as an encoder sees them. Paths and facts of very many are read from disk line by line."""

    image_paths: Sequence[str] = artifact("image_paths.txt", "N")
    images: Sequence[ImageFacts | None] = artifact("images.json", "N")
    skipped: list[SkippedFile] = artifact("skipped.json", "S")
    folder: str | None = artifact(optional=True)


@dataclass(frozen=True)
class Texts(Record):
    """The classes as an encoder sees them: `prompts` maps each class name, in order, to its prompts.

    `common_embeddings` are of common names, by which strangers are found; imported ones alone are kept here.
    """

    stage: ClassVar[str] = "text"
    command: ClassVar[str] = "annotate refine --classes A,B"
    text_embeddings: Floats = artifact("text_embeddings.npy", "K D", "float32", rows="unit")
    prompts: dict[str, list[str]] = artifact("prompts.json", "K")
    prompt_set: str = artifact()
    common_embeddings: Floats | None = artifact("common_embeddings.npy", "W D", "float32", rows="unit", optional=True)
    common_names: list[str] | None = artifact("common_names.json", "W", optional=True)

    @property
    def class_names(self) -> list[str]:
        return list(self.prompts)


@dataclass(frozen=True)
class Clusters(Record):
    """Groups of images that look alike; -1 is noise. A meta-cluster is a group of micro-clusters."""

    stage: ClassVar[str] = "cluster"
    micro_assignments: Ints = artifact("micro_assignments.npy", "N", "int64")
    meta_assignments: Ints = artifact("meta_assignments.npy", "N", "int64")
    micro_centroids: Floats = artifact("micro_centroids.npy", "C D", "float32", rows="unit")
    meta_centroids: Floats = artifact("meta_centroids.npy", "M D", "float32", rows="unit")
    strengths: Floats = artifact("strengths.npy", "N", "float32")
    given: dict[str, Any] = artifact()  # settings that the user asked for; all others were chosen by the images


class Iteration(TypedDict):
    """One pass over all images. Iteration 0 is the zero-shot start."""

    iteration: int
    mean_confidence: float
    active_classes: int
    largest_share: float
    text_weight: float | None
    moved: int
    moved_percent: float


class Note(TypedDict):
    """A warning: something that the user should know, and what to do about it."""

    message: str
    hint: str


@dataclass(frozen=True)
class Refinement(Record):
    """A label for every image, with the prototypes that gave it.

    `fit` says how well the names explain an image beside common names, from 1 to 0; None where common names are not
    known to the model. `strangers` numbers the groups of images that fit none of the names, -1 for all others; None
    where nobody looked. `looks_like` are the common names of each group, the nearest first; none where they are not
    known.

    Where images times classes are too many, `probabilities` are the 16 largest of each image (N, 16), the largest
    first, and `top_classes` their classes; otherwise all of them (N, K).

    Where somebody gave classes, `answers` are those, -1 for none, and these are such images' labels, with confidence 1;
    -2 is for an image that somebody says shows none of the classes. `answered_by` is who says so, by row.
    `labels_without_answer` and `confidences_without_answer` are the label that annotate would give an image without its
    own answer, and how surely; for images without an answer they equal `labels` and `confidences`.
    """

    stage: ClassVar[str] = "refine"
    labels: Ints = artifact("labels.npy", "N", "int64")
    probabilities: Floats = artifact("probabilities.npy", "N T", "float32")
    confidences: Floats = artifact("confidences.npy", "N", "float32")
    class_prototypes: Floats = artifact("class_prototypes.npy", "K D", "float32", rows="unit")
    history: list[Iteration] = artifact("history.json", "I")
    method: str = artifact()
    temperature: float = artifact()
    notes: list[Note] = artifact()
    top_classes: npt.NDArray[np.int32] | None = artifact("top_classes.npy", "N T", "int32", optional=True)
    fit: Floats | None = artifact("fit.npy", "N", "float32", optional=True)
    strangers: Ints | None = artifact("strangers.npy", "N", "int64", optional=True)
    looks_like: list[list[str]] | None = artifact(optional=True)
    answers: Ints | None = artifact("answers.npy", "N", "int64", optional=True)
    labels_without_answer: Ints | None = artifact("labels_without_answer.npy", "N", "int64", optional=True)
    confidences_without_answer: Floats | None = artifact(
        "confidences_without_answer.npy", "N", "float32", optional=True
    )
    answered_by: dict[str, str] | None = artifact("answered_by.json", optional=True)
    micro_cluster_alignment: Floats | None = artifact(
        "micro_cluster_alignment.npy", "C K", "float32", rows="probabilities", optional=True
    )
    meta_cluster_alignment: Floats | None = artifact(
        "meta_cluster_alignment.npy", "M K", "float32", rows="probabilities", optional=True
    )

    @property
    def answered(self) -> npt.NDArray[np.bool_]:
        """(N,) whether somebody said what the image shows: nothing is measured on such images."""
        return np.zeros(len(self.labels), np.bool_) if self.answers is None else self.answers != -1

    @property
    def outside(self) -> npt.NDArray[np.bool_]:
        """(N,) whether somebody said that the image shows none of the classes."""
        return np.zeros(len(self.labels), np.bool_) if self.answers is None else self.answers == OUTSIDE

    @property
    def strange(self) -> npt.NDArray[np.bool_]:
        """(N,) whether an image fits none of the names."""
        return np.zeros(len(self.labels), np.bool_) if self.strangers is None else self.strangers >= 0

    @property
    def mean_confidence(self) -> float | None:
        """The mean over the images whose class nobody gave; None where there is no such image."""
        confidences = self.confidences[~self.answered]
        return float(confidences.mean(dtype=np.float64)) if len(confidences) else None

    def likeliest(self, rows: Any, count: int) -> tuple[Ints, Floats]:
        """The most probable classes of some images, (n, count or fewer), their label first, and the probabilities."""
        chances = self.probabilities[rows]
        if self.top_classes is not None:
            return self.top_classes[rows][:, :count].astype(np.int64), chances[:, :count]
        ranked = -chances
        ranked[np.arange(len(ranked)), self.labels[rows]] = -2  # first, also where rounding makes others its equals
        order = np.argsort(ranked, axis=1, kind="stable")[:, :count]
        return order, np.take_along_axis(chances, order, axis=1)


DUPLICATES = ("exact", "near", "burst")  # what ties an image to its group, the strongest first


@dataclass(frozen=True)
class Duplicates(Record):
    """Which images belong together because they show one picture or one moment; -1 for an image by itself.

    groups     of copies and bursts
    copies     of copies alone, by the same bytes or nearly the same picture
    kinds      what ties an image to its group, an index into DUPLICATES
    agreement  of its pixels with those of the nearest in its group, 1 for the same bytes
    """

    stage: ClassVar[str] = "duplicates"
    groups: Ints = artifact("groups.npy", "N", "int64")
    copies: Ints = artifact("copies.npy", "N", "int64")
    kinds: Ints = artifact("kinds.npy", "N", "int64")
    agreement: Floats = artifact("agreement.npy", "N", "float32")


@dataclass(frozen=True)
class Organized(Record):
    """Where the last dataset went, and how many images are in each class folder and split.

    Of the images `strangers` fit none of the names, and `unknown` are put aside for it.
    """

    stage: ClassVar[str] = "organize"
    command: ClassVar[str] = "annotate organize OUTPUT"
    output: str = artifact()
    images: int = artifact()
    folders: dict[str, int] = artifact()
    link: str = artifact()
    splits: dict[str, int] = artifact()
    strangers: int | None = artifact(optional=True)
    unknown: int | None = artifact(optional=True)


@dataclass(frozen=True)
class Reported(Record):
    """The numbers behind the report. `figures` are file names under report/figures."""

    stage: ClassVar[str] = "report"
    summary: dict[str, Any] = artifact("report.json")
    figures: list[str] = artifact()
