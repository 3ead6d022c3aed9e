"""Signs that refinement went wrong, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from annotate.errors import first_few, printable
from annotate.kernels.alignment import mean_entropy
from annotate.kernels.reach import STRANGERS, reach
from annotate.kernels.transduction import FEW, class_size
from annotate.kernels.unfit import Unfit
from annotate.kernels.vectors import Floats, Ints
from annotate.records import EmbeddingRows, Iteration, Note, Texts

JUDGEABLE = 20  # images; with fewer nothing can be said of how they differ
BLURRED = 0.9  # of the entropy of a uniform alignment
NEARLY_ALL = 0.9  # of the images in one class
GAIN = 0.1  # by which a class must have grown for its size to be refinement's doing


def signs_of_mismatch(images: EmbeddingRows, texts: Texts) -> list[Note]:
    """Words that do not match the images: of another model, or of something else altogether."""
    x, t = images.embeddings, texts.text_embeddings
    if len(x) < JUDGEABLE or len(t) < 3:
        return []
    _, deviations = reach(x, t)
    if deviations >= STRANGERS:
        return []
    return [
        {
            "message": "the class names may not describe these images",
            "hint": "check the spelling, or try other names: `annotate refine --classes ...`; "
            "imported texts must be of the model that embedded the images",
        }
    ]


def signs_of_few_images(counts: Ints, hint: str) -> list[Note]:
    """Classes of so few images that these can teach little."""
    images = class_size(counts / counts.sum(), int(counts.sum()))
    if images >= FEW:
        return []
    return [{"message": f"{images:.1f} images a class are too few to learn from", "hint": hint}]


def signs_of_strangers(
    groups: Sequence[Unfit], class_names: Sequence[str], image_paths: Callable[[], Sequence[str]]
) -> list[Note]:
    """Images that look alike and fit none of the names."""
    if not groups:
        return []
    paths = image_paths()
    told = [
        f"{len(group.rows)} labelled '{printable(class_names[group.label])}'"
        + (f" ({printable(os.path.basename(paths[group.rows[0]]))} ...)" if paths else "")
        for group in sorted(groups, key=lambda group: -len(group.rows))
    ]
    images = sum(len(group.rows) for group in groups)
    return [
        {
            "message": f"{images} images look alike and fit none of the names: {first_few(told)}",
            "hint": "name what they show, or put them in a folder of their own: `annotate organize OUTPUT --unknown`",
        }
    ]


def signs_of_renaming(before: Ints, after: Ints, class_names: Sequence[str]) -> list[Note]:
    """Classes whose given images say that they are called otherwise.

    before, after  (N,) labels, by the old names and by the new ones
    """
    pairs, counts = np.unique(np.stack([before, after]), axis=1, return_counts=True)
    moved = [
        (count, f"{count:,} from '{printable(class_names[old])}' to '{printable(class_names[new])}'")
        for old, new, count in zip(*pairs.tolist(), counts.tolist(), strict=True)
        if old != new
    ]
    if not moved:
        return []
    told = [text for _, text in sorted(moved, key=lambda each: -each[0])]
    return [
        {
            "message": f"given labels rename images that look alike: {first_few(told)}",
            "hint": "if you gave only what was wrong, give images picked at random as well",
        }
    ]


def signs_of_approximation(recall: float) -> list[Note]:
    """Neighbours that were looked for in a part of the images."""
    if recall >= 1:
        return []
    return [{"message": f"{100 * recall:.0f} % of the nearest neighbours were found (a sample's)", "hint": ""}]


def signs_of_blur(level: str, shares: Floats | None) -> list[Note]:
    """An alignment whose rows are all nearly uniform: every class answers for every cluster alike."""
    blur = 0.0 if shares is None else mean_entropy(shares)
    if blur <= BLURRED:
        return []
    return [
        {
            "message": f"the alignment of {level} is blurred: {100 * blur:.0f} % of chance's entropy",
            "hint": "lower the temperature (--temperature 0.01), or run `annotate refine --method dynamic`",
        }
    ]


def signs_of_collapse(
    history: Sequence[Iteration], counts: Ints, class_names: Sequence[str], *, remedy: str, emptied: bool = True
) -> list[Note]:
    """Signs of collapse: classes that went empty on the way, or one that holds nearly all.

    emptied  whether a class that goes empty is a sign; in transduction it is how absent names are found
    """
    start, end = history[0], history[-1]
    notes: list[Note] = []
    n, largest = int(counts.sum()), class_names[int(counts.argmax())]
    fewest = min(row["active_classes"] for row in history)
    if emptied and fewest < start["active_classes"]:
        notes.append(
            {
                "message": f"collapse: {start['active_classes']} classes had images at the start, "
                f"{fewest} during refinement, {end['active_classes']} at the end",
                "hint": remedy,
            }
        )
    if end["largest_share"] >= NEARLY_ALL and n > len(class_names):
        share = f"'{printable(largest)}' holds {100 * end['largest_share']:.0f} % of the images"
        if end["largest_share"] >= start["largest_share"] + GAIN:
            notes.append(
                {
                    "message": f"collapse: {share}, {100 * start['largest_share']:.0f} % before refinement",
                    "hint": remedy,
                }
            )
        else:
            notes.append(
                {
                    "message": f"{share}, and did so before refinement",
                    "hint": "if that is not what they show, reword the classes or give prompts: --prompts FILE.yaml",
                }
            )
    return notes


def signs_of_absence(counts: Ints, class_names: Sequence[str]) -> list[Note]:
    """Names that no image was found for: transduction takes their few zero-shot images for strays."""
    absent = [f"'{printable(class_names[k])}'" for k in np.flatnonzero(counts == 0).tolist()]
    if not absent:
        return []
    return [
        {
            "message": f"no image looks like {first_few(absent)}",
            "hint": "if the images show one of them, reword it, give --prompts FILE.yaml, or try --method direct",
        }
    ]
