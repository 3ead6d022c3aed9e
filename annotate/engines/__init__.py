"""Where work on the images runs: this process, or Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotate.engines.local import Local
from annotate.kernels.prototypes import Workers
from annotate.kernels.vectors import Rows


@contextmanager
def open_workers(rows: Rows, file: Path, engine: str, address: str | None) -> Iterator[Workers]:
    """Who holds the images.

    rows     (N, D) in memory or mapped
    file     where they lie on disk, for workers elsewhere
    engine   local or ray
    address  of a Ray cluster
    """
    if engine == "local":
        yield Local(rows)
        return
    from annotate.engines.ray import cluster

    with cluster(file, len(rows), address) as workers:
        yield workers
