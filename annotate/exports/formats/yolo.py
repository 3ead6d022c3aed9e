"""Ultralytics' layout for detectors: images/SPLIT, labels/SPLIT with a text file per image, and data.yaml."""

from __future__ import annotations

from annotate.exports.boxes import yolo
from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format


def place(catalogue: Catalogue, entry: Entry) -> str:
    return f"images/{entry.part}/{entry.name}"


def loading(catalogue: Catalogue) -> str:
    return (
        "from ultralytics import YOLO\n"
        'model = YOLO("yolo11n.pt")\n'
        'model.train(data="data.yaml", epochs=50)  # from this folder'
    )


def traps(catalogue: Catalogue) -> list[str]:
    said = ["Numbers of classes are class ids. An empty label file says that there is nothing on the image."]
    if "val" not in catalogue.parts:
        said.append("There is no split `val`, and Ultralytics needs one: data.yaml names the images of training.")
    return said


FORMAT = Format(
    "yolo",
    "Images and label files per split with data.yaml, as Ultralytics reads them to train a detector.",
    place,
    lambda catalogue: yolo.write(catalogue.boxed, catalogue.class_names),
    loading,
    traps,
    measures=True,
    boxes_only=True,
)
