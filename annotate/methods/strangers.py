"""Images that fit none of the names, whatever method labelled them.

Where the model has read common names, an image is a stranger that these explain better (kernels/strangers.py). Where it
has not, groups of strangers are found by how their images lie among the labelled ones (kernels/unfit.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from annotate.kernels.strangers import explained, groups_by_look, other_than, strange_rows
from annotate.kernels.unfit import SMALLEST_GROUP, unfit_groups
from annotate.kernels.vectors import Floats, Ints
from annotate.methods.material import Material
from annotate.methods.signs import signs_of_strangers
from annotate.records import Refinement

SEARCHED = 50_000  # images up to which strangers are looked for; it takes seconds there
FEWEST_OTHERS = 50  # common names that have to be left, beside those that are near to the user's


@dataclass(frozen=True)
class Background:
    """Common names as the model reads them, those that say the same as a class name left out.

    names    W
    rows     (W, D) float32 unit rows
    kinds    (any, D) of names narrower than a class: what fits them fits the class
    tells    whether this model's fit tells strangers apart; else images are only put in order by it
    """

    names: Sequence[str]
    rows: Floats
    kinds: Floats
    tells: bool


def with_strangers(
    made: Refinement, material: Material, background: Background | None, neighbours: Any | None
) -> Refinement:
    """The same labels, with how well each image fits the names and which fit none of them.

    neighbours  of methods that have them
    """
    n = len(made.labels)
    if n > SEARCHED or not n:
        return made
    own, other = material.texts.text_embeddings, np.zeros(0, np.int64)
    if background:
        own = np.concatenate([own, background.kinds])
        other = np.flatnonzero(other_than(background.rows, own))
    if background and len(other) >= FEWEST_OTHERS:
        made = by_common_names(made, material, background, own, other)
    elif neighbours is not None and not material.kept:
        made = by_groups(made, material, neighbours)
    made.notes.extend(signs_of_strangers(made, material.texts.class_names, material.image_paths))
    return made


def by_common_names(
    made: Refinement, material: Material, background: Background, own: Floats, other: Ints
) -> Refinement:
    """By common names that explain an image better.

    own    (any, D) the class names and those narrower
    other  rows of the background that are far from all of them
    """
    scale = material.images.model["logit_scale"]
    found = explained(material.images.embeddings, own, background.rows[other], logit_scale=scale)
    if not background.tells:
        return replace(made, fit=found.fit)
    rows = strange_rows(found.margins)
    rows = rows[~made.answered[rows]]  # an image whose class somebody gave fits it
    numbers = np.full(len(made.labels), -1, np.int64)
    numbers[rows], words = groups_by_look(found.likely[rows])
    looks = [different([background.names[other[word]] for word in group]) for group in words]
    return replace(made, fit=found.fit, strangers=numbers, looks_like=looks)


def different(names: Sequence[str]) -> list[str]:
    """The names, each once however it is written."""
    return list({name.lower().replace("_", " "): name for name in reversed(names)}.values())[::-1]


def by_groups(made: Refinement, material: Material, neighbours: Any) -> Refinement:
    x, t = material.images.embeddings, material.texts.text_embeddings
    scale = material.images.model["logit_scale"]
    groups = [found.rows for found in unfit_groups(x, t, made.labels, neighbours.graph, logit_scale=scale)]
    groups = [rows[~made.answered[rows]] for rows in groups]
    numbers = np.full(len(made.labels), -1, np.int64)
    for number, rows in enumerate(rows for rows in groups if len(rows) >= SMALLEST_GROUP):
        numbers[rows] = number
    return replace(made, strangers=numbers)
