"""What earlier runs know of images: found by path and time, or by content wherever it lies now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.embedding.ledger import Seen
from annotate.records import Embeddings, ImageFacts, Ints, SkippedFile


@dataclass(frozen=True)
class Found:
    """An image that was embedded before: its facts then, and its row (D,)."""

    facts: ImageFacts
    row: npt.NDArray[np.floating]


class Known:
    """Images of earlier runs with the same weights and settings, n in all; number i is one of them.

    40 bytes of memory for each; facts and rows stay where they are until they are asked for.
    """

    def __init__(self, earlier: Sequence[Embeddings | Seen] = ()) -> None:
        self.parts = [part if isinstance(part, Seen) else seen_of(part) for part in earlier]
        self._starts = np.cumsum([0, *(len(part.paths) for part in self.parts)])
        self.skipped: dict[str, SkippedFile] = {row["path"]: row for part in self.parts for row in part.skipped}
        self._paths = Index(np.array([hash(path) for part in self.parts for path in part.paths], np.int64))
        facts = np.array(
            [
                (fact["size"], fact["modified_ns"], start_of(fact["digest"]))
                for part in self.parts
                for fact in part.images
            ],
            np.int64,
        ).reshape(-1, 3)
        self._size, self._modified = facts[:, 0].copy(), facts[:, 1].copy()
        self._contents = Index(facts[:, 2])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def at(self, path: str) -> int:
        """The image that was at this path, or -1."""
        return int(next(iter(self._paths.find(hash(path))), -1))

    def unchanged(self, number: int, size: int, modified_ns: int) -> bool:
        return bool(self._size[number] == size and self._modified[number] == modified_ns)

    def like(self, digest: str) -> int:
        """An image of these very bytes, or -1."""
        alike = self._contents.find(start_of(digest))
        return next((int(number) for number in alike if self.facts(int(number))["digest"] == digest), -1)

    def facts(self, number: int) -> ImageFacts:
        part, row = self._place(number)
        return part.images[row]

    def found(self, number: int) -> Found:
        part, row = self._place(number)
        return Found(part.images[row], part.rows[row])

    def all_found(self, numbers: Sequence[int]) -> list[Found]:
        """The same of many; those that lie close to each other are read at once."""
        if not len(numbers):
            return []
        first, last = min(numbers), max(numbers)
        part, start = self._place(first)
        if part is not self._place(last)[0] or last - first > 4 * len(numbers):
            return [self.found(number) for number in numbers]
        facts, rows = part.images[start : start + last - first + 1], part.rows[start : start + last - first + 1]
        return [Found(facts[number - first], rows[number - first]) for number in numbers]

    def _place(self, number: int) -> tuple[Seen, int]:
        part = int(np.searchsorted(self._starts, number, "right")) - 1
        return self.parts[part], number - int(self._starts[part])


class Index:
    """Where values are among n keys."""

    def __init__(self, keys: Ints) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def find(self, value: int) -> Ints:
        """Positions of a value, the first first."""
        first, last = np.searchsorted(self._sorted, [value, value + 1])
        return self._order[first:last]


def start_of(digest: str) -> int:
    """The first 63 bits of a sha256."""
    return int(digest[:16], 16) >> 1


def seen_of(images: Embeddings) -> Seen:
    return Seen(images.embeddings, images.image_paths, images.images, images.skipped, "", images.model["logit_scale"])  # type: ignore[arg-type]
