"""A folder per split, in it a folder per class: torchvision's ImageFolder, Keras' image_dataset_from_directory."""

from __future__ import annotations

from collections.abc import Iterator

from annotate.exports.catalogue import UNLABELLED, Catalogue, Entry
from annotate.exports.formats import Format, Paper


def place(catalogue: Catalogue, entry: Entry) -> str:
    if entry.label is None:
        return f"{UNLABELLED}/{entry.name}"
    return f"{entry.part}/{catalogue.folders[entry.label]}/{entry.name}"


def papers(catalogue: Catalogue) -> Iterator[Paper]:
    return iter(())


def loading(catalogue: Catalogue) -> str:
    return (
        "import json; from torchvision.datasets import ImageFolder\n"
        'ids = {c["folder"]: c["id"] for c in json.load(open("classes.json"))}\n'
        'train = ImageFolder("train"); train.target_transform = lambda i: ids[train.classes[i]]'
    )


def traps(catalogue: Catalogue) -> list[str]:
    return [
        "A loader numbers the folders that it finds by their alphabet. The last line above turns that into the class "
        "ids of this export."
    ]


FORMAT = Format(
    "imagefolder",
    "A folder per split, in it a folder per class, as torchvision's ImageFolder and Keras read it.",
    place,
    papers,
    loading,
    traps,
)
