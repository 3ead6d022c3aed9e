"""This process, on all its cores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import BLOCK, across, even
from annotate.kernels.prototypes import Shard


class Local:
    """All shards of the images, here.

    rows  (N, D) float16 or float32 unit rows, in memory or mapped
    """

    def __init__(self, rows: npt.NDArray[np.floating]) -> None:
        self.shards = [Shard(rows[part]) for part in even(len(rows), 2 * BLOCK)]

    def ask(self, task: str, *args: Any) -> Iterator[Any]:
        """Call this method of every shard; the answers in the order of the shards."""
        return across(lambda shard: getattr(shard, task)(*args), self.shards)
