"""embed: a folder of images becomes an array of unit vectors, once."""

from __future__ import annotations

import itertools
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate import encoders
from annotate.config import Config, EmbedSettings
from annotate.digests import content_digest, file_digest
from annotate.encoders import Encoder, Source
from annotate.errors import ArtifactError, InputError, printable
from annotate.images import EXTENSIONS, Decoded, Unreadable, find_images, own_pixel_budget, read_image
from annotate.kernels.vectors import Floats
from annotate.progress import Progress, Silent
from annotate.records import Embeddings, ImageFacts, Model, SkippedFile
from annotate.stages import run_stage
from annotate.workspace import Plan, Workspace, json_text

VERSION = 1
MAX_WORKERS = 8  # beyond this the interpreter, not the decoding, is the ceiling


def embed(
    workspace: Workspace, images: Path, config: Config, *, force: bool = False, progress: Progress | None = None
) -> Embeddings:
    """Embed every image below a folder; row i is image i of `image_paths` from here on.

    raises  InputError where the folder holds no readable image, ComponentMissing where weights cannot be had
    """
    progress = progress or Silent()
    paths, closed_folders = find_images(images, leave_out=workspace.root)
    if not paths:
        others = f" that can be read; {closed_folders[0]['reason']}" if closed_folders else ""
        raise InputError(
            f"no images in {printable(images)}{others}",
            hint="annotate looks for jpg, jpeg, png, bmp, gif, webp, tif, tiff and avif, in all folders below",
        )
    settings = config.resolve(len(paths)).embed
    source = encoders.find(settings.model)
    top = os.path.abspath(images)
    where = os.path.abspath(source.path) if source.path and source.local else None
    ran_on: dict[str, Any] = {}

    def make() -> Embeddings:
        with progress.bytes(f"weights of {source.name}") as report:
            encoder = encoders.load(source, device=settings.device, precision=settings.precision, progress=report)
        ran_on.update(device=encoder.device, precision=encoder.precision, cores=os.cpu_count())
        model: Model = {
            "name": source.name,
            "path": where,
            "digest": source.digest,
            "dimensions": encoder.dimensions,
            "logit_scale": encoder.logit_scale,
        }
        rows, kept, facts, skipped = embed_all(paths, encoder, settings, progress)
        return Embeddings(
            embeddings=rows,
            model=model,
            image_paths=kept,
            images=facts,
            skipped=[*closed_folders, *skipped],
            folder=top,
        )

    def settle(record: Embeddings) -> Plan:
        return plan_for(paths, top, settings, source, digests_by_path(record))

    with workspace.lock():
        plan = plan_for(paths, top, settings, source, known_digests(workspace, paths))
        record = run_stage(
            workspace, plan, Embeddings, make, force=force, progress=progress, ran_on=ran_on, settle=settle
        )
        if record.model["path"] != where:  # the same checkpoint has moved; the texts will look for it
            record = replace(record, model={**record.model, "path": where})
            workspace.publish(plan, record, ran_on=(workspace.manifest("embed") or {}).get("ran_on", {}))
        return record


def plan_for(
    paths: Sequence[Path], folder: str, settings: EmbedSettings, source: Source, digests: Mapping[str, str]
) -> Plan:
    """The plan for these images; a path whose bytes are not known yet makes it differ from any on disk.

    Device and precision are those asked for: `auto` stays fresh on a machine that resolves it otherwise.
    """
    config = {
        "model": source.name,
        "weights": source.digest,
        "batch_size": settings.batch_size,
        "device": settings.device,
        "precision": settings.precision,
        "max_megapixels": settings.max_megapixels,
    }
    listing = [[json_text(path), digests.get(str(path), "")] for path in paths]
    return Plan("embed", VERSION, config, {"folder": json_text(folder), "images": content_digest(listing)})


def known_digests(workspace: Workspace, paths: Sequence[Path]) -> dict[str, str]:
    """Digests of the images that the last run saw, reading again only what has another size or time.

    Empty where images came or went: the stage is stale then, and reading them all would be for nothing.
    """
    try:
        before = workspace.read(Embeddings) if workspace.has("embed") else None
    except ArtifactError:
        return {}
    if before is None:
        return {}
    facts = dict(zip(before.image_paths, before.images, strict=True))
    tried = {row["path"] for row in before.skipped if Path(row["path"]).suffix.lower() in EXTENSIONS}
    closed = {path for path in tried if os.path.isdir(path)}
    if {str(path) for path in paths} != {*facts, *tried} - closed:
        return {}
    return {str(path): digest_of(path, facts.get(str(path))) for path in paths}


def digest_of(path: Path, fact: ImageFacts | None) -> str:
    try:
        status = path.stat()
        if fact and (status.st_size, status.st_mtime_ns) == (fact["size"], fact["modified_ns"]):
            return fact["digest"]
        return file_digest(path)
    except OSError as error:
        return f"unreadable: {error.strerror}"


def digests_by_path(record: Embeddings) -> dict[str, str]:
    digests = {path: fact["digest"] for path, fact in zip(record.image_paths, record.images, strict=True) if fact}
    return {**{row["path"]: digest_of(Path(row["path"]), None) for row in record.skipped}, **digests}


def embed_all(
    paths: Sequence[Path], encoder: Encoder, settings: EmbedSettings, progress: Progress
) -> tuple[Floats, list[str], list[ImageFacts | None], list[SkippedFile]]:
    """Decode in threads, encode in batches of readable images, in the order of the paths.

    returns  embeddings (N, D), and the path and facts of each; the files that could not be read
    """
    kept: list[str] = []
    facts: list[ImageFacts | None] = []
    skipped: list[SkippedFile] = []
    rows: list[np.ndarray] = []
    batch: list[np.ndarray] = []
    with progress.steps("embedding", len(paths), "images") as advance, own_pixel_budget():
        for path, outcome in decode_all(paths, encoder.resolution, settings):
            if isinstance(outcome, Unreadable):
                skipped.append({"path": str(path), "reason": str(outcome)})
                advance(1)
                continue
            kept.append(str(path))
            facts.append(outcome.facts)
            batch.append(outcome.pixels)
            if len(batch) == settings.batch_size:
                rows.append(encoder.encode_images(np.stack(batch)))
                advance(len(batch))
                batch = []
        if batch:
            rows.append(encoder.encode_images(np.stack(batch)))
            advance(len(batch))
    if not rows:
        first = skipped[0]
        raise InputError(
            f"none of {len(paths):,} images can be read; {printable(first['path'])}: {first['reason']}",
            hint="check that the files open in an image viewer",
        )
    return np.concatenate(rows), kept, facts, skipped


def decode_all(
    paths: Sequence[Path], resolution: int, settings: EmbedSettings
) -> Iterator[tuple[Path, Decoded | Unreadable]]:
    """Each path with its image or the reason against it, in order, decoding a few batches ahead in threads."""
    workers = settings.workers or min(MAX_WORKERS, os.cpu_count() or 1)

    def decode(path: Path) -> Decoded | Unreadable:
        try:
            return read_image(path, resolution=resolution, max_megapixels=settings.max_megapixels)
        except Unreadable as reason:
            return reason

    waiting: deque[tuple[Path, Future[Decoded | Unreadable]]] = deque()
    remaining = iter(paths)
    with ThreadPoolExecutor(workers, thread_name_prefix="decode") as pool:
        try:
            for path in itertools.islice(remaining, 2 * settings.batch_size + workers):
                waiting.append((path, pool.submit(decode, path)))
            while waiting:
                path, future = waiting.popleft()
                outcome = future.result()
                for following in itertools.islice(remaining, 1):
                    waiting.append((following, pool.submit(decode, following)))
                yield path, outcome
        finally:
            pool.shutdown(cancel_futures=True)
