"""Ultralytics' layout for classifiers: train, val and test, in each a folder for every class."""

from __future__ import annotations

from annotate.exports.catalogue import UNLABELLED, Catalogue
from annotate.exports.formats import Format
from annotate.exports.formats.imagefolder import papers, place


def folders(catalogue: Catalogue) -> list[str]:
    """One for every class in every split, so that a class has the same number in all of them."""
    return [f"{part}/{folder}" for part in catalogue.parts if part != UNLABELLED for folder in catalogue.folders]


def loading(catalogue: Catalogue) -> str:
    return (
        "from ultralytics import YOLO\n"
        'model = YOLO("yolo11n-cls.pt")\n'
        'model.train(data=".", epochs=10)  # from this folder'
    )


def traps(catalogue: Catalogue) -> list[str]:
    said = [
        "Ultralytics numbers the folders by their alphabet: `model.names` has those numbers. classes.json has the "
        "class id of each folder.",
    ]
    if "val" not in catalogue.parts:
        said.append("There is no `val` folder, and Ultralytics needs one: export again with `--splits 80,20,0`.")
    return said


FORMAT = Format(
    "yolo-classify",
    "A folder per split, in it a folder for every class, as Ultralytics reads it to train a classifier.",
    place,
    papers,
    loading,
    traps,
    folders,
)
