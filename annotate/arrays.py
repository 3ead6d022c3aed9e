"""Arrays on disk: written whole, or a block of rows at a time where the whole is never in memory."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt


class RowsFile:
    """A .npy file of n rows that come block by block; their width and type are those of the first block.

    raises  ValueError where other than n rows came, OSError where they do not fit on the disk
    """

    def __init__(self, path: Path, n: int) -> None:
        self.path, self.n, self.written = path, n, 0
        self._file: IO[bytes] | None = None

    def append(self, rows: npt.NDArray[Any]) -> None:
        rows = np.ascontiguousarray(rows)
        if self._file is None:
            self._file = open(self.path, "wb")  # noqa: SIM115  closed by `close`
            header = {
                "descr": np.lib.format.dtype_to_descr(rows.dtype),
                "fortran_order": False,
                "shape": (self.n, *rows.shape[1:]),
            }
            np.lib.format.write_array_header_1_0(self._file, header)
        self._file.write(rows.data)
        self.written += len(rows)

    def close(self) -> None:
        if self._file is None or self.written != self.n:
            raise ValueError(f"{self.path.name}: {self.written} of {self.n} rows")
        self._file.close()

    def whole(self) -> Any:
        """All rows, mapped; closes the file."""
        self.close()
        return np.load(self.path, mmap_mode="r", allow_pickle=False)
