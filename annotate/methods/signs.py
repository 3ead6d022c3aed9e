"""Warnings after refinement: what may have gone wrong, and what the user can do about it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

from annotate.errors import first_few, printable
from annotate.kernels.alignment import mean_entropy
from annotate.kernels.reach import STRANGERS, reach
from annotate.kernels.transduction import FEW, class_size
from annotate.kernels.vectors import Floats, Ints
from annotate.records import EmbeddingRows, Iteration, Note, Refinement, Texts

JUDGEABLE = 20  # images; with fewer nothing can be said of how they differ
BLURRED = 0.9  # share of the entropy of an even split, above which a cluster tells classes apart no more
NEARLY_ALL = 0.9  # share of the images in one class that is worth a warning
GAIN = 0.1  # by which a class must have grown for its size to be refinement's doing


def signs_of_mismatch(images: EmbeddingRows, texts: Texts) -> list[Note]:
    """Warn where the class names do not seem to describe the images (kernels/reach.py says how that is measured)."""
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
            "imported texts must come from the model that embedded the images",
        }
    ]


def signs_of_few_images(counts: Ints, hint: str) -> list[Note]:
    """Warn where each class has so few images that little can be learned from them."""
    images = class_size(counts / counts.sum(), int(counts.sum()))
    if images >= FEW:
        return []
    return [{"message": f"there are about {images:.1f} images for each class, too few to learn from", "hint": hint}]


def signs_of_strangers(
    made: Refinement, class_names: Sequence[str], image_paths: Callable[[], Sequence[str]]
) -> list[Note]:
    """Warn of images that fit none of the class names (kernels/strangers.py; kernels/unfit.py)."""
    if made.strangers is None or not made.strange.any():
        return []
    count, paths = int(made.strange.sum()), image_paths()
    groups = [np.flatnonzero(made.strangers == g) for g in range(int(made.strangers.max()) + 1)]
    listed = []
    for group, rows in enumerate(groups):
        if made.looks_like:
            listed.append(f"{len(rows):,} like '{printable(made.looks_like[group][0])}'")
        else:
            label = class_names[int(np.bincount(made.labels[rows]).argmax())]
            first = f" ({printable(os.path.basename(paths[rows[0]]))} ...)" if paths else ""
            listed.append(f"{len(rows):,} labelled '{printable(label)}'{first}")
    fit = "image fits" if count == 1 else "images fit"
    apart = "put them aside with `annotate organize OUTPUT --unknown apart`"
    more = "name what they show with `annotate refine --add-classes`" if made.looks_like else "add a class for them"
    return [{"message": f"{count:,} {fit} none of the class names: {first_few(listed)}", "hint": f"{apart}, or {more}"}]


def signs_of_approximation(recall: float) -> list[Note]:
    """Tell how many of the nearest neighbours were found where not all images were compared with all."""
    if recall >= 1:
        return []
    found = f"{100 * recall:.0f} % of the nearest neighbours were found, measured on a sample"
    return [{"message": f"with so many images, neighbours are searched only nearby: {found}", "hint": ""}]


def signs_of_blur(level: str, shares: Floats | None) -> list[Note]:
    """Warn where every cluster belongs to all classes nearly alike, so that clusters cannot help to label."""
    blur = 0.0 if shares is None else mean_entropy(shares)
    if blur <= BLURRED:
        return []
    return [
        {
            "message": f"the {level} hardly tell the classes apart: each is shared among the classes, "
            f"{100 * blur:.0f} % as evenly as by chance",
            "hint": "lower the temperature (--temperature 0.01), or run `annotate refine --method dynamic`",
        }
    ]


def signs_of_collapse(
    history: Sequence[Iteration], counts: Ints, class_names: Sequence[str], *, remedy: str, emptied: bool = True
) -> list[Note]:
    """Warn where classes lost all their images during refinement, or one class has nearly all images.

    emptied  whether a class that goes empty is a sign; in transduction it is how absent names are found
    """
    start, end = history[0], history[-1]
    notes: list[Note] = []
    n, largest = int(counts.sum()), class_names[int(counts.argmax())]
    fewest = min(row["active_classes"] for row in history)
    if emptied and fewest < start["active_classes"]:
        notes.append(
            {
                "message": f"classes lost all their images: {start['active_classes']} had some at the start, "
                f"{fewest} during refinement, {end['active_classes']} at the end",
                "hint": remedy,
            }
        )
    if end["largest_share"] >= NEARLY_ALL and n > len(class_names):
        share = f"'{printable(largest)}' has {100 * end['largest_share']:.0f} % of the images"
        if end["largest_share"] >= start["largest_share"] + GAIN:
            notes.append(
                {
                    "message": f"nearly all images went to one class: {share}, "
                    f"{100 * start['largest_share']:.0f} % before refinement",
                    "hint": remedy,
                }
            )
        else:
            notes.append(
                {
                    "message": f"{share}, and had about as many before refinement",
                    "hint": "if that is not what they show, reword the classes or give prompts: --prompts FILE.yaml",
                }
            )
    return notes


def signs_of_absence(counts: Ints, class_names: Sequence[str]) -> list[Note]:
    """Tell which class names no image was found for."""
    absent = [f"'{printable(class_names[k])}'" for k in np.flatnonzero(counts == 0).tolist()]
    if not absent:
        return []
    return [
        {
            "message": f"no image looks like {first_few(absent)}",
            "hint": "if the images show one of them, reword it, give --prompts FILE.yaml, or try --method direct",
        }
    ]
