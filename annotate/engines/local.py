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

LARGEST = 8 * BLOCK  # images of a shard; with smaller ones, what a pass costs for each shard adds up


class Local:
    """All images, as shards in this process.

    rows  (N, D) float16 or float32 unit rows, in memory or mapped
    """

    def __init__(self, rows: npt.NDArray[np.floating]) -> None:
        self.rows = rows
        self.shards = [LabelledRows(rows[part]) for part in even_parts(len(rows), LARGEST)]

    def ask(self, task: str, *args: Any) -> Iterator[Any]:
        """Call this method of every shard; the answers in the order of the shards."""
        return across(lambda shard: getattr(shard, task)(*args), self.shards)

    def chances(self, prototypes: Floats, temperature: float, kept: int | None) -> Iterator[Chances]:
        """In blocks smaller than shards, to be written while others are made."""
        blocks = slices(len(self.rows), BLOCK)
        return across(lambda rows: LabelledRows(self.rows[rows]).chances(prototypes, temperature, kept), blocks)
