"""Photographs of known classes, embedded by the built-in model and kept, so that each benchmark need not do it again.

Of `cifar10.zip`, `sign-language-digits.zip`, `groceries.zip` and `clothing.zip` the images are taken that nobody
trained on. What is kept belongs to the digest of the model: another model embeds them anew.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import annotate
from annotate.classes.prompts import NUMBER_WORDS
from annotate.kernels.vectors import unit
from annotate.workspace import Workspace
from benchmarks.cases import Case


def of_no_training(path: str) -> bool:
    """Whether a file is in the fifth that is held out: the digest of its path is divisible by five."""
    return int(hashlib.sha256(path.encode()).hexdigest(), 16) % 5 == 0


def in_test(path: str) -> bool:
    return path.startswith("test/") or "/test/" in path


@dataclass(frozen=True)
class ImageSet:
    """An archive of images, each in the folder of its class.

    chosen  whether a member belongs to the part that is measured on
    """

    name: str
    title: str
    chosen: Callable[[str], bool]


SETS = (
    ImageSet("sign-language-digits", "hand signs", of_no_training),
    ImageSet("groceries", "groceries", in_test),
    ImageSet("clothing", "clothing", of_no_training),
)
CIFAR = ImageSet("cifar10", "CIFAR-10", in_test)


def paths_of(image_set: ImageSet, data: Path) -> list[str]:
    """The members that are measured on, in order."""
    with zipfile.ZipFile(data / f"{image_set.name}.zip") as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
    return sorted(name for name in names if image_set.chosen(name))


def embedded(image_set: ImageSet, data: Path, kept: Path, model: str = "tiny") -> tuple[Case, list[str]]:
    """The set as a case, and the path of each of its images in the archive.

    kept  folder for images and embeddings, which are made there once for each model
    """
    paths = paths_of(image_set, data)
    place = kept / image_set.name
    with zipfile.ZipFile(data / f"{image_set.name}.zip") as archive:
        for path in paths:
            if not (place / "images" / path).exists():
                archive.extract(path, place / "images")
    classes = sorted({Path(path).parent.name for path in paths})
    names = [NUMBER_WORDS[int(name)] for name in classes] if image_set.name == "sign-language-digits" else classes
    workspace = place / model.replace("/", "-")
    images = annotate.embed(place / "images", workspace=workspace, model=model)
    texts = annotate.embed_text(names, workspace=workspace, settings={"embed.model": model})
    row_of = {Path(path).relative_to(place / "images").as_posix(): row for row, path in enumerate(images.image_paths)}
    rows = np.array([row_of[path] for path in paths if path in row_of])
    there = [path for path in paths if path in row_of]
    truth = np.array([classes.index(Path(path).parent.name) for path in there])
    case = Case(
        image_set.title,
        0,
        unit(np.asarray(images.embeddings[rows], np.float32)),
        texts.text_embeddings,
        truth,
        images.model["logit_scale"],
    )
    return case, there


def class_names(image_set: ImageSet, kept: Path, model: str = "tiny") -> list[str]:
    """The classes of a set that is embedded."""
    from annotate.records import Texts

    return Workspace(kept / image_set.name / model.replace("/", "-")).read(Texts).class_names
