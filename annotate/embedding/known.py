"""What earlier runs know of images: found by path and time, or by content wherever it lies now."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.embedding.ledger import Ledger, Seen
from annotate.records import Embeddings, ImageFacts, Ints, SkippedFile

CHUNK = 1 << 14  # images looked at together


@dataclass(frozen=True)
class Found:
    """An image that was embedded before: its facts then, and its row (D,)."""

    facts: ImageFacts
    row: npt.NDArray[np.floating]


class Filed:
    """A finished shard of a ledger, read when it is asked for: thousands of them take neither memory nor open files."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.ledger, self.name = ledger, name

    def seen(self) -> Seen | None:
        """None where it has gone since."""
        return self.ledger.remembered(self.name)


class Known:
    """Images of earlier runs with the same weights and settings, n in all; number i is one of them.

    48 bytes of memory for each; facts and rows stay where they are until they are asked for.
    """

    def __init__(self, earlier: Sequence[Seen | Filed] = ()) -> None:
        self.parts = list(earlier)
        self.skipped: dict[str, SkippedFile] = {}
        starts, columns = [0], [np.zeros((4, 0), np.int64)]
        for part in earlier:
            seen = part.seen() if isinstance(part, Filed) else part
            count = len(seen.paths) if seen else 0
            starts.append(starts[-1] + count)
            if seen:
                self.skipped |= {row["path"]: row for row in seen.skipped}
                columns += columns_of(seen)
        self._starts = np.array(starts)
        paths, self._size, self._modified, contents = np.concatenate(columns, axis=1)
        self._paths, self._contents = Index(paths), Index(contents)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def ran_on(self) -> str:
        """On what the rows of the last run were computed."""
        return self.parts[0].ran_on if self.parts and isinstance(self.parts[0], Seen) else ""

    def at(self, path: str) -> int:
        """The image that was at this path, or -1."""
        return int(next(iter(self._paths.find(hash(path))), -1))

    def unchanged(self, number: int, size: int, modified_ns: int) -> bool:
        return bool(self._size[number] == size and self._modified[number] == modified_ns)

    def facts(self, number: int) -> ImageFacts | None:
        seen, row = self._place(number)
        return seen.images[row] if seen and row < len(seen.images) else None

    def found_at(self, path: str, size: int, modified_ns: int) -> Found | None:
        """The image that was at this path, if it is still that one."""
        number = self.at(path)
        if number < 0 or not self.unchanged(number, size, modified_ns):
            return None
        seen, row = self._place(number)
        same = seen and row < len(seen.paths) and seen.paths[row] == path
        return Found(seen.images[row], seen.rows[row]) if seen and same else None

    def like(self, digest: str) -> Found | None:
        """An image of these very bytes."""
        for number in self._contents.find(start_of(digest)).tolist():
            seen, row = self._place(number)
            if seen and row < len(seen.images) and seen.images[row]["digest"] == digest:
                return Found(seen.images[row], seen.rows[row])
        return None

    def all_found(self, numbers: Sequence[int]) -> list[Found]:
        """Images of the first part, the last run; those that lie close to each other are read at once."""
        if not len(numbers):
            return []
        last_run = self.parts[0]
        assert isinstance(last_run, Seen)
        first, last = min(numbers), max(numbers)
        if last - first > 4 * len(numbers):
            return [Found(last_run.images[number], last_run.rows[number]) for number in numbers]
        facts, rows = last_run.images[first : last + 1], last_run.rows[first : last + 1]
        return [Found(facts[number - first], rows[number - first]) for number in numbers]

    def _place(self, number: int) -> tuple[Seen | None, int]:
        place = int(np.searchsorted(self._starts, number, "right")) - 1
        part = self.parts[place]
        return part.seen() if isinstance(part, Filed) else part, number - int(self._starts[place])


def columns_of(seen: Seen) -> Iterator[Ints]:
    """What is looked up, (4, n) by thousands of images: hash of the path, size, time, start of the digest."""
    rows = zip(seen.paths, seen.images, strict=True)
    while block := list(itertools.islice(rows, CHUNK)):
        looked_up = [(hash(path), fact["size"], fact["modified_ns"], start_of(fact["digest"])) for path, fact in block]
        yield np.array(looked_up, np.int64).T


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
