"""Arrays on disk that are written a block of rows at a time, where the whole is never in memory."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


class RowsFile:
    """A .npy file of n rows that come block by block; their width and type are those of the first block.

    As a context it closes the file, whatever happens.
    raises  ValueError for rows of another width or type, and where other than n came; OSError where the disk is full
    """

    def __init__(self, path: Path, n: int) -> None:
        self.path, self.n, self.written = path, n, 0
        self._kind: tuple[tuple[int, ...], np.dtype[Any]] | None = None
        self._file = open(path, "wb")  # noqa: SIM115  closed by __exit__

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
        return np.load(self.path, mmap_mode="c", allow_pickle=False)

    def __enter__(self) -> RowsFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()


def write_header(file: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """What a .npy file begins with. numpy keeps room in it for any number of rows: it can be written again later."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
