"""organize: labels become folders, with metadata and splits, ready to train on.

The folder is built beside its place and swapped in whole. Images are copied or linked, never moved; a folder
is replaced only if annotate made it, nobody changed it, and every image in it still exists elsewhere.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from annotate.config import Config, OrganizeSettings
from annotate.datasets import check_replaceable, claimed, replacing, seal, stale
from annotate.digests import file_digest
from annotate.errors import InputError, StaleArtifact, StorageError, printable
from annotate.folders import distinct, folder_names
from annotate.kernels.splits import SPLITS, split
from annotate.metadata import NO_SPLIT, UNKNOWN_FOLDER, Layout, describe, in_words
from annotate.progress import Progress, Silent
from annotate.records import Embeddings, Note, Organized, Refinement, Texts
from annotate.stages import this_machine
from annotate.stages.refine import read_labelled
from annotate.workspace import MANIFEST, Plan, Workspace, as_json, json_text, store, write_bytes

VERSION = 1
GONE = "put it back, or run `annotate embed` again without it"
BLOCK = 4096  # bytes; what a small file takes on most disks
NOT_SEARCHED: Note = {
    "message": "nobody looked for images that fit none of the names: all go to their likeliest class",
    "hint": "run `annotate refine --method transductive` first; it looks among up to 50,000 images",
}
OWN_NAMES = ("splits", "metadata.json", "report.txt", "class_prototypes.npy", MANIFEST)
ALIGNMENTS = ("micro_cluster_alignment", "meta_cluster_alignment")


def organize(
    workspace: Workspace,
    output: Path,
    config: Config,
    *,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Organized:
    """Write the dataset to a folder of its own.

    dry_run  make the plan and touch nothing
    raises   InputError where the folder holds anything that annotate cannot answer for, StorageError where
             there is no room
    """
    progress = progress or Silent()
    with workspace.lock():
        workspace.check_ours("organize")
        images, texts, labels = read_labelled(workspace)
        settings = config.resolve(len(images.embeddings)).organize
        check_place(output, Path(images.folder) if images.folder else None, workspace)
        if settings.unknown == "apart" and labels.unfit is None:
            progress.note(NOT_SEARCHED)
        layout = lay_out(images, texts, labels, settings)
        outcome = Organized(
            os.path.abspath(output), len(layout.places), layout.counts, settings.link, layout.split_counts
        )
        plan = Plan(
            "organize",
            VERSION,
            asdict(settings) | {"output": json_text(os.path.abspath(output))},
            {
                **workspace.digests("embed", "embeddings.npy", "image_paths.txt", "images.json"),
                **workspace.digests("text"),
                **workspace.digests("refine"),
            },
        )
        if dry_run:
            check_replaceable(output, images)
            return outcome
        with claimed(output):
            why = stale(plan, output)
            if not why and not force:
                progress.fresh("organize")
                os.utime(output / MANIFEST)
            else:
                check_replaceable(output, images)
                check_unchanged(images)
                check_room(images, output, settings)
                progress.started("organize", why or "forced")
                provenance = provenance_of(workspace, images, texts, labels, settings)
                with replacing(output, images) as new:
                    made = write_images(images, layout, settings, new, progress)
                    write_papers(new, images, texts, labels, layout, provenance)
                    seal(new, plan, made)
            if not workspace.state(plan).fresh or force:
                workspace.publish(plan, outcome, ran_on=this_machine())
        return outcome


# -- where it may go -----------------------------------------------------------------------------------


def check_place(output: Path, images: Path | None, workspace: Workspace) -> None:
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
    if images is None:
        return
    source = Path(os.path.realpath(images))
    if place == source or source in place.parents:
        raise InputError(f"{shown} lies in the folder of images", hint="write the dataset to a folder beside it")
    if place in source.parents:
        raise InputError(f"{shown} holds the folder of images", hint="write the dataset to a folder beside it")


def check_unchanged(images: Embeddings) -> None:
    """Every image must be the one that was embedded: its label is of those bytes.

    raises  InputError where one is gone, StaleArtifact where one was edited since
    """
    for path, fact in zip(images.image_paths, images.images, strict=True):
        try:
            status = os.stat(path)
        except FileNotFoundError:
            raise InputError(f"{printable(path)} is gone", hint=GONE) from None
        if fact is None or (status.st_size, status.st_mtime_ns) == (fact["size"], fact["modified_ns"]):
            continue
        if file_digest(Path(path)) != fact["digest"]:
            raise StaleArtifact(
                f"{printable(path)} was edited since it was embedded",
                hint="run `annotate embed` and `annotate refine` again",
            )


def check_room(images: Embeddings, output: Path, settings: OrganizeSettings) -> None:
    if settings.link != "copy":
        return
    need = sum(-(-fact["size"] // BLOCK) * BLOCK for fact in images.images if fact)
    free = shutil.disk_usage(nearest_folder(output)).free
    if need > free:
        raise StorageError(
            f"{printable(output)}: copies need {need / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            hint="use --link hardlink or --link symlink, or another disk",
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
        places.append(f"{folders[folder]}/{distinct(os.path.basename(path) or 'image', used[folder])}")
    keys = [fact["digest"] if fact else path for fact, path in zip(images.images, images.image_paths, strict=True)]
    splits = split(keys, chosen, settings.splits, settings.seed)
    if strange is not None:
        splits[strange] = NO_SPLIT
    return Layout(folders, chosen, places, splits)


def write_images(
    images: Embeddings, layout: Layout, settings: OrganizeSettings, new: Path, progress: Progress
) -> dict[str, str]:
    """Put every image in its class and in its split; returns path in the output to original path.

    Within the output, a split's file is a second name of the class's file where the disk allows it.
    """
    place = PLACERS[settings.link]
    made: dict[str, str] = {}
    for folder in layout.folders:
        (new / folder).mkdir(exist_ok=True)
    for folder in layout.class_folders:
        for name in SPLITS:
            (new / "splits" / name / folder).mkdir(parents=True, exist_ok=True)
    with progress.steps("organizing", len(layout.places), "images") as advance:
        for original, target, part in zip(images.image_paths, layout.places, layout.splits.tolist(), strict=True):
            in_split = None if part == NO_SPLIT else f"splits/{SPLITS[part]}/{target}"
            try:
                place(original, new / target)
                if in_split:
                    second_name(new / target, new / in_split, original)
            except FileNotFoundError:
                if os.path.exists(original):
                    raise
                raise InputError(f"{printable(original)} is gone", hint=GONE) from None
            made |= {name: original for name in (target, in_split) if name}
            advance(1)
    return made


def copy(original: str, target: Path) -> None:
    shutil.copy2(original, target)


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
        shutil.copy2(first, second)


def write_papers(
    new: Path, images: Embeddings, texts: Texts, labels: Refinement, layout: Layout, provenance: Mapping[str, Any]
) -> None:
    """metadata.json, report.txt, and the arrays that made the labels."""
    metadata = describe(images, texts, labels, layout, provenance)
    write_bytes(new / "metadata.json", as_json(metadata))
    write_bytes(new / "report.txt", in_words(metadata).encode("utf-8", "backslashreplace"))
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
    return {
        "model": images.model,
        "prompts": texts.prompts,
        "temperature": labels.temperature,
        "config": {**{stage: m["config"] for stage, m in manifests.items()}, "organize": asdict(settings)},
        "packages": this_machine()["packages"],
        "digests": {
            f"{stage}/{file}": entry["sha256"] for stage, m in manifests.items() for file, entry in m["files"].items()
        },
    }
