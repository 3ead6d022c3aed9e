"""duplicates: find copies of a picture, and bursts of pictures."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from annotate.kernels.bursts import find_bursts
from annotate.kernels.copies import Pairs, find_copies, groups_of, parts
from annotate.kernels.groups import numbers_of
from annotate.kernels.vectors import Ints
from annotate.records import DUPLICATES, Duplicates, Embeddings
from annotate.stages import Context, Stage
from annotate.stages.looks import VERSION as LOOKS
from annotate.stages.looks import looks_at
from annotate.workspace.artifacts import write_bytes
from annotate.workspace.plan import Plan


@dataclass(frozen=True)
class Material:
    """What planning has read."""

    images: Embeddings
    max_megapixels: float


class DuplicatesStage(Stage[Duplicates]):
    """Groups of images that belong on one side of a split: groups.csv, and the same as arrays."""

    name, record, version, after = "duplicates", Duplicates, 1, ("embed",)
    sections, packages, runs = ("embed",), ("pillow", "faiss-cpu"), False

    def plan(self, context: Context, *, force: bool = False, **asked: Any) -> Plan:
        workspace = context.workspace
        images = workspace.read(Embeddings)
        settings = context.config.resolve(len(images.embeddings))
        return Plan(
            self.name,
            self.version,
            {"max_megapixels": settings.embed.max_megapixels, "looks": LOOKS},
            workspace.digests("embed", "image_paths.txt", "images.json"),
            context.config.request("embed", n=len(images.embeddings)),
            found=Material(images, settings.embed.max_megapixels),
        )

    def make(self, context: Context, plan: Plan, folder: Path) -> Duplicates:
        found: Material = plan.found
        images, progress = found.images, context.progress
        n = len(images.image_paths)
        looks = looks_at(context.workspace, images, found.max_megapixels, progress)
        exact = exact_pairs(images)
        seen = np.flatnonzero(looks.seen)
        with progress.steps("looking for copies", len(seen) * len(parts()), "comparisons") as advance:
            near = of_rows(find_copies(looks.grey[seen], advance), seen)
        paths = [images.image_paths[i] for i in seen.tolist()]
        burst = of_rows(find_bursts(paths, looks.cameras[seen].tolist(), looks.seconds[seen], looks.grey[seen]), seen)
        made = grouped(n, exact, near, burst)
        write_bytes(folder / "groups.csv", table(images, made).encode("utf-8", "backslashreplace"))
        return made


STAGE = DuplicatesStage()


def firsts(found: Duplicates) -> Ints:
    """The rows that are left where only the first of each picture's copies counts."""
    _, first = np.unique(
        np.where(found.copies >= 0, found.copies, -1 - np.arange(len(found.copies))), return_index=True
    )
    rows: Ints = np.sort(first)
    return rows


def exact_pairs(images: Embeddings) -> Pairs:
    """Each image with the first of the same bytes."""
    numbers = numbers_of([fact["digest"] if fact else None for fact in images.images])
    known = np.flatnonzero(numbers >= 0)
    _, first, group = np.unique(numbers[known], return_index=True, return_inverse=True)
    earlier = known[first[group]]
    again = known != earlier
    return Pairs(earlier[again], known[again], np.ones(int(again.sum()), np.float32))


def of_rows(pairs: Pairs, rows: Ints) -> Pairs:
    """Pairs among some rows as pairs among all."""
    return Pairs(rows[pairs.first], rows[pairs.second], pairs.agreement)


def grouped(n: int, exact: Pairs, near: Pairs, burst: Pairs) -> Duplicates:
    """The groups that all pairs make, and what ties each image to its own: the strongest tie that it has."""
    kinds, agreement = np.full(n, -1, np.int64), np.zeros(n, np.float32)
    for kind in (2, 1, 0):  # the strongest last
        pairs = (exact, near, burst)[kind]
        for rows in (pairs.first, pairs.second):
            kinds[rows] = kind
        tied = kinds == kind
        best = np.zeros(n, np.float32)
        np.maximum.at(best, pairs.first, pairs.agreement)
        np.maximum.at(best, pairs.second, pairs.agreement)
        agreement[tied] = best[tied]
    everything = Pairs(*(np.concatenate(column) for column in zip(*map(columns, (exact, near, burst)), strict=True)))
    copies = Pairs(*(np.concatenate(column) for column in zip(*map(columns, (exact, near)), strict=True)))
    return Duplicates(groups_of(n, everything), groups_of(n, copies), kinds, agreement)


def columns(pairs: Pairs) -> tuple[Any, Any, Any]:
    return pairs.first, pairs.second, pairs.agreement


def table(images: Embeddings, made: Duplicates) -> str:
    """A row for every image of a group, group by group."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["group", "path", "kind", "agreement"])
    rows = np.flatnonzero(made.groups >= 0)
    for row in rows[np.argsort(made.groups[rows], kind="stable")].tolist():
        kind, agreement = DUPLICATES[int(made.kinds[row])], f"{made.agreement[row]:.3f}"
        writer.writerow([int(made.groups[row]), images.image_paths[row], kind, agreement])
    return text.getvalue()
