"""What was made of people's answers outside of the stages: soft labels.

N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class SoftLabels:
    """What `soft` made.

    path    of the JSON
    shares  (N, K) float64, rows sum to one
    votes   (N,) of each image
    curve   votes an image and the scores then, from none to the budget
    scores  over all images, and over those of each split: `all`, `train`, `val`, `test`
    """

    path: Path
    shares: npt.NDArray[np.float64]
    votes: npt.NDArray[np.int64]
    curve: list[dict[str, float]]
    scores: dict[str, dict[str, float]]


@dataclass(frozen=True)
class Question:
    """An image to ask about.

    random  whether it was drawn at random from all that nobody has answered
    """

    path: str
    label: str
    confidence: float
    second: str
    second_confidence: float
    random: bool


@dataclass(frozen=True)
class Questions:
    """What `query` made.

    folder  with queries.csv, sheet.html, sheet.png and ask.html
    known   of images that were drawn at random and are answered now: how many, and how many had the right label when
            they were asked about
    share   of those, and the bounds of its 95 % interval
    """

    folder: Path
    questions: list[Question]
    known: tuple[int, int]
    share: tuple[float, float, float]
