"""The simulated oracle: it alone knows what people said. It gives votes, counts them, and says a score."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from annotate.errors import InputError, first_few, printable
from annotate.kernels.divergence import scores
from annotate.kernels.vectors import Doubles, Ints
from annotate.votes import files
from annotate.workspace import jsonfile

SEED = 49312  # the benchmark's own, set anew for each run
PROPOSED = 0.4  # what the benchmark charges for a vote that a proposal guided; another one costs 1
HINT = "give annotations.json of the raw data set, or a file of the benchmark in which every soft_gt is known"


class Oracle:
    """Gives votes on images, each drawn from what people said of it.

    budget           votes given so far
    weighted_budget  the same, each at its weight
    """

    def __init__(self, hidden: Doubles, most: float = float("inf")) -> None:
        """hidden  (N, K) shares of people's votes, rows sum to one
        most    votes that may be given
        """
        self.__hidden = hidden
        self.__random = random.Random(SEED)
        self.most = most
        self.budget = 0
        self.weighted_budget = 0.0

    def votes(self, image: int, count: int = 1, weight: float = 1.0) -> Ints:
        """Classes that so many people say of an image, (count,).

        raises  ValueError beyond the budget
        """
        self._check(count)
        self.budget += count
        self.weighted_budget += count * weight
        classes = range(self.__hidden.shape[1])
        return np.array(self.__random.choices(classes, weights=self.__hidden[image].tolist(), k=count), np.int64)

    def ask(self, images: Sequence[int] | Ints, weight: float = 1.0) -> Ints:
        """A vote on each of these images, in order; an image may stand there more than once."""
        self._check(len(images))
        return np.concatenate([np.empty(0, np.int64), *(self.votes(int(image), 1, weight) for image in images)])

    def _check(self, count: int) -> None:
        if self.budget + count > self.most:
            raise ValueError(f"{count} votes asked for, {self.most - self.budget:g} left")

    def score(self, shares: Doubles, rows: Any = slice(None)) -> dict[str, float]:
        """How near labels are to what people said: nothing else of it leaves the oracle.

        shares  (N, K) rows that sum to one
        """
        return scores(self.__hidden[rows], shares[rows])


class Annotation(msgspec.Struct):
    """A vote as the raw data set has it."""

    image_path: str
    class_label: str


class Annotator(msgspec.Struct):
    annotations: list[Annotation]


def read_votes(path: Path, cut: files.Slice) -> Doubles:
    """What people said of each image of a slice, (N, K) shares.

    path    annotations.json, or a file of the benchmark with all labels
    raises  InputError where an image has no vote, or a vote is of no class
    """
    shown = printable(path)
    try:
        raw = jsonfile.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{shown}: no such file", hint=HINT) from None
    except ValueError as error:
        raise InputError(f"{shown}: not readable as JSON: {printable(str(error).splitlines()[0])}", hint=HINT) from None
    by_name = of_annotations(raw, shown, cut.content.classes) if isinstance(raw, list) else of_slice(path, cut)
    missing = [name for name in cut.names if name not in by_name]
    if missing:
        raise InputError(
            f"{shown}: no vote on {len(missing):,} images: {first_few([printable(name) for name in missing])}",
            hint=HINT,
        )
    counts = np.stack([by_name[name] for name in cut.names])
    return np.asarray(counts / counts.sum(axis=1, keepdims=True), np.float64)


def of_annotations(raw: list[Any], shown: str, classes: Sequence[str]) -> Mapping[str, Doubles]:
    """Counts of votes by the name of the image."""
    try:
        people = msgspec.convert(raw, list[Annotator])
    except msgspec.ValidationError as error:
        raise InputError(f"{shown}: {printable(str(error))}", hint=HINT) from None
    index = {name: k for k, name in enumerate(classes)}
    counts: dict[str, Doubles] = {}
    for person in people:
        for vote in person.annotations:
            if vote.class_label not in index:
                raise InputError(
                    f"{shown}: {printable(vote.image_path)}: no class '{printable(vote.class_label)}'",
                    hint=f"the classes are {first_few([printable(name) for name in classes])}",
                )
            row = counts.setdefault(files.name_of(vote.image_path), np.zeros(len(classes)))
            row[index[vote.class_label]] += 1
    return counts


def of_slice(path: Path, cut: files.Slice) -> Mapping[str, Doubles]:
    """Shares by the name of the image, of a file whose labels are known."""
    full = files.read(path)
    if full.content.classes != cut.content.classes:
        raise InputError(f"{printable(path)}: its classes are not those of the data set", hint=HINT)
    return {name: row for name, row in zip(full.names, full.shares, strict=True) if row.any()}
