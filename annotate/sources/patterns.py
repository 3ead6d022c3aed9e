"""Which archives a path or a pattern means: shards-{00..11}.tar, photos-*.zip."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator

from annotate.errors import InputError, printable
from annotate.images.formats import byte_order

SUFFIXES = (".zip", ".tar")
COMPRESSED = re.compile(r"\.(?:tgz|tbz2?|txz|tzst|7z|rar|(?:tar\.)(?:gz|bz2|xz|zst|lz4))$", re.IGNORECASE)
BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"(\d+)\.\.(\d+)")


def are_meant(asked: str) -> bool:
    """Whether a path that is no folder names an archive, or is a pattern of several."""
    is_pattern = glob.has_magic(asked) or BRACES.search(asked) is not None
    return asked.lower().endswith(SUFFIXES) or (is_pattern and not os.path.exists(asked))


def refuse_compressed(file: str) -> None:
    """raises  InputError for archives that must be read from their beginning to reach any image"""
    if COMPRESSED.search(file):
        raise InputError(
            f"{printable(file)}: single images cannot be read from a compressed archive",
            hint="unpack it and give the folder, or repack it as .zip or as .tar without compression",
        )


def matching(asked: str) -> list[str]:
    """The archives that a path or a pattern names, absolute, in the byte order of their names.

    raises  InputError where one of them is missing or no archive
    """
    found: set[str] = set()
    for path in [asked] if os.path.exists(asked) else spelled_out(asked):
        refuse_compressed(path)
        if os.path.isfile(path):
            paths = [path]
        elif glob.has_magic(path):
            paths = glob.glob(path, recursive=True)
        else:
            paths = []
        if not paths:
            raise InputError(f"no file {printable(path)}", hint="check the path; quote patterns, and paths with spaces")
        found |= {os.path.abspath(path) for path in paths}
    for path in sorted(found, key=byte_order):
        refuse_compressed(path)
        if not path.lower().endswith(SUFFIXES) or not os.path.isfile(path):
            raise InputError(f"{printable(path)}: not a .zip or .tar", hint="let the pattern name archives alone")
    return sorted(found, key=byte_order)


def spelled_out(pattern: str) -> Iterator[str]:
    """`{00..11}` and `{train,val}` as a shell would write them out."""
    braces = BRACES.search(pattern)
    if braces is None:
        yield pattern
        return
    for choice in choices(braces[1]):
        yield from spelled_out(pattern[: braces.start()] + choice + pattern[braces.end() :])


def choices(inside: str) -> Iterator[str]:
    ends = RANGE.fullmatch(inside)
    if ends is None:
        yield from inside.split(",")
        return
    first, last = ends.groups()
    width = max(map(len, ends.groups())) if any(len(end) > 1 and end[0] == "0" for end in ends.groups()) else 0
    step = 1 if int(first) <= int(last) else -1
    for number in range(int(first), int(last) + step, step):
        yield f"{number:0{width}}"
