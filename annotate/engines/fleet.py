"""An embedding on a Ray cluster: the driver hands out shards, workers commit them to the ledger.

Encoders take shards one after another. Where there are GPUs, the cores beside them decode: an encoder asks all
decoders for parts of its shard. Only the scheduling is Ray's; what is done is what the ledger says, so that a lost
node costs its shards in flight and a killed driver nothing. Whoever computes a shard writes the same bytes: one that
takes too long is handed out again, and the first to finish ends it.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from annotate.embedding.decoding import DecodedShards, Outcome
from annotate.embedding.ledger import Shard
from annotate.engines.embedding import Job
from annotate.engines.ray import connected_ray
from annotate.errors import AnnotateError, StorageError
from annotate.progress import Advance

PART = 64  # images that a decoder takes at a time: some tenths of a second
PARTS_AHEAD = 2  # for each decoder
PATIENCE = 3.0  # times the median of a shard's time, after which another worker gets it too
AT_LEAST = 10.0  # seconds of patience
STUCK = 300.0  # seconds that a decoder may take for its part
ALONE = 600.0  # seconds without any worker, loading and fetching weights included, after which the run gives up
POLL_SECONDS = 0.5  # seconds between two looks at who is late


class DecodingActor:
    """A core that reads and decodes."""

    def __init__(self, job: Job) -> None:
        self.job, self.known = job, job.known()

    def decode(self, paths: Sequence[str], resolution: int) -> list[Outcome]:
        decoded = self.job.decoding(resolution, self.known).ahead([Shard(0, paths)])
        return [outcome for _, outcomes in decoded for outcome in outcomes]


class EncodingActor:
    """A GPU, or a core, that encodes; without decoders it decodes as well."""

    def __init__(self, job: Job, decoders: Sequence[Any]) -> None:
        self.job, self.decoders = job, list(decoders)

    def ready(self) -> int:
        """Load the model; how many sessions it has."""
        sessions = self.job.load()
        self.pipeline, self.ledger = self.job.pipeline(sessions), self.job.ledger
        self.decoding = self.job.decoding(sessions[0].resolution, self.job.known())
        return len(sessions)

    def compute(self, shard: Shard) -> int:
        """Commit a shard; how many images it has."""
        decoded = self.from_decoders(shard) if self.decoders else self.decoding.ahead([shard])
        for done, seen in self.pipeline.run(decoded, lambda count: None):
            self.ledger.commit(done, seen)
        return len(shard.paths)

    def from_decoders(self, shard: Shard) -> DecodedShards:
        yield shard, self.outcomes(shard.paths)

    def outcomes(self, paths: Sequence[str]) -> Iterator[Outcome]:
        import ray

        parts = iter([paths[start : start + PART] for start in range(0, len(paths), PART)])
        waiting: deque[tuple[Sequence[str], Any, Any]] = deque()
        while True:
            while self.decoders and len(waiting) < PARTS_AHEAD * len(self.decoders) and (part := next(parts, None)):
                decoder = self.decoders[0]
                self.decoders.append(self.decoders.pop(0))
                waiting.append((part, decoder, decoder.decode.remote(part, self.decoding.resolution)))
            if not waiting:
                break
            part, decoder, answer = waiting.popleft()
            try:
                outcomes = ray.get(answer, timeout=STUCK)
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError:  # it is gone or hangs, or its answer is lost: that part is decoded here
                self.decoders = [other for other in self.decoders if other != decoder]
                outcomes = self.decoded_here(part)
            yield from outcomes
        for part in parts:
            yield from self.decoded_here(part)

    def decoded_here(self, paths: Sequence[str]) -> Iterable[Outcome]:
        for _, outcomes in self.decoding.ahead([Shard(0, paths)]):
            yield from outcomes


def compute_on_cluster(
    job: Job, shards: Sequence[Shard], address: str | None, decoders: int | None, advance: Advance
) -> None:
    """Have the shards committed to the ledger by the workers of a cluster.

    decoders  actors that decode for the encoders; unless given, every core beside the GPUs, and none without GPUs
    raises    ComponentMissing without Ray, InputError where there is no such cluster, StorageError where all workers
              are gone, and what a worker raised
    """
    with connected_ray(address) as ray:
        fleet = Fleet(ray, job, decoders)
        try:
            fleet.work(shards, advance)
        finally:
            fleet.dismiss()


class Fleet:
    """The workers on the cluster: which are free, and which of them has had which shard since when."""

    def __init__(self, ray: Any, job: Job, decoders: int | None) -> None:
        self.ray = ray
        resources = ray.cluster_resources()
        gpus, cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
        beside = decoders if decoders is not None else max(0, cpus - gpus) if gpus else 0
        count = gpus or max(1, cpus - beside)
        if not gpus:  # a core is one session, whatever else the machine has
            job = replace(job, sessions=job.sessions or 1)
        spread: dict[str, Any] = {"max_restarts": -1, "scheduling_strategy": "SPREAD"}
        decoder = ray.remote(num_cpus=1, **spread)(DecodingActor)
        encoder = ray.remote(num_cpus=0 if gpus else 1, num_gpus=1 if gpus else 0, **spread)(EncodingActor)
        self.decoders = [decoder.remote(job) for _ in range(beside)]
        self.encoders = [encoder.remote(job, self.decoders) for _ in range(count)]
        self.arriving = {worker.ready.remote(): worker for worker in self.encoders}
        self.free: list[Any] = []
        self.busy: dict[Any, tuple[Any, int, float]] = {}  # answer to worker, place of its shard, and start
        self.done: set[int] = set()
        self.times: list[float] = []  # that shards took

    def work(self, shards: Sequence[Shard], advance: Advance) -> None:
        """Hand out all shards; return when each is in the ledger."""
        todo, alive = deque(range(len(shards))), time.monotonic()
        while len(self.done) < len(shards):
            self.hand_out(shards, todo)
            answered, _ = self.ray.wait([*self.arriving, *self.busy], num_returns=1, timeout=POLL_SECONDS)
            for answer in answered:
                if answer in self.arriving:
                    worker = self.arriving.pop(answer)
                    if self.collect(answer, worker) is not None:
                        self.free.append(worker)
                    continue
                worker, place, start = self.busy.pop(answer)
                count = self.collect(answer, worker)
                if count is None:
                    todo.append(place)
                    continue
                self.free.append(worker)
                self.times.append(time.monotonic() - start)
                if place not in self.done:
                    self.done.add(place)
                    advance(count)
            if self.busy or self.free:
                alive = time.monotonic()
            elif time.monotonic() - alive > ALONE:
                raise StorageError(
                    "no Ray worker answers",
                    hint="run the same command again when the cluster is back: finished shards are kept",
                )

    def hand_out(self, shards: Sequence[Shard], todo: deque[int]) -> None:
        """Give every free worker a shard: what is left, then what others take too long for."""
        late = [] if todo else self.late()
        while self.free and (todo or late):
            place = todo.popleft() if todo else late.pop()
            if place not in self.done:
                worker = self.free.pop()
                self.busy[worker.compute.remote(shards[place])] = (worker, place, time.monotonic())

    def late(self) -> list[int]:
        """Shards under way so long that a free worker had better compute them too."""
        if not self.times:
            return []
        limit = time.monotonic() - max(AT_LEAST, PATIENCE * statistics.median(self.times))
        places = [place for _, place, _ in self.busy.values()]
        return [place for _, place, start in self.busy.values() if start < limit and places.count(place) == 1]

    def collect(self, answer: Any, worker: Any) -> int | None:
        """Take what a worker returned; None where its node is gone.

        Ray starts a worker again where there is room for it; it counts when it answers.
        """
        try:
            return int(self.ray.get(answer))
        except self.ray.exceptions.RayActorError:
            time.sleep(POLL_SECONDS)
            self.arriving[worker.ready.remote()] = worker
            return None
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause if isinstance(error.cause, (AnnotateError, OSError)) else error from error

    def dismiss(self) -> None:
        for worker in [*self.encoders, *self.decoders]:
            self.ray.kill(worker)
