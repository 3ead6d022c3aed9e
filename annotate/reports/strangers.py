"""Images that fit none of the names, as a report tells of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from annotate.errors import printable
from annotate.kernels.vectors import Ints
from annotate.records import Embeddings, Refinement
from annotate.reports.columns import NAME_WIDTH, fixed_width, more, section, wrapped

SHOWN_GROUPS = 12  # on a page; report.json has all
SHOWN_IMAGES = 12  # least fitting first, in a text


def strangers_of(
    images: Embeddings, refinement: Refinement, names: Sequence[str], *, least_fitting: int
) -> dict[str, Any] | None:
    """The images that fit none of the names, and the least fitting of all; null where nobody looked.

    told  whether it is known which images fit none: some models only put images in order
    """
    if refinement.strangers is None and refinement.fit is None:
        return None
    strange = refinement.strange
    counts = np.bincount(refinement.labels[strange], minlength=len(names)).tolist()
    return {
        "told": refinement.strangers is not None,
        "images": int(strange.sum()),
        "groups": groups_of(images, refinement),
        "per_class": {name: count for name, count in zip(names, counts, strict=True) if count},
        "least_fitting": [
            {"path": images.image_paths[i], "label": names[refinement.labels[i]], "fit": float(refinement.fit[i])}
            for i in least_fitting_rows(refinement)[:least_fitting].tolist()
        ]
        if refinement.fit is not None
        else [],
    }


def groups_of(images: Embeddings, refinement: Refinement) -> list[dict[str, Any]]:
    return [
        {
            "images": len(rows),
            "looks_like": refinement.looks_like[group] if refinement.looks_like else [],
            "first": images.image_paths[rows[0]],
        }
        for group, rows in enumerate(rows_of_groups(refinement))
    ]


def rows_of_groups(refinement: Refinement) -> list[Ints]:
    """The images of each group of strangers, the least fitting first."""
    if refinement.strangers is None or not refinement.strange.any():
        return []
    found = [np.flatnonzero(refinement.strangers == group) for group in range(int(refinement.strangers.max()) + 1)]
    if refinement.fit is None:
        return found
    return [rows[np.argsort(refinement.fit[rows], kind="stable")] for rows in found]


def least_fitting_rows(refinement: Refinement) -> Ints:
    """All images, those that the names explain least first; none whose class somebody gave."""
    if refinement.fit is None:
        return np.empty(0, np.int64)
    order = np.argsort(refinement.fit, kind="stable")
    return order[~refinement.answered[order]]


def strangers_section(summary: Mapping[str, Any]) -> list[str]:
    """The part of report.txt."""
    found = summary["strangers"]
    if not found or (found["told"] and not found["images"]):
        return []
    if not found["told"]:
        lines = [*section("Least fitting first"), *wrapped(NOT_TOLD, indent=2)]
        rows = found["least_fitting"]
        for row in rows[:SHOWN_IMAGES]:
            lines += [f"  {printable(row['path'])}", f"      {printable(row['label'])}, fit {row['fit']:.3f}"]
        return lines + more(len(rows) - SHOWN_IMAGES, "report.json lists them")
    count = found["images"]
    lines = [*section(f"Fits none of the names: {count:,} image{'s' * (count != 1)}"), *wrapped(TOLD, indent=2), ""]
    lines.append(f"   images   {'looks like':<{NAME_WIDTH}} for example")
    for group in found["groups"][:SHOWN_GROUPS]:
        looks = ", ".join(group["looks_like"]) or "not known"
        lines.append(f"  {group['images']:>7,}   {fixed_width(looks, NAME_WIDTH)} {printable(group['first'])}")
    return lines + more(len(found["groups"]) - SHOWN_GROUPS, "report.json lists all groups")


TOLD = (
    "each has the label of its likeliest class all the same; `annotate organize OUTPUT --unknown apart` puts them "
    "aside, `annotate refine --add-classes` makes classes of what they look like"
)
NOT_TOLD = (
    "this model cannot tell which images fit none of the names; it puts them in order. "
    "Fit goes from 1, which the names explain, to 0, which common names explain better"
)
