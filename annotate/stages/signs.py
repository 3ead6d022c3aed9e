"""Signs that refinement went wrong, and what to do."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from annotate.errors import first_few, printable
from annotate.kernels.alignment import mean_entropy
from annotate.kernels.prototypes import Pass
from annotate.kernels.reach import STRANGERS, reach
from annotate.kernels.transduction import FEW, class_size
from annotate.kernels.unfit import Unfit
from annotate.kernels.vectors import Floats, Ints
from annotate.records import EmbeddingRows, Iteration, Note, Texts

JUDGEABLE = 20  # images; with fewer nothing can be said of how they differ
BLURRED = 0.9  # of the entropy of a uniform alignment
NEARLY_ALL = 0.9  # of the images in one class
GAIN = 0.1  # by which a class must have grown for its size to be refinement's doing


def signs_of(
    images: EmbeddingRows,
    texts: Texts,
    method: str,
    history: Sequence[Iteration],
    last: Pass,
    labels: Ints,
    alignments: Mapping[str, Floats],
    recall: float,
) -> list[Note]:
    """All that a user should know of a refinement before trusting it.

    last    the pass as it was found
    labels  (N,) in the end, some of them given or renamed by given ones
    """
    borne = last.counts + np.bincount(labels, minlength=len(last.counts))
    return [
        *signs_of_odds(images, texts),
        *signs_of_scarcity(last.counts, method),
        *signs_of_blur(alignments),
        *(signs_of_absence(borne, texts.class_names) if method == "transductive" else []),
        *signs_of_collapse(history, last.counts, texts.class_names, method),
        *signs_of_haste(recall),
    ]


def signs_of_odds(images: EmbeddingRows, texts: Texts) -> list[Note]:
    """Words that do not match the images: of another model, or of something else altogether."""
    x, t = images.embeddings, texts.text_embeddings
    if len(x) < JUDGEABLE or len(t) < 3:
        return []
    ratio, deviations = reach(x, t)
    if deviations >= STRANGERS:
        return []
    return [
        {
            "message": f"words and images are at odds: the images differ {ratio:.1f} times as much along the words as "
            "along directions taken at random",
            "hint": "see that the names are of what the images show, and that one model embedded both",
        }
    ]


def signs_of_scarcity(counts: Ints, method: str) -> list[Note]:
    """Classes of so few images that these can teach little."""
    images = class_size(counts / counts.sum(), int(counts.sum()))
    if images >= FEW or method == "direct":
        return []
    hint = "add images, or ask for fewer classes"
    if method != "transductive":
        hint = "try --method transductive, which lets the words decide where images are few"
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


def signs_of_renaming(found: Pass, named: Pass, class_names: Sequence[str]) -> list[Note]:
    """Classes whose given images say that they are called otherwise, before and after they were renamed."""
    if found.known is None or named.known is None or found is named:
        return []
    pairs, counts = np.unique(np.stack([found.known.labels, named.known.labels]), axis=1, return_counts=True)
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


def signs_of_haste(recall: float) -> list[Note]:
    """Neighbours that were looked for in a part of the images."""
    if recall >= 1:
        return []
    return [{"message": f"{100 * recall:.0f} % of the nearest neighbours were found (a sample's)", "hint": ""}]


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
    if method != "transductive" and fewest < start["active_classes"]:
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
