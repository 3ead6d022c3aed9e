"""Signs that refinement went wrong, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from annotate.errors import first_few, printable
from annotate.kernels.alignment import mean_entropy
from annotate.kernels.vectors import Floats, Ints
from annotate.records import Iteration, Note

BLURRED = 0.9  # of the entropy of a uniform alignment
NEARLY_ALL = 0.9  # of the images in one class
GAIN = 0.1  # by which a class must have grown for its size to be refinement's doing


def signs_of_blur(alignments: Mapping[str, Floats]) -> list[Note]:
    """An alignment whose rows are all nearly uniform: every class answers for every cluster alike."""
    notes: list[Note] = []
    for name, shares in alignments.items():
        blur = mean_entropy(shares)
        if blur > BLURRED:
            level = name.split("_")[0]
            notes.append(
                {
                    "message": f"the alignment of {level}-clusters is blurred: {100 * blur:.0f} % of chance's entropy",
                    "hint": "lower the temperature (--temperature 0.01), or run `annotate refine --method dynamic`",
                }
            )
    return notes


REMEDIES = {
    "dynamic": "run `annotate refine --method direct`, or keep more of the words: --text-weight-end 0.9",
    "soft": "run `annotate refine --method dynamic`, or --method direct",
    "transductive": "run `annotate refine --method direct`, or ask for other classes",
    "direct": "reword the classes, or give prompts: --prompts FILE.yaml",
}


def signs_of_collapse(
    history: Sequence[Iteration], counts: Ints, class_names: Sequence[str], method: str
) -> list[Note]:
    """Signs of collapse: classes that went empty on the way, or one that holds nearly all."""
    start, end = history[0], history[-1]
    notes: list[Note] = []
    n, largest = int(counts.sum()), class_names[int(counts.argmax())]
    fewest = min(row["active_classes"] for row in history)
    if method == "transductive":
        notes += absent_classes(counts, class_names)
    elif fewest < start["active_classes"]:
        notes.append(
            {
                "message": f"collapse: {start['active_classes']} classes had images at the start, "
                f"{fewest} during refinement, {end['active_classes']} at the end",
                "hint": REMEDIES[method],
            }
        )
    if end["largest_share"] >= NEARLY_ALL and n > len(class_names):
        share = f"'{printable(largest)}' holds {100 * end['largest_share']:.0f} % of the images"
        if end["largest_share"] >= start["largest_share"] + GAIN:
            notes.append(
                {
                    "message": f"collapse: {share}, {100 * start['largest_share']:.0f} % before refinement",
                    "hint": REMEDIES[method],
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


def absent_classes(counts: Ints, class_names: Sequence[str]) -> list[Note]:
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
