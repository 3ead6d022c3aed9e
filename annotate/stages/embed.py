"""embed: images become an array of unit vectors, each once, however often the work is interrupted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from annotate import encoders
from annotate.embedding.assembly import Assembly
from annotate.embedding.known import KnownImages
from annotate.embedding.ledger import Ledger, Shard, ShardOutcome, Shards
from annotate.embedding.survey import Survey, still_holds, survey
from annotate.encoders import Source
from annotate.engines.embedding import Job, compute_here, last_run, settings_key
from annotate.errors import InputError, MissingArtifact, printable
from annotate.progress import Progress, Silent
from annotate.records import Embeddings, Model, SkippedFile
from annotate.settings.config import Config, EmbedSettings, Settings
from annotate.sources import Listing, listing
from annotate.stages import run_stage
from annotate.workspace import Workspace
from annotate.workspace.artifacts import load_field
from annotate.workspace.digests import content_digest
from annotate.workspace.plan import Plan, json_text

VERSION = 2
PACKAGES = ("pillow", "torch", "openai-clip")  # that decide the bytes
LEDGER = ".embed.ledger"  # in the workspace, unless it is to lie elsewhere
TOTAL = "images"  # a file beside the shards: how many images are to be embedded


@dataclass(frozen=True)
class Work:
    """What an embedding is to do.

    images  all of them, in their order
    source  of the encoder
    known   what the last run knows, and `seen` what each image is to it
    shards  of the images that it does not know
    root    of the workspace
    """

    images: Listing
    settings: Settings
    source: Source
    plan: Plan
    known: KnownImages
    seen: Survey
    shards: Shards
    job: Job
    root: Path

    @property
    def complete(self) -> bool:
        """Whether all its shards are in the ledger."""
        done = self.job.ledger.done()
        return all(shard.name in done for shard in self.shards) if done else not self.shards


def embed(
    workspace: Workspace,
    images: str | Path,
    config: Config,
    *,
    force: bool = False,
    retry_skipped: bool = False,
    merge: bool = False,
    progress: Progress | None = None,
) -> Embeddings:
    """Embed all images of a folder, list or archive; row i is image i of `image_paths` from here on.

    retry_skipped  try those again that could not be read
    merge          only put together what slices have computed
    raises         InputError where no image can be read, ComponentMissing where weights cannot be had,
                   MissingArtifact where slices to be merged are not done
    """
    progress = progress or Silent()
    if merge and (force or retry_skipped):
        raise InputError("to merge is to compute nothing", hint="leave out --merge, or --force and --retry-skipped")
    with workspace.lock():
        with progress.doing("looking for images") as found:
            work = prepare(workspace, images, config, anew=force, retry_skipped=retry_skipped)
            found(f"{len(work.images.locations):,} images found")
        if merge and not work.complete:
            work = prepare(workspace, images, config, sliced=True)
        if merge and not work.complete:
            # Slices that ran in workspaces of their own did not know what this one does.
            work = prepare(workspace, images, config, anew=True)
        tell(work.images, progress)
        if force:
            forget(work)
        ran_on: dict[str, Any] = {}
        digest = ""

        def make(made: Path) -> Embeddings:
            nonlocal digest
            compute(work, work.shards, progress, merge=merge, retry_skipped=retry_skipped)
            model = model_of(work)
            assembly = Assembly(made, model["dimensions"], work.settings.embed.dtype)
            assembly.write(work.images.locations, work.seen.numbers, work.known, computed(work))
            if not assembly.count:
                raise none_readable(work, assembly.skipped)
            digest = assembly.digest
            machines = sorted(assembly.ran_on)
            ran_on.update(computed_on=machines, cores=encoders.cores())
            if len(machines) > 1:
                progress.note(
                    {
                        "message": f"rows were computed on {' and on '.join(machines)}: their last bits differ",
                        "hint": "`--force` computes all of them here",
                    }
                )
            return record_of(made, model, work.images, assembly.skipped)

        retried = f"{work.seen.skipped_before:,} skipped are tried again" if retry_skipped else ""
        record = run_stage(
            workspace,
            work.plan,
            Embeddings,
            make,
            force=force,
            why=retried if work.seen.skipped_before else "",
            progress=progress,
            packages=PACKAGES,
            ran_on=ran_on,
            settle=lambda record: replace(work.plan, inputs={**work.plan.inputs, "images": digest}),
        )
        forget(work)
        where = path_of(work.source)
        if record.model["path"] != where:  # the same checkpoint has moved; the texts will look for it
            record = replace(record, model={**record.model, "path": where})
            manifest = workspace.manifest("embed") or {}
            plan = replace(work.plan, inputs=manifest.get("inputs", {}))
            workspace.publish(plan, record, ran_on=manifest.get("ran_on", {}))
        return record


def embed_slice(
    workspace: Workspace,
    images: str | Path,
    config: Config,
    *,
    number: int,
    of: int,
    progress: Progress | None = None,
) -> int:
    """Compute every `of`-th shard, from the `number`-th on, into the ledger; how many images that are.

    Slices may run at once, on as many machines as see the images and the ledger; `embed` or `--merge` publishes.
    raises  InputError where there is no such slice
    """
    progress = progress or Silent()
    if not 1 <= number <= of:
        most = max(of, 1)
        raise InputError(f"no slice {number} of {of}", hint=f"slices are numbered from 1/{most} to {most}/{most}")
    with progress.doing("looking for images"):
        work = prepare(workspace, images, config, sliced=True)
    tell(work.images, progress)
    mine = work.shards[number - 1 :: of]
    progress.started("embed", f"slice {number} of {of}")
    compute(work, mine, progress)
    return mine.images


def tell(images: Listing, progress: Progress) -> None:
    """What the search for the images passed over."""
    for message in images.notes:
        progress.note({"message": message, "hint": ""})


def prepare(
    workspace: Workspace,
    images: str | Path,
    config: Config,
    *,
    anew: bool = False,
    retry_skipped: bool = False,
    sliced: bool = False,
) -> Work:
    """What there is to do; the encoder is not loaded yet.

    anew    nothing counts as known
    sliced  as all who compute slices of it see it
    """
    found = listing(images, leave_out=workspace.root)
    settings = config.resolve(len(found.locations))
    source = encoders.find_weights(settings.embed.model)
    configured = config_of(settings.embed, source)
    key = settings_key(VERSION, configured)
    last = None if anew else last_run(workspace, key)
    known = KnownImages([last] if last else [])
    seen = survey(found, known, retry_skipped=retry_skipped, sliced=sliced)
    request = config.request("embed", n=len(found.locations))
    plan = replace(plan_for(workspace, configured, found, seen), request=request)
    root = Path(os.path.abspath(workspace.root))
    job = Job(
        source=source,
        device=settings.embed.device,
        precision=settings.embed.precision,
        sessions=settings.embed.sessions,
        workers=settings.embed.workers,
        batch_size=settings.embed.batch_size,
        max_megapixels=settings.embed.max_megapixels,
        dtype=settings.embed.dtype,
        place=ledger_place(settings.embed.ledger, found.top) or str(root / LEDGER),
        key=key,
    )
    return Work(found, settings, source, plan, known, seen, Shards(seen.todo(found.locations)), job, root)


def compute(
    work: Work, shards: Shards, progress: Progress, *, merge: bool = False, retry_skipped: bool = False
) -> None:
    """Commit those of the work's shards to the ledger that are not there yet.

    raises  MissingArtifact where shards are missing that were only to be merged
    """
    ledger = work.job.ledger
    done, todo = ledger.done(), shards
    if done:
        left = [shard.number for shard in shards if not finished(ledger, shard, done, retry_skipped, merge)]
        todo = Shards(shards.paths, left)
    if not todo:
        return
    if merge:
        raise MissingArtifact(
            f"{len(todo):,} of {len(shards):,} shards are not done, or their images have changed",
            hint="run the slices that are missing, `annotate embed IMAGES --shard I/N`, or leave out --merge",
        )
    total, engine = shards.images, work.settings.engine
    if todo.images < total:
        progress.note({"message": f"{total - todo.images:,} of {total:,} images are done already", "hint": ""})
    # What other shards know: cut before images came or went, or before some of theirs changed.
    again = {shard.name for shard in todo if shard.name in done} if done else set()
    others = again | {name for name in done if not work.shards.has(name)}
    job = replace(work.job, others=tuple(sorted(others)), root=str(work.root) if len(work.known) else None)
    if not work.settings.embed.ledger:
        note = Path(ledger.place, ledger.key[:16], TOTAL)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(str(len(work.shards.paths)))
    if engine.name == "ray":
        from annotate.engines.fleet import compute_on_cluster

        with progress.steps("embedding", total, "images") as advance:
            advance(total - todo.images)
            compute_on_cluster(job, todo, engine.address, engine.decoders, advance)
        return
    with progress.bytes(f"weights of {work.source.name}") as report:
        sessions = job.load(report)
    known = KnownImages([*work.known.parts, *job.filed()]) if others else work.known
    with progress.steps("embedding", total, "images") as advance:
        advance(total - todo.images)
        compute_here(job, todo, known, sessions, advance)


def interrupted(workspace: Workspace) -> tuple[int, int] | None:
    """Of an embedding that was interrupted: how many images are done and kept, and of how many; else None."""
    told = sorted((workspace.root / LEDGER).glob(f"*/{TOTAL}"), key=lambda path: path.stat().st_mtime_ns)
    if not told:
        return None
    text = told[-1].read_text()
    total = int(text) if text.isdecimal() else 0  # a kill may have left it empty
    shards = Shards(range(total))  # type: ignore[arg-type]  # which images they hold does not matter
    last = -(-total // shards.size)
    done = {int(path.name.partition("-")[0]) for path in told[-1].parent.glob("[0-9]*-*.json")}
    kept = Shards(shards.paths, sorted(number for number in done if number < last))
    return (kept.images, total) if total else None


def ledger_place(asked: str | None, top: str) -> str:
    """Below the place that was asked for, one for each source of images: several may share it."""
    if not asked:
        return ""
    name = f"{Path(top).name or 'images'}-{content_digest(json_text(top))[:8]}"
    return f"{asked.rstrip('/') if '://' in asked else os.path.abspath(asked)}/{name}"


def forget(work: Work) -> None:
    """Empty the ledger; the workspace's own also of what was interrupted with other settings."""
    work.job.ledger.clear()
    if not work.settings.embed.ledger:
        shutil.rmtree(work.root / LEDGER, ignore_errors=True)


def finished(ledger: Ledger, shard: Shard, done: set[str], retry_skipped: bool, merging: bool) -> bool:
    """Whether a shard is in the ledger, and its images are still those."""
    seen = ledger.read(shard.name) if shard.name in done else None
    return seen is not None and still_holds(seen, merging=merging) and not (retry_skipped and seen.skipped)


def computed(work: Work) -> Iterator[tuple[Shard, ShardOutcome]]:
    """The shards of the work, each with what became of its images."""
    ledger = work.job.ledger
    for shard in work.shards:
        seen = ledger.read(shard.name)
        if seen is None:
            raise InputError(f"a finished shard is gone or damaged: {shard.name}", hint="run the same command again")
        yield shard, seen


def config_of(settings: EmbedSettings, source: Source) -> dict[str, Any]:
    """What reaches the rows. Device and precision as asked for: `auto` stays fresh where it resolves otherwise."""
    return {
        "model": source.name,
        "weights": source.digest,
        "batch_size": settings.batch_size,
        "device": settings.device,
        "precision": settings.precision,
        "max_megapixels": settings.max_megapixels,
        "dtype": settings.dtype,
    }


def plan_for(workspace: Workspace, configured: Mapping[str, Any], images: Listing, seen: Survey) -> Plan:
    """The plan for these images; where they are not those of the last run it differs from the one on disk."""
    manifest = (workspace.manifest("embed") or {}) if seen.unchanged else {}
    digest = manifest.get("inputs", {}).get("images", "")
    inputs = {"folder": json_text(images.top), "images": digest}
    why = f"what could not be read is tried again (images: {seen.again:,})" if seen.again else ""
    return Plan("embed", VERSION, configured, inputs, why=why)


def model_of(work: Work) -> Model:
    """The model that all rows are of, without loading it."""
    seen = next((seen for _, seen in computed(work)), None) or last_run(Workspace(work.root), work.job.key)
    assert seen  # what is not to be computed is known
    return {
        "name": work.source.name,
        "path": path_of(work.source),
        "digest": work.source.digest,
        "dimensions": seen.rows.shape[1],
        "logit_scale": seen.logit_scale,
    }


def path_of(source: Source) -> str | None:
    return str(source.path) if source.local else None


def record_of(folder: Path, model: Model, images: Listing, skipped: Sequence[SkippedFile]) -> Embeddings:
    """The record of files that are written; they stay on disk."""
    return Embeddings(
        embeddings=np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False),
        image_paths=load_field(folder, Embeddings, "image_paths"),
        images=load_field(folder, Embeddings, "images"),
        skipped=[*images.passed_over, *skipped],
        model=model,
        folder=images.top,
    )


def none_readable(work: Work, skipped: Sequence[SkippedFile]) -> InputError:
    first = skipped[0]
    return InputError(
        f"none of {len(work.images.locations):,} images can be read; {printable(first['path'])}: {first['reason']}",
        hint="check that the files open in an image viewer",
    )
