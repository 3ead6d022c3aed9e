"""embed: images become an array of unit vectors, each once, however often the work is interrupted."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
from annotate.errors import Hint, InputError, MissingArtifact, printable
from annotate.progress import Progress
from annotate.records import Embeddings, Model, SkippedFile
from annotate.settings.declared import EmbedSettings, Settings
from annotate.sources import Listing, listing
from annotate.stages import Context, Stage
from annotate.stages.models import AUTO, automatic_model, kept_model
from annotate.workspace import Workspace
from annotate.workspace.artifacts import load_field, read_file
from annotate.workspace.digests import content_digest
from annotate.workspace.opening import opened, own_folder
from annotate.workspace.plan import Plan, json_text

LEDGER = ".embed.ledger"  # in the workspace, unless it is to lie elsewhere
TOTAL = "images"  # a file beside the shards: how many images are to be embedded
LONGEST_NUMBER = 18  # digits of it


@dataclass(frozen=True)
class Work:
    """What an embedding is to do.

    images  all of them, in their order
    source  of the encoder
    known   what the last run knows, and `seen` what each image is to it
    shards  of the images that it does not know
    root    of the workspace
    force, merge, retry_skipped   as asked for
    ran_on  what computed it, and the digest of the images, known when it is done
    """

    images: Listing
    settings: Settings
    source: Source
    known: KnownImages
    seen: Survey
    shards: Shards
    job: Job
    root: Path
    force: bool = False
    merge: bool = False
    retry_skipped: bool = False
    ran_on: dict[str, Any] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether all its shards are in the ledger."""
        done = self.job.ledger.done()
        return all(shard.name in done for shard in self.shards) if done else not self.shards


class Embed(Stage[Embeddings]):
    """All images of a folder, list or archive, embedded; row i is image i of `image_paths` from here on.

    images         where they are
    retry_skipped  try those again that could not be read
    merge          only put together what slices have computed
    """

    name, record, version = "embed", Embeddings, 2
    asks, sections = ("images", "retry_skipped", "merge"), ("embed", "engine")
    packages = ("pillow", "torch", "openai-clip")

    def plan(
        self,
        context: Context,
        *,
        force: bool = False,
        images: str | Path = "",
        retry_skipped: bool = False,
        merge: bool = False,
        **asked: Any,
    ) -> Plan:
        """raises  InputError where there are no images, ComponentMissing where weights cannot be had"""
        if merge and (force or retry_skipped):
            raise InputError(
                "to merge is to compute nothing",
                hint=Hint(
                    "only put the slices together, or compute the images anew",
                    "leave out --merge, or --force and --retry-skipped",
                ),
            )
        with context.progress.doing("looking for images") as tell_count:
            found = listing(images, leave_out=context.workspace.root)
            tell_count(f"{len(found.locations):,} images found")
        source = model_for(context, found, sliced=merge)
        with context.progress.doing("looking for what is new"):
            plan = prepare(context, found, source, anew=force, retry_skipped=retry_skipped)
        if merge and not plan.found.complete:
            plan = prepare(context, found, source, sliced=True)
        if merge and not plan.found.complete:
            # Slices that ran in workspaces of their own did not know what this one does.
            plan = prepare(context, found, source, anew=True)
        tell(found, context.progress)
        work = replace(plan.found, force=force, merge=merge, retry_skipped=retry_skipped)
        again = work.seen.skipped_before if retry_skipped else 0
        return replace(plan, found=work, why=f"{again:,} skipped are tried again" if again else plan.why)

    def make(self, context: Context, plan: Plan, folder: Path) -> Embeddings:
        """raises  InputError where no image can be read, MissingArtifact where slices to be merged are not done"""
        work: Work = plan.found
        if work.force:
            forget(work)
        compute(work, work.shards, context.progress)
        model = shared_model(work)
        assembly = Assembly(folder, model["dimensions"], work.settings.embed.dtype)
        assembly.write(work.images.locations, work.seen.numbers, work.known, computed(work))
        if not assembly.count:
            raise none_readable(work, assembly.skipped)
        machines = sorted(assembly.ran_on)
        work.ran_on.update(computed_on=machines, cores=encoders.cores(), digest=assembly.digest)
        if len(machines) > 1:
            context.progress.note(
                {
                    "message": f"rows were computed on {' and on '.join(machines)}: their last bits differ",
                    "hint": "`--force` computes all of them here",
                }
            )
        return record_on_disk(folder, model, work.images, assembly.skipped)

    def settled(self, plan: Plan, record: Embeddings) -> Plan:
        return replace(plan, inputs={**plan.inputs, "images": plan.found.ran_on["digest"]})

    def ran_on(self, plan: Plan) -> dict[str, Any]:
        return {key: value for key, value in plan.found.ran_on.items() if key != "digest"}

    def finished(self, context: Context, plan: Plan, record: Embeddings) -> Embeddings:
        """Empty the ledger; where the same checkpoint has moved, say where it is now: the texts will look for it."""
        workspace, where = context.workspace, checkpoint_path(plan.found.source)
        forget(plan.found)
        if record.model["path"] == where:
            return record
        record = replace(record, model={**record.model, "path": where})
        manifest = workspace.manifest("embed") or {}
        workspace.publish(replace(plan, inputs=manifest.get("inputs", {})), record, ran_on=manifest.get("ran_on", {}))
        return record

    def asked_before(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return {"images": manifest["facts"]["folder"]}


STAGE = Embed()


def embed_slice(context: Context, images: str | Path, *, number: int, of: int) -> int:
    """Compute every `of`-th shard, from the `number`-th on, into the ledger; how many images that are.

    Slices may run at once, on as many machines as see the images and the ledger; `embed` or `--merge` publishes.
    raises  InputError where there is no such slice
    """
    progress = context.progress
    if not 1 <= number <= of:
        most = max(of, 1)
        raise InputError(f"no slice {number} of {of}", hint=f"slices are numbered from 1/{most} to {most}/{most}")
    with progress.doing("looking for images"):
        found = listing(images, leave_out=context.workspace.root)
    source = model_for(context, found, sliced=True)
    with progress.doing("looking for what is new"):
        work: Work = prepare(context, found, source, sliced=True).found
    tell(work.images, progress)
    mine = work.shards[number - 1 :: of]
    progress.started("embed", f"slice {number} of {of}")
    compute(work, mine, progress)
    return mine.images


def tell(images: Listing, progress: Progress) -> None:
    """What the search for the images passed over."""
    for message in images.notes:
        progress.note({"message": message, "hint": ""})


def model_for(context: Context, images: Listing, *, sliced: bool) -> Source:
    """The model that embeds these images: the one that is named, else that of the workspace, else what is there.

    raises  StaleArtifact where the model of the workspace is gone, InputError where slices name none
    """
    settings, place = context.config.resolve(len(images.locations)).embed, ledger_place(context, images)
    if settings.model != AUTO:
        return encoders.find_weights(settings.model)

    def begun(source: Source) -> bool:
        return bool(Ledger(place, settings_key(STAGE.version, recorded_settings(settings, source))).done())

    return kept_model(context.workspace, context.config) or automatic_model(context.progress, begun, sliced=sliced)


def prepare(
    context: Context,
    found: Listing,
    source: Source,
    *,
    anew: bool = False,
    retry_skipped: bool = False,
    sliced: bool = False,
) -> Plan:
    """What there is to do; the encoder is not loaded yet.

    anew    nothing counts as known
    sliced  as all who compute slices of it see it
    """
    workspace, config = context.workspace, context.config
    settings = config.resolve(len(found.locations))
    configured = recorded_settings(settings.embed, source)
    key = settings_key(STAGE.version, configured)
    last = None if anew else last_run(workspace, key)
    known = KnownImages([last] if last else [])
    seen = survey(found, known, retry_skipped=retry_skipped, sliced=sliced)
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
        place=ledger_place(context, found),
        key=key,
    )
    work = Work(found, settings, source, known, seen, Shards(seen.todo(found.locations)), job, root)
    request = config.request("embed", n=len(found.locations))
    return replace(plan_for(workspace, configured, found, seen), request=request, found=work)


def compute(work: Work, shards: Shards, progress: Progress) -> None:
    """Commit those of the work's shards to the ledger that are not there yet.

    raises  MissingArtifact where shards are missing that were only to be merged
    """
    ledger = work.job.ledger
    done, todo = ledger.done(), shards
    if done:
        left = [shard.number for shard in shards if not finished(ledger, shard, done, work.retry_skipped, work.merge)]
        todo = Shards(shards.paths, left)
    if not todo:
        return
    if work.merge:
        raise MissingArtifact(
            f"{len(todo):,} of {len(shards):,} shards are not done, or their images have changed",
            hint=Hint(
                "compute the slices that are missing",
                "run the slices that are missing, `annotate embed IMAGES --shard I/N`, or leave out --merge",
            ),
        )
    total, engine = shards.images, work.settings.engine
    if todo.images < total:
        progress.note({"message": f"{total - todo.images:,} of {total:,} images are done already", "hint": ""})
    # What other shards know: cut before images came or went, or before some of theirs changed.
    again = {shard.name for shard in todo if shard.name in done} if done else set()
    others = again | {name for name in done if not work.shards.has(name)}
    job = replace(work.job, others=tuple(sorted(others)), root=str(work.root) if len(work.known) else None)
    if engine.name == "ray":
        from annotate.engines.fleet import compute_on_cluster

        note_total(work)
        with progress.steps("embedding", total, "images") as advance:
            advance(total - todo.images)
            compute_on_cluster(job, todo, engine.address, engine.decoders, advance)
        return
    with progress.bytes(f"weights of {work.source.name}") as report:
        sessions = job.load(report)
    note_total(work)  # not before: a model that cannot be loaded leaves nothing behind
    known = KnownImages([*work.known.parts, *job.filed()]) if others else work.known
    with progress.steps("embedding", total, "images") as advance:
        advance(total - todo.images)
        compute_here(job, todo, known, sessions, advance)


def note_total(work: Work) -> None:
    """Write beside the workspace's own ledger of how many images it will tell, for `status`."""
    if not work.settings.embed.ledger:
        ledger = work.job.ledger
        folder = own_folder(own_folder(Path(ledger.place)) / ledger.key[:16])
        with opened(folder / TOTAL, "wb") as file:
            file.write(str(len(work.shards.paths)).encode())


def interrupted(workspace: Workspace) -> tuple[int, int] | None:
    """Of an embedding that was interrupted: how many images are done and kept, and of how many; else None."""
    try:
        told = max((workspace.root / LEDGER).glob(f"*/{TOTAL}"), key=lambda path: path.stat().st_mtime_ns, default=None)
        text = read_file(told, LONGEST_NUMBER) if told else b""
    except (OSError, ValueError):  # gone meanwhile, or no file of annotate
        return None
    total = int(text) if text.isdigit() else 0  # a kill may have left it empty
    if told is None or not total:
        return None
    shards = Shards(range(total))  # type: ignore[arg-type]  # which images they hold does not matter
    names = (path.name.partition("-")[0] for path in told.parent.glob("*-*.json"))
    done = {int(number) for number in names if number.isascii() and number.isdigit()}
    return Shards(shards.paths, sorted(number for number in done if number in shards.numbers)).images, total


def ledger_place(context: Context, images: Listing) -> str:
    """In the workspace, or below the place that was asked for, one for each source of images: several may share it."""
    asked, top = context.config.resolve(len(images.locations)).embed.ledger, images.top
    if not asked:
        return str(Path(os.path.abspath(context.workspace.root)) / LEDGER)
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


def recorded_settings(settings: EmbedSettings, source: Source) -> dict[str, Any]:
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
    return Plan(STAGE.name, STAGE.version, configured, inputs, why=why)


def shared_model(work: Work) -> Model:
    """The model that all rows are of, without loading it."""
    seen = next((seen for _, seen in computed(work)), None) or last_run(Workspace(work.root), work.job.key)
    assert seen  # what is not to be computed is known
    return {
        "name": work.source.name,
        "path": checkpoint_path(work.source),
        "digest": work.source.digest,
        "dimensions": seen.rows.shape[1],
        "logit_scale": seen.logit_scale,
    }


def checkpoint_path(source: Source) -> str | None:
    return str(source.path) if source.local else None


def record_on_disk(folder: Path, model: Model, images: Listing, skipped: Sequence[SkippedFile]) -> Embeddings:
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
