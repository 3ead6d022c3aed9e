from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from annotate.arrays import RowsFile

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
@pytest.mark.parametrize("shape", [(7, 3), (7,), (7, 0), (0, 3)])
def test_rows_that_come_in_blocks_make_the_file_that_numpy_writes(
    shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    rows = RNG.normal(size=shape).astype(dtype)
    np.save(tmp_path / "whole.npy", rows)
    file = RowsFile(tmp_path / "rows.npy", len(rows))
    for block in (rows[:2], rows[2:5], rows[5:]):
        file.append(block)
    file.close()
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_rows_are_mapped_when_all_are_there(tmp_path: Path) -> None:
    file = RowsFile(tmp_path / "rows.npy", 4)
    file.append(np.ones((3, 2), np.float32)[:, ::-1])
    with pytest.raises(ValueError, match="3 of 4 rows"):
        file.whole()
    file.append(np.zeros((1, 2), np.float32))
    whole = file.whole()
    assert isinstance(whole, np.memmap)
    np.testing.assert_array_equal(whole, [[1, 1], [1, 1], [1, 1], [0, 0]])
