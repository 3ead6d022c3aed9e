"""From rows as files have them to boxes in pixels of upright images: scaled, cut at the edge, or dropped."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from annotate.errors import printable
from annotate.exports.boxes import Box, Boxed, Drawings

Size = tuple[int, int]
SizeOf = Callable[[str], Size | None]  # width and height of an upright image by its name; None where it is not known
PIXELS, SHARES, PERCENT = "pixels", "shares", "percent"  # what coordinates are measured in
FACTORS = {SHARES: 1.0, PERCENT: 0.01}


@dataclass(frozen=True, slots=True)
class Row:
    """A box as a file has it.

    corners  left, top, right, bottom
    unit     pixels, shares of the image's width and height, or percent of them
    where    the row, for a message
    """

    name: str
    kind: str
    corners: tuple[float, float, float, float]
    unit: str
    where: str
    score: float | None = None


@dataclass
class Sketch:
    """What has been read so far.

    class_names  in the file's order; a name that only a box has comes after them
    images       name to the size that the file says, and to its part
    """

    class_names: list[str] = field(default_factory=list)
    images: dict[str, tuple[Size | None, str]] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)

    def image(self, name: str, size: Size | None = None, part: str = "") -> None:
        """Somebody looked at this image."""
        known, known_part = self.images.get(name, (None, ""))
        self.images[name] = known or size, known_part or part

    def drop(self, where: str, reason: str) -> None:
        self.dropped.append(f"{where}: {reason}")

    def settled(self, size_of: SizeOf) -> Drawings:
        """Every image with its boxes.

        size_of  of the images themselves, which counts before what the file says
        """
        numbers = {name: k for k, name in enumerate(self.class_names)}
        for row in self.rows:
            numbers.setdefault(row.kind, len(numbers))
        sizes, disagreeing = self.sizes(size_of)
        boxes: dict[str, list[Box]] = {name: [] for name in self.images}
        clipped = 0
        for row in self.rows:
            box, cut = self.box(row, numbers[row.kind], sizes.get(row.name))
            if box:
                boxes.setdefault(row.name, []).append(box)
                clipped += cut
        images = []
        for name, found in boxes.items():
            width, height = sizes.get(name) or (None, None)
            images.append(Boxed(name, tuple(found), width, height, self.images.get(name, (None, ""))[1]))
        return Drawings([*numbers], images, self.dropped, clipped, disagreeing)

    def sizes(self, size_of: SizeOf) -> tuple[dict[str, Size], list[str]]:
        """The size of each image where it is known, and a line for each where the file says another one."""
        sizes: dict[str, Size] = {}
        disagreeing = []
        for name in {**self.images, **{row.name: None for row in self.rows}}:
            said, real = self.images.get(name, (None, ""))[0], size_of(name)
            if said and real and said != real:
                turned = ", which is the picture before it is turned upright" if said == real[::-1] else ""
                disagreeing.append(
                    f"{printable(name)}: the file says {said[0]}x{said[1]}{turned}; the image has {real[0]}x{real[1]}"
                )
            if real or said:
                sizes[name] = real or said  # type: ignore[assignment]
        return sizes, disagreeing

    def box(self, row: Row, kind: int, size: Size | None) -> tuple[Box | None, bool]:
        """The box of a row, and whether it was cut at the edge of the image; None where it is dropped."""
        if not all(map(math.isfinite, row.corners)):
            self.drop(row.where, "a coordinate is not a number")
            return None, False
        left, top, right, bottom = row.corners
        if row.unit != PIXELS:
            if size is None:
                self.drop(row.where, f"the size of {printable(row.name)} is not known")
                return None, False
            factor = FACTORS[row.unit]
            left, right = left * factor * size[0], right * factor * size[0]
            top, bottom = top * factor * size[1], bottom * factor * size[1]
        if not (right > left and bottom > top):
            self.drop(row.where, "the box has no area")
            return None, False
        whole = (left, top, right, bottom)
        if size:
            left, right = min(max(left, 0), size[0]), min(max(right, 0), size[0])
            top, bottom = min(max(top, 0), size[1]), min(max(bottom, 0), size[1])
            if not (right > left and bottom > top):
                self.drop(row.where, "the box lies outside the image")
                return None, False
        cut = max(abs(a - b) for a, b in zip(whole, (left, top, right, bottom), strict=True)) > ROUNDING
        return Box(left, top, right - left, bottom - top, kind, row.score), cut


ROUNDING = 0.51  # pixels by which a box may reach over the edge because its file rounds
