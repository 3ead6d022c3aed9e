"""Hugging Face datasets: `data/SPLIT/` with images and metadata.jsonl, and a card that says the order of classes.

Metadata is JSON Lines: in a CSV a class called 7, NA or true would become something else. Where there is metadata,
`datasets` takes no labels from folders.
"""

from __future__ import annotations

from collections.abc import Iterator

from annotate.exports.boxes import hf
from annotate.exports.catalogue import UNLABELLED, Catalogue, Entry
from annotate.exports.formats import Format, Paper
from annotate.exports.pieces import json_line, yaml_text


def place(catalogue: Catalogue, entry: Entry) -> str:
    return f"data/{entry.part}/{entry.name}"


def papers(catalogue: Catalogue) -> Iterator[Paper]:
    for part in catalogue.parts:
        yield f"data/{part}/metadata.jsonl", (row(entry) for entry in catalogue.of(part))


def row(entry: Entry) -> bytes:
    """Every value has its type in every split, or `datasets` refuses the whole: -1 is its word for no label."""
    answered = 1.0 if entry.answer is not None else 0.0
    return json_line(
        {
            "file_name": entry.name,
            "label": -1 if entry.label is None else entry.label,
            "confidence": answered if entry.sure is None else float(entry.sure),
            "said_by": entry.said_by,
        }
    )


def card(catalogue: Catalogue, task: str = "image-classification") -> str:
    """The YAML that a card begins with; quotes keep names such as `no`, `1` and `yes` what they are.

    Features are said twice: the loader reads those of `configs`, the pages of the hub those of `dataset_info`.
    """
    parts = [part for part in catalogue.parts if catalogue.boxes is None or part != UNLABELLED]
    files = "\n".join(f"      - split: {part}\n        path: data/{part}/**" for part in parts)
    return f"""---
task_categories:
  - {task}
configs:
  - config_name: default
    data_files:
{files}
    features:
{features(catalogue, "      ")}
dataset_info:
  features:
{features(catalogue, "    ")}
---

"""


def features(catalogue: Catalogue, indent: str) -> str:
    """The columns and their types in YAML, the classes in the user's order."""
    if catalogue.boxes is not None:
        return hf.features(catalogue.class_names, indent)
    names = [f"      '{k}': {yaml_text(name)}" for k, name in enumerate(catalogue.class_names)]
    lines = [
        "- name: image",
        "  dtype: image",
        "- name: label",
        "  dtype:",
        "    class_label:",
        "      names:",
        *(f"  {line}" for line in names),
        "- name: confidence",
        "  dtype: float64",
        "- name: said_by",
        "  dtype: string",
    ]
    return "\n".join(indent + line for line in lines)


def first_part(catalogue: Catalogue) -> str:
    return catalogue.parts[0] if catalogue.parts else "train"


def loading(catalogue: Catalogue) -> str:
    part = first_part(catalogue)
    return (
        "import os; from datasets import load_dataset\n"
        "dataset = load_dataset(os.getcwd())  # from this folder\n"
        f'example = dataset["{part}"][0]; name = dataset["{part}"].features["label"].int2str(example["label"])'
    )


def traps(catalogue: Catalogue) -> list[str]:
    return [
        "Labels are class ids. The card at the top of this file says their names; do not take it out.",
        "Label -1 is an image without a class. A class that a person gave has confidence 1.",
    ]


def boxes_traps(catalogue: Catalogue) -> list[str]:
    said = ["Categories are class ids. The card at the top of this file says their names."]
    with_boxes = {image.part for image in catalogue.boxed if image.boxes}
    bare = [part for part in catalogue.parts if part not in with_boxes and part != UNLABELLED]
    if bare:
        said.append(f"No image of `{bare[0]}` has a box, and `datasets` cannot read such a split: export other splits.")
    return said


FORMAT = Format(
    "hf",
    "A folder of images per split with metadata.jsonl, as Hugging Face `datasets` reads it, and a card.",
    place,
    papers,
    loading,
    traps,
    card=card,
    boxes=Format(
        "hf",
        "A folder of images per split with metadata.jsonl and boxes, as Hugging Face `datasets` reads it, and a card.",
        place,
        lambda catalogue: hf.write(catalogue.boxed, catalogue.class_names),
        lambda catalogue: (
            "import os; from datasets import load_dataset\n"
            "dataset = load_dataset(os.getcwd())  # from this folder\n"
            f'example = dataset["{first_part(catalogue)}"][0]["objects"]  # bbox as x, y, width, height; categories'
        ),
        boxes_traps,
        measures=True,
        card=lambda catalogue: card(catalogue, "object-detection"),
    ),
)
