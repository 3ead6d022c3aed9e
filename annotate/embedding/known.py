"""Find images that an earlier run has embedded: by path and time, or by their content wherever it lies now."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.embedding.ledger import Ledger, ShardOutcome
from annotate.records import ImageFacts, Ints, SkippedFile

LOOKED_UP_TOGETHER = 1 << 14  # images looked at together


@dataclass(frozen=True)
class EmbeddedImage:
    """An image that was embedded before: its facts then, and its row (D,)."""

    facts: ImageFacts
    row: npt.NDArray[np.floating]


class ShardOnDisk:
    """A finished shard of a ledger, read when it is asked for: thousands of them take neither memory nor open files."""

    def __init__(self, ledger: Ledger, name: str) -> None:
        self.ledger, self.name = ledger, name

    def seen(self) -> ShardOutcome | None:
        """Read it; None where it is gone."""
        return self.ledger.remembered(self.name)


class KnownImages:
    """Images of earlier runs with the same weights and settings, n in all; number i is one of them.

    48 bytes of memory for each; facts and rows stay where they are until they are asked for.
    """

    def __init__(self, earlier: Sequence[ShardOutcome | ShardOnDisk] = ()) -> None:
        self.parts = list(earlier)
        self.skipped: dict[str, SkippedFile] = {}
        starts, columns = [0], [np.zeros((4, 0), np.int64)]
        for part in earlier:
            seen = part.seen() if isinstance(part, ShardOnDisk) else part
            count = len(seen.paths) if seen else 0
            starts.append(starts[-1] + count)
            if seen:
                self.skipped |= {row["path"]: row for row in seen.skipped}
                columns += lookup_columns(seen)
        self._starts = np.array(starts)
        paths, self._size, self._modified, contents = np.concatenate(columns, axis=1)
        self._paths, self._contents = Positions(paths), Positions(contents)

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def ran_on(self) -> str:
        """The device and precision that computed the rows of the last run."""
        return self.parts[0].ran_on if self.parts and isinstance(self.parts[0], ShardOutcome) else ""

    def number_at(self, path: str) -> int:
        """The image that was at this path, or -1."""
        return int(next(iter(self._paths.find(hash(path))), -1))

    def unchanged(self, number: int, size: int, modified_ns: int) -> bool:
        return bool(self._size[number] == size and self._modified[number] == modified_ns)

    def facts(self, number: int) -> ImageFacts | None:
        seen, row = self._place(number)
        return seen.images[row] if seen and row < len(seen.images) else None

    def found_at(self, path: str, size: int, modified_ns: int) -> EmbeddedImage | None:
        """The image that was at this path, if it is still that one."""
        number = self.number_at(path)
        if number < 0 or not self.unchanged(number, size, modified_ns):
            return None
        seen, row = self._place(number)
        same = seen and row < len(seen.paths) and seen.paths[row] == path
        return EmbeddedImage(seen.images[row], seen.rows[row]) if seen and same else None

    def with_content(self, digest: str) -> EmbeddedImage | None:
        """The image with exactly these bytes, if there is one."""
        for number in self._contents.find(digest_prefix(digest)).tolist():
            seen, row = self._place(number)
            if seen and row < len(seen.images) and seen.images[row]["digest"] == digest:
                return EmbeddedImage(seen.images[row], seen.rows[row])
        return None

    def all_found(self, numbers: Sequence[int]) -> list[EmbeddedImage]:
        """Images of the first part, the last run; those that lie close to each other are read at once."""
        if not len(numbers):
            return []
        last_run = self.parts[0]
        assert isinstance(last_run, ShardOutcome)
        first, last = min(numbers), max(numbers)
        if last - first > 4 * len(numbers):
            return [EmbeddedImage(last_run.images[number], last_run.rows[number]) for number in numbers]
        facts, rows = last_run.images[first : last + 1], last_run.rows[first : last + 1]
        return [EmbeddedImage(facts[number - first], rows[number - first]) for number in numbers]

    def _place(self, number: int) -> tuple[ShardOutcome | None, int]:
        place = int(np.searchsorted(self._starts, number, "right")) - 1
        part = self.parts[place]
        return part.seen() if isinstance(part, ShardOnDisk) else part, number - int(self._starts[place])


def lookup_columns(seen: ShardOutcome) -> Iterator[Ints]:
    """What is looked up, (4, n) by thousands of images: hash of the path, size, time, start of the digest."""
    rows = zip(seen.paths, seen.images, strict=True)
    while block := list(itertools.islice(rows, LOOKED_UP_TOGETHER)):
        looked_up = [
            (hash(path), fact["size"], fact["modified_ns"], digest_prefix(fact["digest"])) for path, fact in block
        ]
        yield np.array(looked_up, np.int64).T


class Positions:
    """Where each value is among n keys."""

    def __init__(self, keys: Ints) -> None:
        self._order = np.argsort(keys, kind="stable")
        self._sorted = keys[self._order]

    def find(self, value: int) -> Ints:
        """Positions of a value, the first first."""
        first, last = np.searchsorted(self._sorted, [value, value + 1])
        return self._order[first:last]


def digest_prefix(digest: str) -> int:
    """The first 63 bits of a sha256."""
    return int(digest[:16], 16) >> 1
