"""Why an image is not used, and whether that is a fact about the file or about this machine just now."""

from __future__ import annotations

from annotate.images.allowance import TooSlow

SIGNATURES = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"II*\0": "TIFF", b"MM\0*": "TIFF"}


class Unreadable(Exception):
    """This file is not an image that can be used; the message becomes its row in skipped.json."""


class Unavailable(Unreadable):
    """This machine could not read or decode it just now. That is no fact about the file: the next run tries again."""


def refusal(error: Exception, content: bytes) -> Unreadable:
    """Why an image is not used, as its row in skipped.json says it."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Unreadable):
        return error
    if isinstance(error, TooSlow):
        return Unreadable("decoding takes too long: an image larger or more complex than it looks")
    if isinstance(error, MemoryError):
        return Unavailable("not enough memory to decode it")
    if is_of_the_machine(error):
        return Unavailable(f"cannot be decoded now: {' '.join(str(error).split())}")
    if isinstance(error, Image.DecompressionBombError):
        return Unreadable("too many pixels to decode safely")
    if isinstance(error, UnidentifiedImageError):
        kind = next((kind for start, kind in SIGNATURES.items() if content.startswith(start)), None)
        return Unreadable(f"broken image, or a rare kind of {kind}: convert it" if kind else "not an image")
    return Unreadable(f"broken image: {' '.join(str(error).split()) or type(error).__name__}")


def is_final(error: Exception) -> bool:
    """Whether mending would be for nothing: the file is not at fault, or would cost too much."""
    return isinstance(error, (Unreadable, TooSlow, MemoryError)) or is_of_the_machine(error)


def is_of_the_machine(error: Exception) -> bool:
    """Whether a decoder failed for lack of files, memory or a library, rather than for what the file holds."""
    lacks = isinstance(error, OSError) and error.errno is not None
    return lacks or isinstance(error, ImportError) or "out of memory" in str(error)
