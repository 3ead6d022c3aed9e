"""Which folder, file name and split of a dataset each image gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate import sources
from annotate.classes.folders import distinct, folder_names, safe_file_name
from annotate.errors import first_few, printable
from annotate.images import Unreadable
from annotate.images.formats import is_image, picture_format, suffix
from annotate.kernels.groups import numbers_of
from annotate.kernels.splits import SPLITS, TOO_FEW, choose_splits, shares
from annotate.kernels.vectors import Ints
from annotate.records import Embeddings, Note, Refinement, Texts
from annotate.workspace.manifest import MANIFEST

UNKNOWN_FOLDER = "unknown"  # of images that fit none of the names
UNSURE_FOLDER = "unsure"  # of images whose confidence is too low
APART = {
    UNKNOWN_FOLDER: "fit none of the names",
    UNSURE_FOLDER: "have a lower confidence than was asked for",
}
RESULTS, REVIEW = "results.csv", "review"  # tables that come back filled in; a folder of what is worth a look
NO_SPLIT = -1
COUNTED = 20  # images of a class, for its shares to be worth a word
UNEVEN = 0.1  # between the share of a class and what was asked for
UNEVEN_HINT = "another --seed draws other splits; an image keeps its own whatever is added"
OWN_NAMES = (
    "splits", "metadata.json", "report.txt", "class_prototypes.npy", MANIFEST, RESULTS, f"{REVIEW}.csv", REVIEW,
)  # fmt: skip
ALIGNMENTS = ("micro_cluster_alignment", "meta_cluster_alignment")
# Loaders take files by their endings: torchvision, `datasets` and Keras know no others for these formats.
USUAL = dict.fromkeys((".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo"), ".jpg") | {".apng": ".png", ".dib": ".bmp"}
ENDINGS = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "TIFF": ".tif", "WebP": ".webp", "BMP": ".bmp", "PNM": ".ppm"}


@dataclass(frozen=True)
class Layout:
    """Where every image goes, relative to the output folder.

    folders      K, one per class, then those of images that go apart
    chosen       (N,) folder of each image
    places       N, folder and file name
    splits       (N,) 0 train, 1 val, 2 test, -1 for images in no split
    percentages  of train, val and test, as they were asked for
    """

    folders: list[str]
    chosen: Ints
    places: list[str]
    splits: Ints
    percentages: Sequence[int]

    @property
    def counts(self) -> dict[str, int]:
        """Images in each folder."""
        counts = np.bincount(self.chosen, minlength=len(self.folders)).tolist()
        return dict(zip(self.folders, counts, strict=True))

    @property
    def in_loaders(self) -> dict[str, int]:
        """The class folders with images, by the numbers that loaders give them: in the order of their names."""
        split = np.unique(self.chosen[self.splits != NO_SPLIT]).tolist()
        return {folder: number for number, folder in enumerate(sorted(self.folders[k] for k in split))}

    def missing_in_splits(self, class_names: Sequence[str]) -> dict[str, list[str]]:
        """For each split in use, the classes that have images but none of them there."""
        rows = self.splits != NO_SPLIT
        table = np.zeros((len(SPLITS), len(self.folders)), np.int64)
        np.add.at(table, (self.splits[rows], self.chosen[rows]), 1)
        lacking = (table == 0) & table.any(axis=0)
        return {
            name: [class_names[k] for k in np.flatnonzero(lacking[s]).tolist()]
            for s, name in enumerate(SPLITS)
            if self.percentages[s] and lacking[s].any()
        }

    def too_few(self, class_names: Sequence[str]) -> list[str]:
        """Classes with one or two images, which are all in train."""
        counts = np.bincount(self.chosen, minlength=len(self.folders))[: len(class_names)]
        few = (counts > 0) & (counts <= TOO_FEW) if self.percentages[0] < 100 else np.zeros(len(counts), np.bool_)
        return [class_names[k] for k in np.flatnonzero(few).tolist()]

    def uneven(self) -> str:
        """In a line, how far the shares of classes are from those that were asked for; nothing where they are near."""
        rows = self.splits != NO_SPLIT
        found = shares(self.splits[rows], self.chosen[rows], COUNTED)
        if all(max(abs(part - self.percentages[s] / 100) for part in found[s]) <= UNEVEN for s in found):
            return ""
        said = ", ".join(
            f"{SPLITS[s]} has {100 * low:.0f} to {100 * high:.0f} % of a class (asked for: {self.percentages[s]} %)"
            for s, (low, high) in found.items()
            if self.percentages[s]
        )
        return f"the splits follow images and groups, not classes: {said}"

    @property
    def split_counts(self) -> dict[str, int]:
        return {name: int((self.splits == s).sum()) for s, name in enumerate(SPLITS)}


@dataclass(frozen=True)
class Splitting:
    """How images are shared among train, val and test.

    percentages  of train, val and test
    names        N, of what an image is kept together with, None for images by themselves; none where there are no such
    together     further groupings, (N,) each, -1 for images of which one says nothing
    """

    percentages: Sequence[int]
    seed: int
    names: Sequence[str | None] = ()
    together: Sequence[Ints] = ()

    def splits(self, images: Embeddings, classes: Ints) -> Ints:
        """The split of each image, (N,); images of the same bytes are always in one."""
        own = [fact["digest"] if fact else path for fact, path in zip(images.images, images.image_paths, strict=True)]
        keys = [
            f"group {name}" if name else key for name, key in zip(self.names or [None] * len(own), own, strict=True)
        ]
        return choose_splits(keys, classes, self.percentages, self.seed, [numbers_of(own), *self.together])


def go_apart(labels: Refinement, *, unfit: bool, min_confidence: float = 0.0) -> dict[str, npt.NDArray[np.bool_]]:
    """Folder to the images that go there instead of to their class, (N,); only folders with images.

    What somebody said of an image counts: none of the classes, whatever the settings; any class, however unsure.

    unfit  whether images that fit none of the names go apart
    """
    unknown = labels.outside
    if unfit:
        unknown = unknown | (labels.strange & ~labels.answered)
    unsure = (labels.confidences < min_confidence) & ~labels.answered & ~unknown
    return {name: rows for name, rows in ((UNKNOWN_FOLDER, unknown), (UNSURE_FOLDER, unsure)) if rows.any()}


def lay_out(
    images: Embeddings,
    texts: Texts,
    labels: Refinement,
    splitting: Splitting,
    apart: Mapping[str, npt.NDArray[np.bool_]],
) -> Layout:
    """The same for the same images and labels, wherever and in whatever order they lie.

    apart  of `go_apart`: images in folders of their own, in no split
    """
    own = (*OWN_NAMES, *(f"{name}.npy" for name in ALIGNMENTS), *apart)
    folders = [*folder_names(texts.class_names, own), *apart]
    chosen = labels.labels.copy()
    for number, rows in enumerate(apart.values(), len(texts.class_names)):
        chosen[rows] = number
    used: list[dict[str, int]] = [{} for _ in folders]
    places = []
    for path, folder in zip(images.image_paths, chosen.tolist(), strict=True):
        places.append(f"{folders[folder]}/{distinct(name_of_copy(path), used[folder])}")
    splits = splitting.splits(images, chosen)
    splits[chosen >= len(texts.class_names)] = NO_SPLIT
    return Layout(folders, chosen, places, splits, splitting.percentages)


def name_of_copy(path: str) -> str:
    """The image's own file name, made safe where no disk here has taken it yet, with an ending that loaders know."""
    name = sources.file_name(path)
    name = (name or "image") if sources.is_local(path) else safe_file_name(name)
    return name + (USUAL.get(suffix(name), "") if is_image(name) else ENDINGS.get(picture_format(file_start(path)), ""))


def file_start(path: str) -> bytes:
    """The first bytes of an image; none where they cannot be had, or an address has them."""
    try:
        return b"" if sources.is_url(path) else sources.first_bytes(path)
    except (OSError, Unreadable):
        return b""


def notes_on_splits(texts: Texts, layout: Layout) -> list[Note]:
    """What to know of the splits: classes that are missing in one, classes that are in one alone, uneven shares."""
    missing, few = layout.missing_in_splits(texts.class_names), layout.too_few(texts.class_names)
    notes: list[Note] = []
    if few:
        listed = first_few([printable(name) for name in few])
        notes.append(
            {
                "message": f"in train alone: {listed}; a class of one or two images has none to spare",
                "hint": "find more images of it, or leave the class out",
            }
        )
    lacks = "; ".join(
        f"{name} has none of {first_few([printable(class_name) for class_name in names])}"
        for name, names in missing.items()
    )
    if missing:
        notes.append(
            {
                "message": f"some classes are not in every split: {lacks}",
                "hint": "loaders number the folders that they find, so that their numbers differ from split to split: "
                "take those of class_to_idx in metadata.json, or find more images of these classes",
            }
        )
    uneven = layout.uneven()
    if uneven:
        notes.append({"message": uneven, "hint": UNEVEN_HINT})
    return notes
