"""organize: labels become folders, with metadata and splits, ready to train on.

The folder is built beside its place and swapped in whole. Images are copied or linked, never moved; a folder
is replaced only if annotate made it, nobody changed it, and every image in it still exists elsewhere.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import asdict

from annotate import sources
from annotate.classes.folders import distinct, folder_names, safe_file_name
from annotate.errors import InputError, StaleArtifact, StorageError, first_few, printable
from annotate.exports.dataset import Copy, Digests, is_the_original, seal, why_stale
from annotate.exports.metadata import NO_SPLIT, UNKNOWN_FOLDER, Layout, dataset_report, describe
from annotate.exports.replacing import check_replaceable, claimed, replacing
from annotate.images import Unreadable
from annotate.images.allowance import FILE_MEMORY, UNKNOWN_FILE
from annotate.images.formats import is_image, picture_format, suffix
from annotate.kernels.splits import SPLITS, choose_splits
from annotate.progress import Progress
from annotate.records import Embeddings, ImageFacts, Note, Organized, Refinement, Texts
from annotate.settings.declared import OrganizeSettings
from annotate.sources.own import made_by
from annotate.stages import Context, Stage, versions
from annotate.stages.refine import read_labelled
from annotate.workspace import Workspace
from annotate.workspace.artifacts import as_json, store, write_bytes
from annotate.workspace.digests import file_digest
from annotate.workspace.manifest import MANIFEST
from annotate.workspace.opening import copy_file, set_time
from annotate.workspace.plan import Plan, State, json_text

GONE = "put it back, or run `annotate embed` again without it"
EDITED = "run `annotate embed` and `annotate refine` again"
BLOCK = 4096  # bytes; what a small file takes on most disks
FETCHERS = 8  # threads; one waits for a server while another writes
FETCHED = FILE_MEMORY.total  # bytes fetched ahead of what is written
NOT_SEARCHED: Note = {
    "message": "nobody looked for images that fit none of the names: all go to their likeliest class",
    "hint": "run `annotate refine --method transductive` first; it looks among up to 50,000 images",
}
# Loaders take files by their endings: torchvision, `datasets` and Keras know no others for these formats.
USUAL = dict.fromkeys((".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo"), ".jpg") | {".apng": ".png", ".dib": ".bmp"}
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "TIFF": ".tif", "WebP": ".webp", "BMP": ".bmp", "PNM": ".ppm"}
OWN_NAMES = ("splits", "metadata.json", "report.txt", "class_prototypes.npy", MANIFEST)
ALIGNMENTS = ("micro_cluster_alignment", "meta_cluster_alignment")


@dataclass(frozen=True)
class Material:
    """What planning has read: the images and their labels."""

    images: Embeddings
    texts: Texts
    labels: Refinement
    settings: OrganizeSettings
    output: Path
    force: bool

    @cached_property
    def layout(self) -> Layout:
        """Where each image goes."""
        return lay_out(self.images, self.texts, self.labels, self.settings)

    @property
    def outcome(self) -> Organized:
        counts, parts = self.layout.counts, self.layout.split_counts
        return Organized(os.path.abspath(self.output), len(self.layout.places), counts, self.settings.link, parts)


class Organize(Stage[Organized]):
    """The dataset, in a folder of its own, `output`."""

    name, record, version, after = "organize", Organized, 3, ("embed", "text", "refine")
    asks, sections, packages = ("output",), ("organize",), ("pillow",)

    @contextmanager
    def holding(self, context: Context, *, output: str | Path = "", **asked: Any) -> Iterator[None]:
        context.workspace.check_ours(self.name)
        check_place(Path(output), context.workspace.read(Embeddings).folder, context.workspace)
        with claimed(Path(output)):
            yield

    def plan(self, context: Context, *, force: bool = False, output: str | Path = "", **asked: Any) -> Plan:
        """raises  InputError where the folder cannot be the output of this"""
        workspace, output = context.workspace, Path(output)
        images, texts, labels = read_labelled(workspace)
        settings = context.config.resolve(len(images.embeddings)).organize
        check_place(output, images.folder, workspace)
        check_holds_no_image(output, images)
        check_linkable(images, settings)
        return Plan(
            self.name,
            self.version,
            settings_as_dict(settings) | {"output": json_text(os.path.abspath(output))},
            {
                **workspace.digests("embed", "embeddings.npy", "image_paths.txt", "images.json"),
                **workspace.digests("text"),
                **workspace.digests("refine"),
            },
            context.config.request("organize", n=len(images.embeddings)),
            found=Material(images, texts, labels, settings, output, force),
        )

    def state(self, context: Context, plan: Plan) -> State:
        """That of the folder, where it is not what the plan would make; else that of the workspace."""
        output = plan.found.output
        name, _, why = why_stale(plan, output).partition(": ")
        if not name:
            return context.workspace.state(plan)
        recorded = context.workspace.state(plan)
        if name == "missing" and recorded.name != "missing":
            return State("missing", f"{printable(output)} is gone")
        return State(name, why)

    def make(self, context: Context, plan: Plan, folder: Path) -> Organized:
        """raises  InputError where the folder holds what annotate cannot answer for, StorageError without room"""
        found: Material = plan.found
        images, output, progress = found.images, found.output, context.progress
        if not why_stale(plan, output) and not found.force:
            return found.outcome
        digests = Digests()
        check_replaceable(output, images, digests, progress)
        check_unchanged(images)
        check_room(images, output, found.settings)
        provenance = provenance_of(context.workspace, images, found.texts, found.labels, found.settings)
        with replacing(output, images, digests) as new:
            made = write_images(images, found.layout, found.settings, new, progress)
            write_papers(new, images, found.texts, found.labels, found.layout, provenance)
            seal(new, plan, made)
        return found.outcome

    def finished(self, context: Context, plan: Plan, record: Organized) -> Organized:
        set_time(plan.found.output / MANIFEST)
        for note in notes_on(plan.found):
            context.progress.note(note)
        return record

    def rehearse(self, context: Context, output: str | Path) -> Organized:
        """What it would make; nothing is touched.

        raises  InputError where it would refuse to
        """
        found: Material = self.plan(context, output=output).found
        for note in notes_on(found):
            context.progress.note(note)
        check_replaceable(found.output, found.images, Digests(), context.progress)
        return found.outcome

    def asked_before(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        return {"output": manifest["facts"]["output"]}


STAGE = Organize()


def notes_on(found: Material) -> list[Note]:
    """What a user should know of a dataset."""
    missing = missing_note(found.texts, found.layout)
    unsearched = found.settings.unknown == "apart" and found.labels.unfit is None
    return [NOT_SEARCHED] * unsearched + ([missing] if missing else [])


def settings_as_dict(settings: OrganizeSettings) -> dict[str, Any]:
    return asdict(settings)


# -- where it may go -----------------------------------------------------------------------------------


def check_place(output: Path, images: str | Path | None, workspace: Workspace) -> None:
    """Refuse an output folder that lies in the images or the other way round, or in the workspace."""
    place = Path(os.path.realpath(output))
    shown = printable(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{shown}: a file, not a folder", hint="name a folder for the dataset")
    if output.is_symlink():
        raise InputError(f"{shown}: a link to another folder", hint="name the folder itself")
    root = Path(os.path.realpath(workspace.root))
    if place == root or place in root.parents or root in place.parents:
        raise InputError(
            f"{shown} and the workspace {printable(workspace.root)} lie in each other", hint="use separate folders"
        )
    around = next((folder for folder in place.parents if made_by(folder)), None)
    if around:
        raise InputError(f"{shown} lies in {printable(around)}, which annotate made", hint="use separate folders")
    if images is None or not sources.is_local(str(images)):
        return
    source = Path(os.path.realpath(images))
    if place == source or source in place.parents:
        raise InputError(f"{shown} lies in the folder of images", hint="write the dataset to a folder beside it")
    if place in source.parents:
        raise InputError(f"{shown} holds the folder of images", hint="write the dataset to a folder beside it")


def check_holds_no_image(output: Path, images: Embeddings) -> None:
    """Refuse an output that holds an image of this run, by whatever list it came: it would be replaced with it."""
    tops = {f"{place(output)}{os.sep}" for place in (os.path.abspath, os.path.realpath)}
    inside = next((path for path in images.image_paths if path.startswith(tuple(tops))), None)
    if inside:
        raise InputError(
            f"{printable(output)} holds an image that is to be organized: {printable(inside)}",
            hint="write the dataset to another folder",
        )


def check_unchanged(images: Embeddings) -> None:
    """Every image must be the one that was embedded: its label is of those bytes.

    raises  InputError where one is gone, StaleArtifact where one was edited since
    """
    for path, fact in zip(images.image_paths, images.images, strict=True):
        try:
            status = sources.image_status(path)
        except FileNotFoundError:
            raise InputError(f"{printable(path)} is gone", hint=GONE) from None
        except Unreadable as reason:
            raise InputError(f"{printable(path)}: {reason}", hint=GONE) from reason
        if not status or not fact or (status.size, status.modified_ns) == (fact["size"], fact["modified_ns"]):
            continue
        # Of what is no file here, the bytes tell when they are fetched.
        if sources.is_local(path) and file_digest(Path(path)) != fact["digest"]:
            raise edited(path)


def edited(path: str) -> StaleArtifact:
    return StaleArtifact(f"{printable(path)} was edited since it was embedded", hint=EDITED)


def check_linkable(images: Embeddings, settings: OrganizeSettings) -> None:
    """raises  InputError where links are asked for, and an image is no file that a link could lead to"""
    if settings.link not in ("hardlink", "symlink"):
        return
    unlinkable = next((path for path in images.image_paths if not sources.is_local(path)), None)
    if unlinkable:
        where = "an address" if sources.is_url(unlinkable) else "in an archive"
        raise InputError(
            f"{printable(unlinkable)} is {where}: there is no file to link to", hint="use --link copy or --link auto"
        )


def check_room(images: Embeddings, output: Path, settings: OrganizeSettings) -> None:
    if settings.link not in ("copy", "auto"):
        return
    need = sum(
        -(-fact["size"] // BLOCK) * BLOCK
        for fact, path in zip(images.images, images.image_paths, strict=True)
        if fact and (settings.link == "copy" or not sources.is_local(path))
    )
    free = shutil.disk_usage(nearest_folder(output)).free
    if need > free:
        raise StorageError(
            f"{printable(output)}: copies need {need / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free",
            hint="use --link auto, hardlink or symlink, or another disk",
        )


def nearest_folder(path: Path) -> Path:
    """The path, or the first folder above it that exists."""
    path = Path(os.path.abspath(path))
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


# -- what goes where -----------------------------------------------------------------------------------


def lay_out(images: Embeddings, texts: Texts, labels: Refinement, settings: OrganizeSettings) -> Layout:
    strange = labels.unfit >= 0 if settings.unknown == "apart" and labels.unfit is not None else None
    if strange is not None and not strange.any():
        strange = None
    further = [] if strange is None else [UNKNOWN_FOLDER]
    own = (*OWN_NAMES, *(f"{name}.npy" for name in ALIGNMENTS), *further)
    folders = [*folder_names(texts.class_names, own), *further]
    chosen = labels.labels if strange is None else np.where(strange, len(folders) - 1, labels.labels)
    used: list[dict[str, int]] = [{} for _ in folders]
    places = []
    for path, folder in zip(images.image_paths, chosen.tolist(), strict=True):
        places.append(f"{folders[folder]}/{distinct(name_of_copy(path), used[folder])}")
    keys = [fact["digest"] if fact else path for fact, path in zip(images.images, images.image_paths, strict=True)]
    splits = choose_splits(keys, chosen, settings.splits, settings.seed)
    if strange is not None:
        splits[strange] = NO_SPLIT
    return Layout(folders, chosen, places, splits, settings.splits)


def name_of_copy(path: str) -> str:
    """The image's own file name, made safe where no disk here has taken it yet, with an ending that loaders know."""
    name = sources.file_name(path)
    name = (name or "image") if sources.is_local(path) else safe_file_name(name)
    return name + (USUAL.get(suffix(name), "") if is_image(name) else ENDINGS.get(picture_format(head_of(path)), ""))


def head_of(path: str) -> bytes:
    """The first bytes of an image; none where they cannot be had, or an address has them."""
    try:
        return b"" if sources.is_url(path) else sources.first_bytes(path)
    except (OSError, Unreadable):
        return b""


def missing_note(texts: Texts, layout: Layout) -> Note | None:
    """What to know where a class has images, but none in some split."""
    missing = layout.missing_in_splits(texts.class_names)
    if not missing:
        return None
    lacks = "; ".join(
        f"{name} has none of {first_few([printable(class_name) for class_name in names])}"
        for name, names in missing.items()
    )
    return {
        "message": f"some classes have too few different images to be in every split: {lacks}",
        "hint": "loaders number the folders that they find, so that their numbers differ from split to split: "
        "take those of class_to_idx in metadata.json, or find more images of these classes",
    }


def write_images(
    images: Embeddings, layout: Layout, settings: OrganizeSettings, new: Path, progress: Progress
) -> dict[str, Copy]:
    """Put every image in its class and in its split; returns path in the output to what lies there.

    Within the output, a split's file is a second name of the class's file where the disk allows it.
    """
    link = PLACERS[settings.link]
    made: dict[str, Copy] = {}
    parts = layout.splits.tolist()
    in_splits = [
        None if part == NO_SPLIT else f"splits/{SPLITS[part]}/{target}"
        for target, part in zip(layout.places, parts, strict=True)
    ]
    # A folder without images would be a class that loaders look for in vain.
    for folder in sorted({path.rpartition("/")[0] for path in [*layout.places, *in_splits] if path}):
        (new / folder).mkdir(parents=True, exist_ok=True)
    with progress.steps("organizing", len(layout.places), "images") as advance:
        fetched = contents(images.image_paths, images.images)
        for (original, content), fact, target, in_split in zip(
            fetched, images.images, layout.places, in_splits, strict=True
        ):
            try:
                if content is None:
                    link(original, new / target)
                else:
                    write_copy(original, content, new / target)
                copy = Copy(original, digest_of(original, new / target, fact))
                if in_split:
                    second_name(new / target, new / in_split, original)
            except FileNotFoundError:
                if os.path.exists(original):
                    raise
                raise InputError(f"{printable(original)} is gone", hint=GONE) from None
            made |= {name: copy for name in (target, in_split) if name}
            advance(1)
    return made


def digest_of(original: str, target: Path, fact: ImageFacts | None) -> str:
    """The sha256 of a copy, which is read for it; of a link that of the image when it was embedded.

    raises  StaleArtifact where the copy is not of the bytes that were embedded
    """
    if fact and (target.is_symlink() or is_the_original(target, original)):
        return fact["digest"]
    digest = file_digest(target)
    if fact and digest != fact["digest"]:
        raise edited(original)
    return digest


def contents(paths: Sequence[str], facts: Sequence[ImageFacts | None]) -> Iterator[tuple[str, bytes | None]]:
    """Each path with the bytes that were embedded, fetched a few ahead in threads; None for files of this machine.

    raises  InputError where one cannot be fetched, StaleArtifact where it has other bytes by now
    """

    def fetch(path: str, fact: ImageFacts | None) -> bytes:
        try:
            content = sources.fetch(path)
        except Unreadable as reason:
            raise InputError(f"{printable(path)}: {reason}", hint=GONE) from reason
        if fact and hashlib.sha256(content).hexdigest() != fact["digest"]:
            raise edited(path)
        return content

    waiting: deque[tuple[str, Future[bytes] | None, int]] = deque()
    held = 0
    with ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch") as pool:
        try:
            for path, fact in zip(paths, facts, strict=True):
                size = 0 if sources.is_local(path) else fact["size"] if fact else UNKNOWN_FILE
                while waiting and (len(waiting) > 2 * FETCHERS or held + size > FETCHED):
                    first, future, freed = waiting.popleft()
                    yield first, future.result() if future else None
                    held -= freed
                held += size
                waiting.append((path, None if sources.is_local(path) else pool.submit(fetch, path, fact), size))
            for first, future, _ in waiting:
                yield first, future.result() if future else None
        finally:
            pool.shutdown(cancel_futures=True)


def write_copy(original: str, content: bytes, target: Path) -> None:
    """A copy of what is no file here; as old as its archive, where it comes from one."""
    target.write_bytes(content)
    status = sources.image_status(original)
    if status:
        set_time(target, status.modified_ns)


def copy(original: str, target: Path) -> None:
    copy_file(original, target)


def hardlink(original: str, target: Path) -> None:
    try:
        os.link(os.path.realpath(original), target)
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EACCES):
            raise
        raise InputError(
            f"{printable(original)} cannot be hard-linked there: {error.strerror}",
            hint="use --link copy or --link symlink",
        ) from error


def symlink(original: str, target: Path) -> None:
    if not os.path.exists(original):
        raise FileNotFoundError(errno.ENOENT, "no such file", original)
    os.symlink(os.path.abspath(original), target)


def cheapest(original: str, target: Path) -> None:
    """A hard link where the disk allows it, else a symbolic link, else a copy."""
    for place in (hardlink, symlink, copy):
        try:
            place(original, target)
            return
        except (InputError, OSError, NotImplementedError) as error:
            if place is copy or isinstance(error, FileNotFoundError):
                raise


PLACERS: dict[str, Callable[[str, Path], None]] = {
    "copy": copy,
    "hardlink": hardlink,
    "symlink": symlink,
    "auto": cheapest,
}


def second_name(first: Path, second: Path, original: str) -> None:
    if first.is_symlink():
        os.symlink(os.path.abspath(original), second)
        return
    try:
        os.link(first, second)
    except OSError:
        copy_file(first, second)


def write_papers(
    new: Path, images: Embeddings, texts: Texts, labels: Refinement, layout: Layout, provenance: Mapping[str, Any]
) -> None:
    """metadata.json, report.txt, and the arrays that made the labels."""
    metadata = describe(images, texts, labels, layout, provenance)
    write_bytes(new / "metadata.json", as_json(metadata))
    write_bytes(new / "report.txt", dataset_report(metadata).encode("utf-8", "backslashreplace"))
    store(new / "class_prototypes.npy", labels.class_prototypes)
    for name in ALIGNMENTS:
        array = getattr(labels, name)
        if array is not None:
            store(new / f"{name}.npy", array)


def provenance_of(
    workspace: Workspace, images: Embeddings, texts: Texts, labels: Refinement, settings: OrganizeSettings
) -> dict[str, Any]:
    """Model, prompts, settings, versions and digests of all that the labels were made from."""
    used = ["embed", "text", *(["cluster"] if labels.micro_cluster_alignment is not None else []), "refine"]
    manifests = {stage: workspace.manifest(stage) or {} for stage in used}
    packages = versions(["annotate-images"])
    for manifest in manifests.values():  # the first to use a package says which
        packages = {**manifest.get("ran_on", {}).get("packages", {}), **packages}
    return {
        "model": images.model,
        "prompts": texts.prompts,
        "temperature": labels.temperature,
        "config": {**{stage: m["config"] for stage, m in manifests.items()}, "organize": asdict(settings)},
        "packages": packages,
        "digests": {
            f"{stage}/{file}": entry["sha256"] for stage, m in manifests.items() for file, entry in m["files"].items()
        },
    }
