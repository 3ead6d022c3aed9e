"""Boxes on images, in and out of the files of other programs: a file per format, which reads and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Box:
    """A box in pixels of the upright image, from its left upper corner.

    kind   the number of its class
    score  how sure a model is; None where a person drew it
    """

    x: float
    y: float
    width: float
    height: float
    kind: int
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Boxed:
    """An image that somebody looked at, with its boxes. No box means that there is nothing on it.

    name           of its file, as the file of boxes calls it
    part           train, val or test; empty where nobody said
    width, height  of the upright image in pixels; None where nobody knows
    """

    name: str
    boxes: tuple[Box, ...] = ()
    width: int | None = None
    height: int | None = None
    part: str = ""


@dataclass(frozen=True)
class Drawings:
    """What a file of boxes says.

    class_names  in the order of the file; a box's `kind` is a place here
    dropped      rows that were not used, each with the reason
    clipped      boxes that reached over the edge of their image and were cut there
    disagreeing  images of another size than the file says
    """

    class_names: Sequence[str]
    images: Sequence[Boxed]
    dropped: Sequence[str] = ()
    clipped: int = 0
    disagreeing: Sequence[str] = field(default=())
