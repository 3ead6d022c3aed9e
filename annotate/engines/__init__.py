"""Where the work on the images is done: in this process, or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from annotate.engines.local import Local
from annotate.kernels.prototypes import Workers
from annotate.kernels.vectors import Rows


@contextmanager
def open_workers(rows: Rows, file: Path, engine: str, address: str | None) -> Iterator[Workers]:
    """Start the workers that hold the images, for as long as they are needed.

    rows     (N, D) in memory or mapped
    file     where they lie on disk, for workers elsewhere
    engine   local or ray
    address  of a Ray cluster
    """
    if engine == "local":
        yield Local(rows)
        return
    from annotate.engines.ray import open_cluster

    with open_cluster(file, len(rows), address) as workers:
        yield workers
