"""From a path as somebody wrote it to the image that it means."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from annotate import sources
from annotate.classes.spelling import unambiguous
from annotate.sources import lists


def finder(image_paths: Sequence[str], *, folders: Sequence[str]) -> Callable[[str], int | None]:
    """From a path as somebody wrote it to the image: as listed, below one of the folders, or by a bare name.

    Where that finds nothing: as it was on another machine, by the folders at its end; with other case or another form
    of Unicode. A spelling that two images share means neither. Backslashes are slashes where no image is called so, on
    either side: archives of Windows may hold them, too.
    """
    listed = {path: index for index, path in enumerate(image_paths)}
    if any("\\" in path for path in image_paths):
        listed = unambiguous(image_paths, lambda path: path.replace("\\", "/")) | listed
    bare = unambiguous(image_paths, lambda path: os.path.basename(sources.path_without_query(path)))
    elsewhere = Elsewhere(image_paths)

    def find(path: str) -> int | None:
        if not path.strip():
            return None
        for way in lists.spellings(path):
            for candidate in (way, way.strip(), *(below(top, way.strip()) for top in folders)):
                if candidate in listed:
                    return listed[candidate]
        found = bare.get(path.strip())
        return elsewhere.find(path) if found is None else found

    return find


class Elsewhere:
    """The images by the ends of their paths, for paths of another machine; made when it is first needed."""

    def __init__(self, image_paths: Sequence[str]) -> None:
        self.image_paths = image_paths

    @cached_property
    def by_name(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for index, path in enumerate(self.image_paths):
            found[parts_of(path)[-1]].append(index)
        return found

    def find(self, path: str) -> int | None:
        """The one image that shares most of the path's end: its name, and all of its folders or the nearest at least.

        A relative path must be the end of the image's as a whole: `dog/1.png` is not `cat/1.png`.
        """
        asked = parts_of(path)
        if not asked or "." not in asked[-1]:  # a class or a number, which is asked of every cell
            return None
        candidates = self.by_name.get(asked[-1], [])
        shared = [len([*same(parts_of(self.image_paths[index]), asked)]) for index in candidates]
        most = max(shared, default=0)
        absolute = path.strip().startswith(("/", "\\")) or lists.ON_WINDOWS.match(path.strip())
        if shared.count(most) != 1 or most < (min(2, len(asked)) if absolute else len(asked)):
            return None
        return candidates[shared.index(most)]


def same(path: Sequence[str], other: Sequence[str]) -> Iterator[str]:
    """The parts at the end that two paths share."""
    for mine, theirs in zip(reversed(path), reversed(other), strict=False):
        if mine != theirs:
            return
        yield mine


def parts_of(path: str) -> list[str]:
    """The folders and the name, without case, in one form of Unicode."""
    plain = unicodedata.normalize("NFC", path.strip().replace("\\", "/")).casefold()
    return [part for part in plain.split("/") if part not in ("", ".")] or [""]


def below(top: str, path: str) -> str:
    """The path seen from a folder, or from an address that stands for one."""
    return f"{top.rstrip('/')}/{path}" if sources.is_url(top) else os.path.normpath(os.path.join(top, path))
