"""The formats of exports, a file each: where images lie, what is written beside them, and how both are loaded.

A file of this folder that has a `FORMAT` adds a format. Formats are pure: they know a catalogue, and say texts.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module

from annotate.exports.catalogue import Catalogue, Entry

Paper = tuple[str, Iterable[bytes]]  # path of a file in the export, and its bytes, piece by piece

Contents = Callable[[Iterable[Entry]], Iterator[tuple[Entry, bytes]]]  # some images with their bytes, upright


@dataclass(frozen=True)
class Format:
    """A layout of files that some program reads.

    name     as `--format` calls it
    about    what it is, for its README
    place    where an image lies in the export; None where the format holds no images
    papers   the files beside the images
    loading  Python that loads it, three lines at most
    traps    what a user of it should know, a sentence each
    folders  that are there though they may be empty
    pack     for a format whose images lie in archives: those archives
    measures whether it needs the size of every image
    card     what its README begins with
    boxes    the format where boxes are exported instead of classes; None where it has no boxes
    boxes_only  whether it knows nothing but boxes
    table    for a format with a table of its own: the columns and rows of images.csv in it
    """

    name: str
    about: str
    place: Callable[[Catalogue, Entry], str | None]
    papers: Callable[[Catalogue], Iterator[Paper]]
    loading: Callable[[Catalogue], str]
    traps: Callable[[Catalogue], list[str]] = lambda catalogue: []
    folders: Callable[[Catalogue], list[str]] = lambda catalogue: []
    pack: Callable[[Catalogue, Contents], Iterator[Paper]] | None = None
    measures: bool = False
    card: Callable[[Catalogue], str] = lambda catalogue: ""
    boxes: Format | None = None
    boxes_only: bool = False
    table: Callable[[Sequence[str], Iterable[Sequence[object]]], Iterator[Paper]] | None = None


@lru_cache
def formats() -> dict[str, Format]:
    """Every format, by its name."""
    modules = (import_module(f"{__name__}.{module.name}") for module in pkgutil.iter_modules(__path__))
    found = [module.FORMAT for module in modules if hasattr(module, "FORMAT")]
    return {one.name: one for one in found}
