"""Work on the images in this process, on all its cores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import BLOCK, across, even_parts, slices
from annotate.kernels.chances import Chances
from annotate.kernels.labelled_rows import LabelledRows
from annotate.kernels.vectors import Floats

LARGEST = 8 * BLOCK  # images of a part; with smaller ones, what a pass costs for each part adds up


class Local:
    """All images, as parts in this process.

    rows  (N, D) float16 or float32 unit rows, in memory or mapped
    """

    def __init__(self, rows: npt.NDArray[np.floating]) -> None:
        self.rows = rows
        self.parts = [LabelledRows(rows[part]) for part in even_parts(len(rows), LARGEST)]

    def ask(self, task: str, *args: Any) -> Iterator[Any]:
        """Call this method of every part; the answers in the order of the parts."""
        return across(lambda part: getattr(part, task)(*args), self.parts)

    def chances(self, prototypes: Floats, temperature: float, kept: int | None) -> Iterator[Chances]:
        """In blocks smaller than parts, to be written while others are made."""
        blocks = slices(len(self.rows), BLOCK)
        return across(lambda rows: LabelledRows(self.rows[rows]).chances(prototypes, temperature, kept), blocks)
