"""Compute the shards of an embedding in this process; and what any worker needs to know to do so."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from annotate.embedding.decoding import Decoding
from annotate.embedding.known import KnownImages, ShardOnDisk
from annotate.embedding.ledger import Ledger, Shard, ShardOutcome
from annotate.embedding.pipeline import Pipeline
from annotate.encoders import Encoder, Source, load_sessions
from annotate.encoders.weights import ByteProgress
from annotate.errors import ArtifactError
from annotate.progress import Advance
from annotate.records import Embeddings
from annotate.workspace import Workspace
from annotate.workspace.digests import content_digest

CPU_BATCH, GPU_BATCH = 32, 256  # images; a GPU is not busy with fewer


@dataclass(frozen=True)
class Job:
    """All that a worker must know to compute any shard: small, and the same for every worker.

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

    def known(self) -> KnownImages:
        """What earlier runs know of the images, as far as this machine sees them."""
        last = last_run(Workspace(self.root), self.key) if self.root else None
        return KnownImages([*([last] if last else []), *self.filed()])

    def filed(self) -> list[ShardOnDisk]:
        ledger = self.ledger
        return [ShardOnDisk(ledger, name) for name in self.others]

    def load(self, progress: ByteProgress | None = None) -> list[Encoder]:
        return load_sessions(
            self.source, device=self.device, precision=self.precision, count=self.sessions, progress=progress
        )

    def decoding(self, resolution: int, known: KnownImages) -> Decoding:
        return Decoding(resolution, self.max_megapixels, known, self.workers)

    def pipeline(self, sessions: Sequence[Encoder]) -> Pipeline:
        usual = CPU_BATCH if sessions[0].device == "cpu" else GPU_BATCH
        return Pipeline(sessions, batch_size=self.batch_size or usual, dtype=self.dtype)


def compute_here(
    job: Job, shards: Sequence[Shard], known: KnownImages, sessions: Sequence[Encoder], advance: Advance
) -> None:
    """Compute the shards in this process and commit each to the ledger.

    Where writing takes long beside computing, on a GPU or to an address, the next shard is computed meanwhile;
    elsewhere not, since a kill would cost two.
    """
    ledger, writing = job.ledger, deque[Future[None]]()
    behind = 1 if "://" in job.place or sessions[0].device != "cpu" else 0
    decoded = job.decoding(sessions[0].resolution, known).ahead(shards)
    with closing(decoded), ThreadPoolExecutor(1, "commit") as writer:
        for shard, seen in job.pipeline(sessions).run(decoded, advance):
            writing.append(writer.submit(ledger.commit, shard, seen))
            while len(writing) > behind:
                writing.popleft().result()
        while writing:
            writing.popleft().result()


def settings_key(version: int, configured: Mapping[str, Any]) -> str:
    """What rows depend on besides the images."""
    return content_digest([version, configured])


def last_run(workspace: Workspace, key: str) -> ShardOutcome | None:
    """The embeddings of a workspace, where they are of these weights and settings."""
    try:
        manifest = workspace.manifest("embed")
        if not manifest or settings_key(manifest["version"], manifest["config"]) != key:
            return None
        images = workspace.read(Embeddings)
        if workspace.manifest("embed") != manifest:
            return None  # another run has just published its own
    except (ArtifactError, OSError):
        return None
    ran_on = " and ".join(manifest["ran_on"].get("computed_on", []))
    return ShardOutcome(
        images.embeddings,
        images.image_paths,
        images.images,  # type: ignore[arg-type]  # ours have facts; those of others have another key
        images.skipped,
        ran_on,
        images.model["logit_scale"],
    )
