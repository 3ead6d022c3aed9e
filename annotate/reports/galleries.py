"""Galleries: choose the images that a report shows, and make their thumbnails, which become part of the page."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from annotate import sources
from annotate.images import Unavailable, Unreadable, own_pixel_budget, thumbnail
from annotate.images.allowance import FILE_MEMORY, UNKNOWN_FILE
from annotate.kernels.vectors import Ints
from annotate.progress import Progress
from annotate.records import Embeddings, Refinement, Texts
from annotate.reports.strangers import SHOWN_GROUPS, least_fitting_rows, rows_of_groups
from annotate.reports.summary import judged_by, runners_up
from annotate.reports.truth import UNKNOWN, Truth

SIDE = 112  # pixels
QUALITY = 75  # of JPEG
ENLARGED_UP_TO = 48  # pixels; up to here an image is kept exact, and enlarged by the browser as squares
MOST_CLASSES = 40  # with a gallery each; a page of more is slow to open and nobody scrolls it
WRONG = 24  # images in the gallery of confident mistakes


@dataclass(frozen=True)
class Tile:
    """One image with its caption; `source` is a data: address, None where the file cannot be read.

    Of a `given` image the label is what somebody gave; confidence and the class that came second are null.
    """

    path: str
    source: str | None
    tiny: bool
    label: str
    confidence: float | None
    runner_up: str | None
    runner_up_probability: float | None
    truth: str | None
    wrong: bool
    given: bool

    @property
    def file_name(self) -> str:
        return os.path.basename(sources.path_without_query(self.path))


@dataclass(frozen=True)
class Gallery:
    """A row of tiles. `images` counts all that could be in it."""

    name: str
    images: int
    tiles: list[Tile]


@dataclass(frozen=True)
class Galleries:
    """All galleries of a page.

    pictures     false where no image file could be read at all
    unavailable  images that are there, and could not be read just now
    """

    least_certain: Gallery
    mistakes: Gallery | None
    classes: list[Gallery]
    strangers: list[Gallery] = field(default_factory=list)
    least_fitting: Gallery | None = None
    empty: list[str] = field(default_factory=list)
    left_out: int = 0
    pictures: bool = True
    unavailable: int = 0


@dataclass(frozen=True)
class Thumbnail:
    """The small picture of an image as a data: address; without one the image could not be read.

    tiny         enlarged by the browser as squares
    unavailable  it is there, and this machine or the network failed to read it just now: another try may do
    """

    source: str | None = None
    tiny: bool = False
    unavailable: bool = False


@dataclass(frozen=True)
class Choice:
    """Rows of images for a gallery, before anything is read."""

    name: str
    images: int
    rows: Ints


def make_galleries(
    images: Embeddings,
    texts: Texts,
    refinement: Refinement,
    truth: Truth | None,
    *,
    per_class: int,
    least_certain: int,
    max_megapixels: float,
    progress: Progress,
) -> Galleries:
    """Choose the images, read their thumbnails in threads, and lay out the galleries."""
    counted = np.flatnonzero(~refinement.answered)
    doubtful = counted[np.argsort(refinement.confidences[counted], kind="stable")[:least_certain]]
    choices = [Choice("least certain", len(counted), doubtful)]
    if truth:
        choices.append(mistakes(refinement, truth))
    of_class = class_choices(refinement, texts.class_names, per_class) if per_class else []
    strange = stranger_choices(refinement, per_class) if per_class else []
    fitting = Choice("least fitting", len(counted), least_fitting_rows(refinement)[:per_class])
    rows = np.unique(np.concatenate([choice.rows for choice in (*choices, *of_class, *strange, fitting)]))
    pictures = read_thumbnails(images, rows, max_megapixels, progress)
    tiles = dict(zip(rows.tolist(), make_tiles(rows, images, texts, refinement, truth, pictures), strict=True))
    least, *others = [laid_out(choice, tiles) for choice in (*choices, *of_class)]
    counts = np.bincount(refinement.labels, minlength=len(texts.class_names))
    return Galleries(
        least_certain=least,
        mistakes=others.pop(0) if truth else None,
        classes=others,
        strangers=[laid_out(choice, tiles) for choice in strange],
        least_fitting=laid_out(fitting, tiles) if refinement.strangers is None and len(fitting.rows) else None,
        empty=[name for name, count in zip(texts.class_names, counts, strict=True) if not count],
        left_out=int((counts > 0).sum()) - len(of_class) if per_class else 0,
        pictures=not pictures or any(picture.source for picture in pictures.values()),
        unavailable=sum(picture.unavailable for picture in pictures.values()),
    )


def laid_out(choice: Choice, tiles: Mapping[int, Tile]) -> Gallery:
    return Gallery(choice.name, choice.images, [tiles[row] for row in choice.rows.tolist()])


def mistakes(refinement: Refinement, truth: Truth) -> Choice:
    """Images whose label is not the truth, most confident first."""
    wrong = np.flatnonzero(judged_by(truth, refinement) & (truth.labels != refinement.labels))
    order = np.argsort(-refinement.confidences[wrong], kind="stable")
    return Choice("confident mistakes", len(wrong), wrong[order][:WRONG])


def class_choices(refinement: Refinement, names: Sequence[str], per_class: int) -> list[Choice]:
    """For each class with images, the largest forty at most: images spread from most to least confident."""
    counts = np.bincount(refinement.labels, minlength=len(names))
    largest = np.argsort(-counts, kind="stable")[:MOST_CLASSES]
    by_confidence = np.argsort(-refinement.confidences, kind="stable")
    by_class = by_confidence[np.argsort(refinement.labels[by_confidence], kind="stable")]
    ends = np.cumsum(counts)
    return [
        Choice(names[k], int(counts[k]), pick_evenly(by_class[ends[k] - counts[k] : ends[k]], per_class))
        for k in np.sort(largest)
        if counts[k]
    ]


def stranger_choices(refinement: Refinement, per_group: int) -> list[Choice]:
    """For each of the largest groups that fit none of the names: what it looks like, and its least fitting images."""
    looks = refinement.looks_like or []
    return [
        Choice(", ".join(looks[group]) if looks else "", len(rows), rows[:per_group])
        for group, rows in enumerate(rows_of_groups(refinement)[:SHOWN_GROUPS])
    ]


def pick_evenly(rows: Ints, most: int) -> Ints:
    """At most so many of the rows, the first and the last among them, evenly between."""
    if len(rows) <= most:
        return rows
    return rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]


def make_tiles(
    rows: Ints,
    images: Embeddings,
    texts: Texts,
    refinement: Refinement,
    truth: Truth | None,
    pictures: Mapping[int, Thumbnail],
) -> Iterator[Tile]:
    names = texts.class_names
    seconds, probabilities = runners_up(refinement, rows)
    for i, second, p in zip(rows.tolist(), seconds.tolist(), probabilities.tolist(), strict=True):
        label = int(refinement.labels[i])
        true, given = int(truth.labels[i]) if truth else UNKNOWN, bool(refinement.answered[i])
        yield Tile(
            path=images.image_paths[i],
            source=pictures[i].source,
            tiny=pictures[i].tiny,
            label=names[label],
            confidence=None if given else float(refinement.confidences[i]),
            runner_up=None if given else names[second],
            runner_up_probability=None if given else p,
            truth=None if true == UNKNOWN else names[true],
            wrong=true not in (UNKNOWN, label) and not given,
            given=given,
        )


def read_thumbnails(
    images: Embeddings, rows: Ints, max_megapixels: float, progress: Progress, side: int = SIDE
) -> dict[int, Thumbnail]:
    """The thumbnails of these rows; an image that cannot be read has an empty one.

    side  pixels of the longer side
    """

    def read(row: int) -> Thumbnail:
        fact = images.images[row]
        try:
            with FILE_MEMORY.taken(fact["size"] if fact else UNKNOWN_FILE):
                content = sources.fetch(images.image_paths[row], tries=1)
                picture = thumbnail(content, side=side, max_megapixels=max_megapixels)
        except Unavailable as error:
            gone = isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError))
            return Thumbnail(unavailable=not gone)
        except Unreadable:
            return Thumbnail()
        tiny = max(picture.size) <= ENLARGED_UP_TO
        small = io.BytesIO()
        if tiny:
            picture.save(small, "PNG", optimize=True)
        else:
            picture.save(small, "JPEG", quality=QUALITY)
        return Thumbnail(data_address(small.getvalue(), "png" if tiny else "jpeg"), tiny)

    with (
        progress.steps("thumbnails", len(rows), "images") as advance,
        own_pixel_budget(),
        ThreadPoolExecutor(min(4, os.cpu_count() or 1), thread_name_prefix="thumbnail") as pool,
    ):
        found = {}
        for row, outcome in zip(rows.tolist(), pool.map(read, rows.tolist()), strict=True):
            found[row] = outcome
            advance(1)
        return found


def data_address(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"
