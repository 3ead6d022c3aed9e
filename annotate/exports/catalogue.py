"""What an export holds: its classes in the user's order, and its images, each with name, class and split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from annotate.exports.boxes import Box, Boxed
from annotate.kernels.splits import SPLITS

UNLABELLED = "unlabelled"  # the part of images that have no class here
PARTS = (*SPLITS, UNLABELLED)


@dataclass(frozen=True, slots=True)
class Entry:
    """An image of an export.

    row            of the image in the artifacts
    original       where it lies
    name           of its file in the export: no other one has it, nor the same without its ending
    part           train, val, test or unlabelled
    answer         the class that a person gave it
    proposal       the class that annotate gives it, and how surely
    width, height  of the upright image in pixels; None where nobody could read it as a picture
    orientation    EXIF's; where it is not 1 the export holds the picture turned upright
    digest         sha256 of the original's bytes, where it is known
    """

    row: int
    original: str
    name: str
    part: str
    answer: int | None
    proposal: int | None
    confidence: float | None
    width: int | None
    height: int | None
    orientation: int
    digest: str | None

    @property
    def label(self) -> int | None:
        """The class of the image in this export; what a person said counts first."""
        return self.proposal if self.answer is None else self.answer

    @property
    def said_by(self) -> str:
        """Whether a person gave the class, or annotate; empty without a class."""
        return "" if self.label is None else "label" if self.answer is None else "answer"

    @property
    def sure(self) -> float | None:
        """The confidence of a class that annotate gave; nobody measured how sure a person was."""
        return None if self.answer is not None or self.confidence is None else round(self.confidence, 6)


@dataclass(frozen=True)
class Catalogue:
    """The images of an export, in the order of the artifacts.

    class_names    K, in the user's order; the id of a class is its place
    folders        K, a name for each class that is safe on every disk
    left_out       images that are not here because they have no class
    category_base  the number of the first class where ids start at 0 or 1 by custom
    model          the name of what gave the labels
    embeddings     (N, D) of all images
    probabilities  (N, K), or (N, T) of the classes `top_classes`
    boxes          row of each image that somebody looked at for boxes, to those; None where classes are exported
    """

    class_names: Sequence[str]
    folders: Sequence[str]
    entries: Sequence[Entry]
    left_out: int = 0
    category_base: int = 1
    model: str = "annotate"
    embeddings: Any = None
    probabilities: Any = None
    top_classes: Any = None
    boxes: Mapping[int, tuple[Box, ...]] | None = None

    def of(self, part: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.part == part]

    @cached_property
    def parts(self) -> list[str]:
        """The parts that have images."""
        return [part for part in PARTS if self.counts[part]]

    @cached_property
    def counts(self) -> Counter[str]:
        """Images in each part."""
        return Counter(entry.part for entry in self.entries)

    @cached_property
    def class_counts(self) -> list[int]:
        """K, images of each class; of boxes, images that have one of it."""
        counts = Counter(k for entry in self.entries for k in self.kinds(entry))
        return [counts[k] for k in range(len(self.class_names))]

    def kinds(self, entry: Entry) -> set[int]:
        """The classes that an image shows."""
        if self.boxes is not None:
            return {box.kind for box in self.boxes.get(entry.row, ())}
        return set() if entry.label is None else {entry.label}

    @cached_property
    def boxed(self) -> list[Boxed]:
        """The images that somebody looked at, with their boxes."""
        known = self.boxes or {}
        return [
            Boxed(entry.name, known[entry.row], entry.width, entry.height, entry.part)
            for entry in self.entries
            if entry.row in known
        ]

    @cached_property
    def answered(self) -> int:
        """Images whose class a person gave."""
        return sum(entry.answer is not None for entry in self.entries)

    def missing_in_parts(self) -> Iterator[tuple[str, list[str]]]:
        """Each split in use with the classes that have images, but none there."""
        there = {(entry.part, k) for entry in self.entries for k in self.kinds(entry)}
        for part in self.parts:
            if part != UNLABELLED:
                missing = [
                    name for k, name in enumerate(self.class_names) if self.class_counts[k] and (part, k) not in there
                ]
                if missing:
                    yield part, missing

    def chances(self, rows: Sequence[int]) -> Any:
        """(n, K) float32, the probabilities of some images over all classes; rows sum to one."""
        k = len(self.class_names)
        kept = np.asarray(self.probabilities[list(rows)], np.float32)
        if self.top_classes is None:
            return kept
        rest = np.maximum(1 - kept.sum(axis=1, keepdims=True), 0) / max(k - kept.shape[1], 1)
        spread = np.broadcast_to(rest, (len(rows), k)).astype(np.float32)
        np.put_along_axis(spread, np.asarray(self.top_classes[list(rows)], np.int64), kept, axis=1)
        return spread
