"""A file of many lines as a sequence, read from disk where it is asked for."""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar, overload

T = TypeVar("T")

STRIDE = 64  # lines between two known places: 8 bytes of memory for as many lines
CHUNK = 1 << 20  # bytes read at a time


class Lines(Sequence[T], Generic[T]):
    """Line i of a file, parsed. The file stays open, so that the lines remain those of today when it is replaced.

    path   UTF-8 text, every line ended by a line feed
    parse  what a line means; takes its bytes without the line feed
    skip   lines before the first that counts, and after the last
    """

    def __init__(self, path: Path, parse: Callable[[bytes], T], *, skip: int = 0) -> None:
        self.path, self.parse, self.skip = path, parse, skip
        self._file = os.open(path, os.O_RDONLY)
        self._places, count = array("q", [0]), 0
        for line_end in line_ends(self._file):
            count += 1
            if count % STRIDE == 0:
                self._places.append(line_end)
        self._length = max(0, count - 2 * skip)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._length)
            if step == 1:
                return list(self._between(start, max(start, stop)))
            return [self[i] for i in range(start, stop, step)]
        number = int(index) + (self._length if index < 0 else 0)
        if not 0 <= number < self._length:
            raise IndexError(f"line {index} of {self._length}")
        return next(self._between(number, number + 1))

    def __iter__(self) -> Iterator[T]:
        return self._between(0, self._length)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def _between(self, start: int, stop: int) -> Iterator[T]:
        if start >= stop:
            return
        first = start + self.skip
        place, left_out = self._places[first // STRIDE], first % STRIDE
        wanted, kept = stop - start, b""
        while wanted:
            chunk = read_at(self._file, CHUNK if wanted > STRIDE else CHUNK >> 5, place)
            if not chunk:
                raise ValueError(f"{self.path}: shorter than it was")
            place += len(chunk)
            *whole, kept = (kept + chunk).split(b"\n")
            for line in whole[left_out : left_out + wanted]:
                yield self.parse(line)
                wanted -= 1
            left_out = max(0, left_out - len(whole))


SEEKING = threading.Lock()


def read_at(file: int, count: int, place: int) -> bytes:
    """Bytes from some place of an open file; threads may read at once."""
    if hasattr(os, "pread"):
        return os.pread(file, count, place)
    with SEEKING:  # Windows
        os.lseek(file, place, os.SEEK_SET)
        return os.read(file, count)


def line_ends(file: int) -> Iterator[int]:
    """Places just behind each line feed of an open file."""
    place = 0
    while chunk := read_at(file, CHUNK, place):
        found = chunk.find(b"\n")
        while found >= 0:
            yield place + found + 1
            found = chunk.find(b"\n", found + 1)
        place += len(chunk)
