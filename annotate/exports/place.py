"""Where a dataset may go: apart from images and workspace, with room for what it holds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from annotate import sources
from annotate.errors import Hint, InputError, StorageError, printable
from annotate.records import Embeddings
from annotate.sources.own import made_by

DISK_BLOCK = 4096  # bytes; what a small file takes on most disks


def check_place(output: Path, images: str | Path | None, workspace: Path) -> None:
    """Refuse an output folder that lies in the images or the other way round, or in the workspace."""
    place = Path(os.path.realpath(output))
    shown = printable(output)
    if output.exists() and not output.is_dir():
        raise InputError(f"{shown}: a file, not a folder", hint="name a folder for the dataset")
    if output.is_symlink():
        raise InputError(f"{shown}: a link to another folder", hint="name the folder itself")
    root = Path(os.path.realpath(workspace))
    if place == root or place in root.parents or root in place.parents:
        raise InputError(
            f"{shown} and the workspace {printable(workspace)} lie in each other", hint="use separate folders"
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


def check_linkable(images: Embeddings, link: str) -> None:
    """raises  InputError where links are asked for, and an image is no file that a link could lead to"""
    if link not in ("hardlink", "symlink"):
        return
    unlinkable = next((path for path in images.image_paths if not sources.is_local(path)), None)
    if unlinkable:
        where = "an address" if sources.is_url(unlinkable) else "in an archive"
        raise InputError(
            f"{printable(unlinkable)} is {where}: there is no file to link to",
            hint=Hint("copy the images instead of linking them", "use --link copy or --link auto"),
        )


def check_room(images: Embeddings, output: Path, link: str) -> None:
    if link not in ("copy", "auto"):
        return
    need = sum(
        -(-fact["size"] // DISK_BLOCK) * DISK_BLOCK
        for fact, path in zip(images.images, images.image_paths, strict=True)
        if fact and (link == "copy" or not sources.is_local(path))
    )
    free = shutil.disk_usage(nearest_folder(output)).free
    if need > free:
        raise StorageError(
            f"{printable(output)}: copies need {need / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free",
            hint=Hint(
                "link the images instead of copying them, or use another disk",
                "use --link auto, hardlink or symlink, or another disk",
            ),
        )


def nearest_folder(path: Path) -> Path:
    """The path, or the first folder above it that exists."""
    path = Path(os.path.abspath(path))
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
