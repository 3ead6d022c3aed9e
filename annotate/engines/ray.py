"""Work on the images on a Ray cluster: its workers map the same file, and each holds some parts of it.

Only the scheduling is Ray's. Which worker holds a part changes nothing: sums are exact and answers are taken in the
order of the parts, so that the bytes are those of one process, whatever the number of workers.
"""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from annotate.errors import ComponentMissing, Hint, InputError, StorageError, printable
from annotate.kernels.blocks import BLOCK, one_thread_per_product, slices
from annotate.kernels.chances import Chances
from annotate.kernels.labelled_rows import LabelledRows
from annotate.kernels.vectors import Floats

ANSWERS_AHEAD = 2  # answers that a worker may have waiting


class Worker:
    """One core somewhere, and the parts that it holds, by number."""

    def __init__(self, file: str, n: int, numbers: list[int]) -> None:
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self.limit = one_thread_per_product()
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
        if len(rows) != n:
            raise ValueError(f"{len(rows)} rows in {file}, {n} expected")
        blocks = slices(n, BLOCK)
        self.parts = {number: LabelledRows(rows[blocks[number]]) for number in numbers}

    def ask(self, number: int, task: str, args: tuple[Any, ...]) -> Any:
        return getattr(self.parts[number], task)(*args)


class RayWorkers:
    """All parts of the images, on the workers of a cluster.

    ray      the module, connected
    file     embeddings.npy, on a disk that every node sees under the same path
    n        rows in it
    """

    def __init__(self, ray: Any, file: Path, n: int) -> None:
        self.ray = ray
        self.parts = len(slices(n, BLOCK))
        count = min(self.parts, max(1, int(ray.cluster_resources().get("CPU", 1))))
        remote = ray.remote(num_cpus=1, scheduling_strategy="SPREAD")(Worker)
        path = str(file.resolve())
        self.actors = [remote.remote(path, n, [*range(w, self.parts, count)]) for w in range(count)]

    def ask(self, task: str, *args: Any) -> Iterator[Any]:
        """Call this method of every part; the answers in the order of the parts."""
        shared = self.ray.put(args)
        waiting: deque[Any] = deque()
        for number in range(self.parts):
            worker = self.actors[number % len(self.actors)]
            waiting.append(worker.ask.remote(number, task, shared))
            if len(waiting) > ANSWERS_AHEAD * len(self.actors):
                yield self._answer(waiting.popleft())
        while waiting:
            yield self._answer(waiting.popleft())

    def chances(self, prototypes: Floats, temperature: float, kept: int | None) -> Iterator[Chances]:
        return self.ask("chances", prototypes, temperature, kept)

    def _answer(self, waiting: Any) -> Any:
        try:
            return self.ray.get(waiting)
        except self.ray.exceptions.RayActorError as error:
            raise StorageError(
                f"a Ray worker is gone: {printable(error).splitlines()[0]}",
                hint="see that every node maps the workspace under the same path, and run it again",
            ) from error


@contextmanager
def open_cluster(file: Path, n: int, address: str | None) -> Iterator[RayWorkers]:
    """All parts of the images, on a cluster, for as long as they are needed."""
    with connected_ray(address) as ray:
        workers = RayWorkers(ray, file, n)
        try:
            yield workers
        finally:
            for worker in workers.actors:
                ray.kill(worker)


@contextmanager
def connected_ray(address: str | None) -> Iterator[Any]:
    """Connect to a cluster (one of this machine's cores where no address is given), and let go of it at the end.

    raises  ComponentMissing without Ray, InputError where there is no cluster at that address
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anyone
    try:
        import ray
    except ImportError as error:
        raise ComponentMissing(
            "the engine ray needs Ray",
            hint=Hint(
                "install annotate-images[ray], or use this machine alone",
                "run `pip install 'annotate-images[ray]'`, or leave out --engine",
            ),
        ) from error
    ours = not ray.is_initialized()
    if ours:
        try:
            check_somebody_listens(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            raise InputError(
                f"no Ray cluster at {printable(address or os.environ.get('RAY_ADDRESS', 'this machine'))}",
                hint=Hint(
                    "start a cluster, and give its address",
                    "start one with `ray start --head`, and give its address: --address HOST:6379",
                ),
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()


def check_somebody_listens(address: str | None) -> None:
    """Ray itself waits minutes for a cluster that is not there.

    raises  OSError where nobody listens, ValueError where that is no address
    """
    if address and address != "auto":
        host, _, port = address.removeprefix("ray://").rpartition(":")
        socket.create_connection((host, int(port)), timeout=5).close()
