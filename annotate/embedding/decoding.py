"""Read and decode images in threads, ahead of the encoder, so that it need not wait."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate import sources
from annotate.embedding.known import EmbeddedImage, KnownImages
from annotate.embedding.ledger import Shard
from annotate.encoders import cores, one_thread, out_of_memory
from annotate.images import Unavailable, Unreadable, own_pixel_budget, read_image
from annotate.images.allowance import FILE_MEMORY, UNKNOWN_FILE
from annotate.records import ImageFacts, SkippedFile

MOST_WORKERS = 16  # beyond this the interpreter, not the decoding, is the ceiling
WAITING_WORKERS = 32  # for addresses, where threads wait rather than work
NO_MEMORY = "not enough memory to read it"
IMAGES_AHEAD = 64  # decoded images that may wait: two batches of a CPU


@dataclass(frozen=True)
class Crop:
    """An image that is to be encoded: (R, R, 3) uint8."""

    facts: ImageFacts
    pixels: npt.NDArray[np.uint8]


Outcome = Crop | EmbeddedImage | SkippedFile
# The outcomes of a shard are to be taken before the next shard is asked for.
DecodedShards = Generator[tuple[Shard, Iterator[Outcome]], None, None]


@dataclass(frozen=True)
class Decoding:
    """How images become crops.

    resolution      R, side of the crop in pixels
    max_megapixels  of an image, by its header
    known           images whose rows need not be computed
    workers         threads; by the cores and by what is read unless given
    """

    resolution: int
    max_megapixels: float
    known: KnownImages
    workers: int | None = None

    def ahead(self, shards: Iterable[Shard]) -> DecodedShards:
        """Yield each shard with the outcome of each of its images, in order; the next shards are decoded meanwhile."""
        remaining = iter(shards)
        first = next(remaining, None)
        if first is None:
            return
        workers = self.workers or self.threads_for(first.paths)
        todo = ((shard, path) for shard in itertools.chain([first], remaining) for path in shard.paths)
        waiting: deque[tuple[Shard, Future[Outcome]]] = deque()
        pool = ThreadPoolExecutor(workers, "decode", initializer=one_thread)

        def submit(count: int) -> None:
            for shard, path in itertools.islice(todo, count):
                waiting.append((shard, pool.submit(self.outcome, path)))

        def outcomes(count: int) -> Iterator[Outcome]:
            for _ in range(count):
                outcome = waiting.popleft()[1].result()
                submit(1)
                yield outcome

        try:
            with own_pixel_budget():
                submit(IMAGES_AHEAD + 2 * workers)
                while waiting:
                    shard = waiting[0][0]
                    yield shard, outcomes(len(shard.paths))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # nobody waits for a server that does not answer

    def threads_for(self, paths: Sequence[str]) -> int:
        return WAITING_WORKERS if any(map(sources.is_url, paths)) else min(MOST_WORKERS, cores())

    def outcome(self, path: str) -> Outcome:
        """Read a file once: its digest, its facts, and its crop, or its row where these bytes are known."""
        skipped: SkippedFile = {"path": path, "reason": ""}
        try:
            status = sources.image_status(path)
            if status:
                skipped["size"], skipped["modified_ns"] = status.size, status.modified_ns
                found = self.known.found_at(path, status.size, status.modified_ns)
                if found:
                    return found
            with FILE_MEMORY.taken(status.size if status else UNKNOWN_FILE):
                content = sources.fetch(path)
                skipped["digest"] = hashlib.sha256(content).hexdigest()
                facts: ImageFacts = {
                    "size": len(content),
                    "modified_ns": status.modified_ns if status else 0,
                    "digest": skipped["digest"],
                }
                alike = self.known.with_content(facts["digest"])
                if alike:
                    return EmbeddedImage({**alike.facts, **facts}, alike.row)
                image = read_image(content, resolution=self.resolution, max_megapixels=self.max_megapixels)
                facts |= {"orientation": image.orientation, "width": image.width, "height": image.height}
                return Crop(facts, image.pixels)
        except OSError as error:
            return self.to_try_again(skipped, sources.failure_reason(error))
        except Unavailable as reason:
            return self.to_try_again(skipped, str(reason))
        except Unreadable as reason:
            skipped["reason"] = str(reason)
            return skipped
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return self.to_try_again(skipped, NO_MEMORY)

    def to_try_again(self, skipped: SkippedFile, reason: str) -> SkippedFile:
        """The row of a file that could not be read this time: without a digest, so that the next run tries it again."""
        skipped.pop("digest", None)
        return {**skipped, "reason": reason, "again": True}
