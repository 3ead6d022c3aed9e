"""FiftyOne's own layout for classes: in each split a folder `data` and a labels.json by the names without endings."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from annotate.exports.catalogue import Catalogue, Entry
from annotate.exports.formats import Format, Paper
from annotate.exports.pieces import json_text


def place(catalogue: Catalogue, entry: Entry) -> str:
    return f"{entry.part}/data/{entry.name}"


def papers(catalogue: Catalogue) -> Iterator[Paper]:
    for part in catalogue.parts:
        yield f"{part}/labels.json", document(catalogue, catalogue.of(part))


def document(catalogue: Catalogue, entries: list[Entry]) -> Iterator[bytes]:
    yield b'{"classes": ' + json_text(list(catalogue.class_names)) + b',\n"labels": {'
    between = b"\n"
    for entry in entries:
        yield between + json_text(os.path.splitext(entry.name)[0]) + b": " + json_text(target(entry))
        between = b",\n"
    yield b"\n}}\n"


def target(entry: Entry) -> Any:
    """The class id; with the confidence where annotate gave the class; nothing for an image without one."""
    return entry.label if entry.sure is None else {"label": entry.label, "confidence": entry.sure}


def loading(catalogue: Catalogue) -> str:
    kind = "fo.types.FiftyOneImageClassificationDataset"
    return (
        f'import fiftyone as fo; dataset = fo.Dataset("export", persistent=True)\n'
        f"for split in {catalogue.parts!r}:\n"
        f"    dataset.add_dir(dataset_dir=split, dataset_type={kind}, tags=split)"
    )


def traps(catalogue: Catalogue) -> list[str]:
    return ["A split becomes a tag. Images without a class have no label there."]


FORMAT = Format(
    "fiftyone",
    "A folder per split with FiftyOne's labels.json, which becomes a tag there.",
    place,
    papers,
    loading,
    traps,
)
