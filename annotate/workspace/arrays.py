"""Arrays on disk that are written a block of rows at a time, where the whole is never in memory."""

from __future__ import annotations

import io
import math
import os
import tokenize
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from annotate.workspace.opening import opened


class RowsFile:
    """A .npy file of n rows that come block by block; their width and type are those of the first block.

    As a context it closes the file, whatever happens.
    raises  ValueError for rows of another width or type, and where other than n came; OSError where the disk is full
    """

    def __init__(self, path: Path, n: int) -> None:
        self.path, self.n, self.written = path, n, 0
        self._kind: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._file = opened(path, "wb")  # closed by __exit__

    def append(self, rows: npt.NDArray[Any]) -> None:
        rows = np.ascontiguousarray(rows)
        kind = rows.shape[1:], rows.dtype
        if self._kind is None:
            self._kind = kind
            write_header(self._file, (self.n, *rows.shape[1:]), rows.dtype)
        if kind != self._kind:
            raise ValueError(f"{self.path.name}: rows of {kind} after rows of {self._kind}")
        self._file.write(rows.data)
        self.written += len(rows)

    def complete(self) -> None:
        """Close the file; all rows must be there."""
        self._file.close()
        if self.written != self.n:
            raise ValueError(f"{self.path.name}: {self.written} of {self.n} rows")

    def whole(self) -> Any:
        """All rows, mapped; what somebody changes in them stays in memory."""
        self.complete()
        return load_array(self.path, "c")

    def __enter__(self) -> RowsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """What a .npy file begins with. numpy keeps room in it for any number of rows: it can be written again later."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def load_array(path: Path, mapped: Literal["r", "c"] | None = None) -> Any:
    """The array of a .npy file, which must be as long as its first bytes say.

    mapped  r or c to leave it on disk (c: changes stay in memory); None to read it
    raises  ValueError where it is no .npy file of numbers, or its header claims other than what is there
    """
    with open(path, "rb") as file:
        check_header(file, os.fstat(file.fileno()).st_size)
    return np.load(path, mmap_mode=mapped, allow_pickle=False)


def array_in(content: bytes) -> Any:
    """The same, of a .npy file in memory."""
    check_header(io.BytesIO(content), len(content))
    return np.load(io.BytesIO(content), allow_pickle=False)


def check_header(file: IO[bytes], size: int) -> None:
    try:
        version = np.lib.format.read_magic(file)
        if version not in HEADERS:
            raise ValueError(f"version {version} of the format")
        shape, _, dtype = HEADERS[version](file)
    except (EOFError, SyntaxError, TypeError, RecursionError, MemoryError, OverflowError, tokenize.TokenError) as error:
        raise ValueError("its header cannot be read") from error
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    claimed = file.tell() + math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or max(shape, default=0) >= 1 << 48 or claimed != size:
        raise ValueError(f"{size:,} bytes, its header claims {claimed:,}")


HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
