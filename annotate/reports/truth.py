"""Read the true classes of the images, where somebody knows them: a CSV, folder names, or a folder per class."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annotate import sources
from annotate.classes.spelling import matcher
from annotate.errors import Hint, InputError, printable
from annotate.records import ImageFacts
from annotate.sources.folders import find_images
from annotate.sources.own import made_by
from annotate.store.reading import Said, read_table, shown
from annotate.workspace.digests import file_digest

FOLDERS = "folders"  # the word that stands for the parent folders of the images
NO_TRUTH = "none"  # the word for no truth at all, whatever the folders are called
UNKNOWN = -1


@dataclass(frozen=True)
class Truth:
    """The true class of each image.

    source   where it came from, for the reader
    labels   (N,) index of the class, -1 where nobody knows or the truth is none of the classes
    outside  names that are none of the classes, with how many images bear them
    unknown  images of which nothing is said
    unused   entries of the source that are none of the images
    disputed images that the source gives two classes, under two of their paths; the later one counts
    """

    source: str
    labels: npt.NDArray[np.int64]
    outside: Mapping[str, int] = field(default_factory=dict)
    unknown: int = 0
    unused: int = 0
    disputed: int = 0


@dataclass(frozen=True)
class SourceNames:
    """The class names that a source gives the images, in its own spelling.

    source    for the reader
    names     N, the class of each image, None where nothing is said
    unused    entries that are none of the images
    disputed  paths of images that are byte-identical to one of another class; the later one counts for both
    """

    source: str
    names: list[str | None]
    unused: int
    disputed: list[str]


def check_truth(source: Path | None) -> None:
    """Refuse, before a long run, a source that is missing or holds only annotate's own labels; no source is fine."""
    if source is None or str(source) in (FOLDERS, NO_TRUTH):
        return
    if not source.exists():
        raise no_truth(source)
    places = [source] if source.is_dir() else [source.parent, Path(os.path.realpath(source)).parent]
    refuse_own_labels(map(str, places), printable(source))


def no_truth(source: Path) -> InputError:
    return InputError(
        f"no truth at {printable(source)}",
        hint="give a CSV of path,class, a folder with one folder per class, or the word `folders`",
    )


def read_truth(
    source: Path,
    image_paths: Sequence[str],
    class_names: Sequence[str],
    *,
    folder: str | None = None,
    images: Sequence[ImageFacts | None] = (),
) -> Truth:
    """The truth by the word `folders`, a CSV of path,class, or a folder-per-class tree.

    image_paths  N paths as they were embedded, below `folder`
    images       N facts; their digests find the files of a tree that is laid out otherwise
    raises       InputError where it cannot be read, or says nothing about these images and classes
    """
    said = read_truth_names(source, image_paths, class_names, folder=folder, images=images)
    return match_classes(said, class_names)


def read_truth_names(
    source: Path,
    image_paths: Sequence[str],
    class_names: Sequence[str],
    *,
    folder: str | None = None,
    images: Sequence[ImageFacts | None] = (),
) -> SourceNames:
    """The class names that the source gives the images; arguments and errors as those of `read_truth`."""
    check_truth(source)
    unused, folder = 0, folder and sources.base_folder(folder)
    order: Sequence[int] = range(len(image_paths))
    if str(source) == FOLDERS:
        shown, names = "folder names", [parent_name(path) for path in image_paths]
        refuse_own_labels(existing_folders(image_paths), "these images")
    elif source.is_dir():
        shown = f"{printable(source)}/"
        names, unused = names_from_tree(source, image_paths, folder, images)
    elif source.is_file():
        shown = printable(source)
        names, order, unused = names_from_table(source, image_paths, folder, class_names)
    else:
        raise no_truth(source)  # a pipe, a device
    if all(name is None for name in names):
        raise InputError(
            f"{shown}: says nothing about any of the {len(names):,} images",
            hint="the tree must hold the same files, in the same folders or byte for byte"
            if source.is_dir()
            else "its paths must be absolute, or relative to the images or to the CSV itself",
        )
    disputed = share_with_copies(names, order, images, matcher(class_names))
    return SourceNames(shown, names, unused, [image_paths[i] for i in disputed])


def share_with_copies(
    names: list[str | None],
    order: Sequence[int],
    images: Sequence[ImageFacts | None],
    class_meant: Callable[[str], int | None],
) -> list[int]:
    """Give byte-identical images one class, the one that was said last of any of them; which ones had another.

    order  N numbers that grow in the order in which classes were said
    """
    if len(images) != len(names):
        return []
    digests = [fact["digest"] if fact else "" for fact in images]
    last: dict[str, int] = {}
    for row in sorted(
        (row for row, name in enumerate(names) if name is not None and digests[row]), key=order.__getitem__
    ):
        last[digests[row]] = row
    disputed = []
    for row, digest in enumerate(digests):
        counts = names[last[digest]] if digest in last else None
        if counts is None or names[row] == counts:
            continue
        before, names[row] = names[row], counts
        if before is not None and (class_meant(before) is None or class_meant(before) != class_meant(counts)):
            disputed.append(row)
    return disputed


def implied_truth(image_paths: Sequence[str], class_names: Sequence[str]) -> Truth | None:
    """The true classes by the images' own folders, if each folder has the name of a class, and there are several.

    None where any folder has another name: then folders mean something else. None for images of a dataset that annotate
    made: its folders are annotate's labels.
    """
    class_meant = matcher(class_names)
    folders = {name: class_meant(name) if name else None for name in map(parent_name, image_paths)}
    if None in folders.values() or len(set(folders.values())) < 2:
        return None
    if own_dataset(existing_folders(image_paths)):
        return None
    return match_classes(SourceNames("folder names", [parent_name(path) for path in image_paths], 0, []), class_names)


def match_classes(said: SourceNames, class_names: Sequence[str]) -> Truth:
    """Find the class that each name means; names that are no class are counted, never dropped.

    raises  InputError where none of them is a class
    """
    class_meant, names = matcher(class_names), said.names
    found = {name: class_meant(name) for name in set(names) if name is not None}
    outside = Counter(name for name in names if name is not None and found[name] is None)
    if all(index is None for index in found.values()):
        examples = ", ".join(f"'{printable(name)}'" for name, _ in outside.most_common(3))
        classes = ", ".join(printable(name) for name in class_names[:8]) + " …" * (len(class_names) > 8)
        raise InputError(
            f"{said.source}: none of its names is a class, for example {examples}", hint=f"the classes are {classes}"
        )
    indices = [found[name] if name is not None else None for name in names]
    labels = np.array([UNKNOWN if index is None else index for index in indices], np.int64)
    unknown = sum(name is None for name in names)
    return Truth(said.source, labels, dict(outside.most_common()), unknown, said.unused, len(said.disputed))


# -- annotate's own labels -----------------------------------------------------------------------------


def refuse_own_labels(places: Iterable[str], shown: str) -> None:
    """raises  InputError where a folder lies in a dataset that annotate made: what it says are annotate's labels"""
    made = own_dataset(places)
    if made:
        raise InputError(
            f"{shown}: part of the dataset {printable(made)}/, which annotate made: its folders and files say "
            "what annotate found, not what anybody knows",
            hint=Hint(
                "to correct labels, give a table of path,class that you wrote, one line for each image that you know",
                "to correct labels, write a CSV of path,class elsewhere, one line for each image that you know; "
                "then run `annotate refine --given FILE.csv`",
            ),
        )


def own_dataset(places: Iterable[str]) -> Path | None:
    """A dataset of annotate that a folder is or lies in, under its own path or that of what it links to."""
    seen: set[Path] = set()  # most folders lie in the same ones
    for place in places:
        for way in dict.fromkeys((os.path.abspath(place), os.path.realpath(place))):
            for folder in (Path(way), *Path(way).parents):
                if folder in seen:
                    break
                seen.add(folder)
                if made_by(folder) == "organize":
                    return folder
    return None


def existing_folders(image_paths: Sequence[str]) -> list[str]:
    """The folders of this machine that images lie in."""
    return sorted(place for place in {os.path.dirname(path) for path in image_paths} if os.path.isdir(place))


# -- sources -------------------------------------------------------------------------------------------


def names_from_table(
    file: Path, image_paths: Sequence[str], folder: str | None, class_names: Sequence[str]
) -> tuple[list[str | None], list[int], int]:
    """The class that a table gives each image, and the line that says so; rows that name no image are counted.

    Where several people speak of an image, or several classes are named, the one with most votes counts.
    """
    table = read_table(file, image_paths, folder, class_names)
    names: list[str | None] = [None] * len(image_paths)
    lines, said = [0] * len(image_paths), dict[int, list[Said]]()
    for one in table.said:
        said.setdefault(one.image, []).append(one)
    for image, people in said.items():
        votes: Counter[str] = Counter()
        for one in people:
            parts = one.votes or (1.0,) * len(one.names)
            for name, part in zip(one.names, parts, strict=True):
                votes[name] += part / sum(parts)  # type: ignore[assignment]  # a share of one vote
            if not one.names:
                votes[shown(one)] += 1
        names[image], lines[image] = votes.most_common(1)[0][0], people[-1].line
    return names, lines, len(table.strangers)


def parent_name(path: str) -> str | None:
    return os.path.basename(os.path.dirname(sources.path_without_query(path))) or None


def names_from_tree(
    top: Path, image_paths: Sequence[str], folder: str | None, images: Sequence[ImageFacts | None]
) -> tuple[list[str | None], int]:
    """The folder name of each image's twin in the tree: of the same relative path, else of the same bytes."""
    searched = find_images(top)
    found, passed_over = searched.images, [row["path"] for row in searched.skipped]
    refuse_own_labels([*existing_folders(found), *passed_over], f"{printable(top)}/")
    root = os.path.abspath(top)
    by_path = {os.path.relpath(path, root): parent_name(path) for path in found if os.path.dirname(path) != root}
    names = [by_path.get(os.path.relpath(path, folder)) if folder else None for path in image_paths]
    if len(images) == len(names) and None in names:
        by_digest = names_by_digest(found, images)
        digests = [fact["digest"] if fact else "" for fact in images]
        names = [by_digest.get(digest) if name is None else name for name, digest in zip(names, digests, strict=True)]
    return names, max(0, len(found) - sum(name is not None for name in names))


def names_by_digest(found: Iterable[str], images: Sequence[ImageFacts | None]) -> dict[str, str]:
    """Folder name by digest, of the files whose size is that of some image; none where two folders differ."""
    sizes = {fact["size"] for fact in images if fact}
    names: dict[str, set[str]] = {}
    for path in found:
        try:
            candidate = os.stat(path).st_size in sizes
        except OSError:  # a link that leads nowhere
            continue
        if candidate:
            names.setdefault(file_digest(Path(path)), set()).add(os.path.basename(os.path.dirname(path)))
    return {digest: folders.pop() for digest, folders in names.items() if len(folders) == 1}
