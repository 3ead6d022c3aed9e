"""A file name for every image of an export: readable, safe on every disk, and never two for one.

`cats/IMG 1.JPG` becomes `cats__IMG 1.jpg`. Two names are one where some disk takes them for one, in other case or
another spelling of Unicode, and where they differ in their endings alone, as some loaders drop those. A dot would end
the name for others, so that none but the last stays.
"""

from __future__ import annotations

import hashlib
import os
import unicodedata
from collections.abc import Iterable

from annotate import sources
from annotate.classes.folders import byte_length, clip_bytes, fold, safe_file_name
from annotate.images.formats import is_image, suffix

MOST_BYTES = 180  # of a name without its ending: below the 255 of disks, with room for folders on Windows
DIGITS = 8  # hexadecimal, of the digest of where an image lies, in a name that would be taken


def names_of(originals: Iterable[tuple[str, str]], base: str | None) -> list[str]:
    """A name for each image; that of an image is the same beside any others, unless two would have one.

    originals  where each lies, and the ending that its name is to have
    base       the folder that paths are shortened by
    """
    taken: set[str] = set()
    names = []
    for original, ending in originals:
        stem = readable_stem(original, base)
        number = 1
        while fold(stem) in taken:
            stem = marked(readable_stem(original, base), original, number)
            number += 1
        taken.add(fold(stem))
        names.append(stem + ending)
    return names


def readable_stem(original: str, base: str | None) -> str:
    path = sources.path_without_query(original)
    top = f"{os.path.abspath(base)}/" if base and not sources.is_url(base) else f"{base}/".replace("//", "/")
    below = path.removeprefix(top) if base else path
    parts = below.split("/") if below != path else path.rsplit("/", 2)[-2:]
    whole = safe_file_name("__".join(part for part in parts if part) or "image")
    stem = os.path.splitext(whole)[0] if is_image(whole) else whole
    stem = unicodedata.normalize("NFC", stem).replace(".", "_").rstrip() or "image"
    return stem if byte_length(stem) <= MOST_BYTES else marked(stem, original, 1)


def marked(stem: str, original: str, number: int) -> str:
    """The name with a digest of where the image lies."""
    digest = hashlib.sha256(original.encode("utf-8", "surrogateescape")).hexdigest()[:DIGITS]
    mark = f"-{digest}" if number == 1 else f"-{digest}-{number}"
    return clip_bytes(stem, MOST_BYTES - len(mark)) + mark


def ending_of(original: str, orientation: int) -> str:
    """The ending of an image's file in an export: as it is, in the spelling that loaders know."""
    from annotate.exports.layout import ENDINGS, USUAL, file_start
    from annotate.images.formats import picture_format

    name = sources.file_name(original)
    if orientation != 1:
        return ".jpg" if suffix(name) in JPEGS or picture_format(file_start(original)) == "JPEG" else ".png"
    if is_image(name):
        return USUAL.get(suffix(name), suffix(name))
    return ENDINGS.get(picture_format(file_start(original)), suffix(name))


JPEGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp", ".mpo")
