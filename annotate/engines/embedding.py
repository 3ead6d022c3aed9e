"""Who computes the shards of an embedding: this process, or the workers of a Ray cluster."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from annotate.embedding.decoding import Decoding
from annotate.embedding.known import Known
from annotate.embedding.ledger import Ledger, Seen, Shard
from annotate.embedding.pipeline import Pipeline
from annotate.encoders import Encoder, Source, load_sessions
from annotate.encoders.weights import ByteProgress
from annotate.errors import AnnotateError
from annotate.progress import Advance
from annotate.records import Embeddings
from annotate.workspace import Workspace

CPU_BATCH, GPU_BATCH = 32, 256  # images; a GPU is not busy with fewer


@dataclass(frozen=True)
class Job:
    """What every worker must know to compute any shard: small, and the same for all.

    source, device, precision         the encoder
    sessions, workers                 batches at once, and threads that decode; None chooses by the machine
    batch_size, max_megapixels, dtype as in the settings; the batch by the device where it is None
    place, key                        of the ledger
    others                            finished shards that are not to be computed, but whose images are known
    root                              the workspace, where the last run's rows can be used again
    """

    source: Source
    device: str
    precision: str
    sessions: int | None
    workers: int | None
    batch_size: int | None
    max_megapixels: float
    dtype: str
    place: str
    key: str
    others: tuple[str, ...] = ()
    root: str | None = None

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.place, self.key)

    def known(self) -> Known:
        """What earlier runs know of the images, as far as this machine sees them."""
        earlier: list[Embeddings | Seen] = []
        if self.root:
            with suppress(AnnotateError, OSError):
                earlier.append(Workspace(self.root).read(Embeddings))
        ledger = self.ledger
        return Known([*earlier, *(seen for name in self.others if (seen := ledger.read(name)))])

    def load(self, progress: ByteProgress | None = None) -> list[Encoder]:
        return load_sessions(
            self.source, device=self.device, precision=self.precision, count=self.sessions, progress=progress
        )

    def decoding(self, resolution: int, known: Known) -> Decoding:
        return Decoding(resolution, self.max_megapixels, known, self.workers)

    def pipeline(self, sessions: Sequence[Encoder]) -> Pipeline:
        usual = CPU_BATCH if sessions[0].device == "cpu" else GPU_BATCH
        return Pipeline(sessions, batch_size=self.batch_size or usual, dtype=self.dtype)


def compute_here(job: Job, shards: Sequence[Shard], sessions: Sequence[Encoder], advance: Advance) -> None:
    """Compute the shards in this process and commit each to the ledger."""
    ledger, known = job.ledger, job.known()
    decoded = job.decoding(sessions[0].resolution, known).ahead(shards)
    for shard, seen in job.pipeline(sessions).run(decoded, advance):
        ledger.commit(shard, seen)
