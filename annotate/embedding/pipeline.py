"""Turn decoded images into embeddings: in batches of one shape, several batches at once.

A row depends on its image alone. A matrix product's last bits depend on its shape and on the threads that share it,
so every batch has the same number of rows, the last of a shard filled up, and is encoded by one thread; several
batches at once keep the cores busy, without waiting for each other. Batches never straddle shards.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue

import numpy as np
import numpy.typing as npt

from annotate.embedding.decoding import Crop, DecodedShards
from annotate.embedding.known import EmbeddedImage
from annotate.embedding.ledger import Shard, ShardOutcome
from annotate.encoders import Encoder, one_thread, out_of_memory, threads_kept
from annotate.errors import Hint, InputError
from annotate.progress import Advance
from annotate.records import Floats, ImageFacts, SkippedFile

BATCHES_AHEAD = 2  # for each session: one that it encodes, one that waits


@dataclass
class ShardUnderWay:
    """A shard under way; `rows` and `images` by the position of the image in the shard.

    waiting  batches whose rows have not come yet
    decoded  whether all its images are
    """

    shard: Shard
    images: dict[int, ImageFacts] = field(default_factory=dict)
    rows: dict[int, npt.NDArray[np.floating]] = field(default_factory=dict)
    skipped: list[SkippedFile] = field(default_factory=list)
    waiting: int = 0
    decoded: bool = False


@dataclass
class Batch:
    """Images that a session is at work on, and their places in their shard."""

    flight: ShardUnderWay
    positions: list[int]
    rows: Future[Floats]


class Pipeline:
    """Runs encoders on decoded images.

    sessions    encoders, each used by one thread at a time
    batch_size  images in a forward pass; halved for good where memory does not suffice
    dtype       of the rows
    """

    def __init__(self, sessions: Sequence[Encoder], *, batch_size: int, dtype: str) -> None:
        self.sessions, self.batch_size, self.dtype = sessions, batch_size, np.dtype(dtype)
        self.first = sessions[0]
        self._free: SimpleQueue[Encoder] = SimpleQueue()
        for session in sessions:
            self._free.put(session)
        self._lock = threading.Lock()

    def run(self, decoded: DecodedShards, advance: Advance) -> Iterator[tuple[Shard, ShardOutcome]]:
        """Each shard with what became of its images, in order; several are under way at once."""
        size, resolution = self.batch_size, self.first.resolution
        flights: deque[ShardUnderWay] = deque()
        batches: deque[Batch] = deque()
        encoded: deque[int] = deque()  # images of batches that are done, and not yet told of

        def start(flight: ShardUnderWay, crops: dict[int, Crop]) -> None:
            while len(batches) >= BATCHES_AHEAD * len(self.sessions):
                finish()
            pixels = np.zeros((size, resolution, resolution, 3), np.uint8)  # filled up: every batch has this shape
            for place, crop in zip(pixels, crops.values(), strict=False):
                place[:] = crop.pixels
            flight.waiting += 1
            batches.append(Batch(flight, list(crops), pool.submit(self.encode, pixels, len(crops))))

        def finish() -> None:
            batch = batches.popleft()
            batch.flight.rows |= zip(batch.positions, batch.rows.result(), strict=True)
            batch.flight.waiting -= 1
            encoded.append(len(batch.positions))

        def landed() -> Iterator[tuple[Shard, ShardOutcome]]:
            while flights and flights[0].decoded and not flights[0].waiting:
                flight = flights.popleft()
                yield flight.shard, self.seen(flight)
            while encoded:  # told of after a finished shard is taken: who then wants to stop loses none
                advance(encoded.popleft())

        with threads_kept(), ThreadPoolExecutor(len(self.sessions), "encode", initializer=one_thread) as pool:
            try:
                for shard, outcomes in decoded:
                    flight, crops = ShardUnderWay(shard), dict[int, Crop]()
                    flights.append(flight)
                    for position, outcome in enumerate(outcomes):
                        if isinstance(outcome, Crop):
                            flight.images[position] = outcome.facts
                            crops[position] = outcome
                            if len(crops) == size:
                                start(flight, crops)
                                crops = {}
                        elif isinstance(outcome, EmbeddedImage):
                            flight.images[position], flight.rows[position] = outcome.facts, outcome.row
                            advance(1)
                        else:
                            flight.skipped.append(outcome)
                            advance(1)
                        while batches and batches[0].rows.done():
                            finish()
                        if encoded:
                            yield from landed()
                    if crops:
                        start(flight, crops)
                    flight.decoded = True
                    yield from landed()
                while batches:
                    finish()
                    yield from landed()
            finally:
                pool.shutdown(cancel_futures=True)

    def seen(self, flight: ShardUnderWay) -> ShardOutcome:
        rows = np.zeros((len(flight.images), self.first.dimensions), self.dtype)
        for place, position in zip(rows, flight.images, strict=True):
            place[:] = flight.rows[position]
        paths = [flight.shard.paths[position] for position in flight.images]
        ran_on = f"{self.first.device} {self.first.precision}, batches of {self.batch_size}"
        return ShardOutcome(rows, paths, list(flight.images.values()), flight.skipped, ran_on, self.first.logit_scale)

    def encode(self, pixels: npt.NDArray[np.uint8], count: int) -> Floats:
        """Rows of the first `count` images of a batch; where memory does not suffice, by halves of it, from now on."""
        session = self._free.get()
        try:
            while True:
                size = self.batch_size
                try:
                    parts = [session.encode_images(pixels[start : start + size]) for start in range(0, count, size)]
                    return np.concatenate(parts)[:count]
                except Exception as error:
                    if not out_of_memory(error):
                        raise
                    if size == 1:
                        raise InputError(
                            f"not enough memory on {session.device} for one image",
                            hint=Hint(
                                "use a smaller model, or the processor instead of the card",
                                "use a smaller model, or --device cpu",
                            ),
                        ) from error
                with self._lock:
                    self.batch_size = min(self.batch_size, size // 2)
        finally:
            self._free.put(session)
