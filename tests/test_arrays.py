from __future__ import annotations

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from annotate.workspace.arrays import RowsFile, array_in, load_array

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", ["float32", "float16", "int64"])
@pytest.mark.parametrize("shape", [(7, 3), (7,), (7, 0), (0, 3)])
def test_rows_that_come_in_blocks_make_the_file_that_numpy_writes(
    shape: tuple[int, ...], dtype: str, tmp_path: Path
) -> None:
    rows = RNG.normal(size=shape).astype(dtype)
    np.save(tmp_path / "whole.npy", rows)
    with RowsFile(tmp_path / "rows.npy", len(rows)) as file:
        for block in (rows[:2], rows[2:5], rows[5:]):
            file.append(block)
        file.complete()
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_rows_are_mapped_and_changing_them_leaves_the_file_alone(tmp_path: Path) -> None:
    with RowsFile(tmp_path / "rows.npy", 2) as file:
        file.append(np.ones((2, 2), np.float32)[:, ::-1])
        whole = file.whole()
    assert isinstance(whole, np.memmap)
    whole[0] = 5
    np.testing.assert_array_equal(np.load(tmp_path / "rows.npy"), np.ones((2, 2)))


def test_too_few_rows_are_no_file(tmp_path: Path) -> None:
    with RowsFile(tmp_path / "rows.npy", 4) as file:
        file.append(np.ones((3, 2), np.float32))
        with pytest.raises(ValueError, match=r"rows.npy: 3 of 4 rows"):
            file.whole()


@pytest.mark.parametrize("others", [np.ones((2, 5), np.float32), np.ones((2, 3), np.float64)])
def test_rows_of_another_width_or_type_are_refused(others: np.ndarray, tmp_path: Path) -> None:
    with RowsFile(tmp_path / "rows.npy", 4) as file:
        file.append(np.ones((2, 3), np.float32))
        with pytest.raises(ValueError, match="rows of"):
            file.append(others)


@contextmanager
def full_disk() -> Iterator[None]:
    """The limit on a file's size stands for it; lifted before pytest writes a word."""
    handler, limits = signal.signal(signal.SIGXFSZ, signal.SIG_IGN), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_file_that_does_not_fit_says_so(tmp_path: Path) -> None:
    with full_disk(), pytest.raises(OSError, match="too large"), RowsFile(tmp_path / "rows.npy", 1000) as file:
        file.append(np.ones((1000, 3), np.float32))


def header(text: str, version: int = 1) -> bytes:
    content = text.encode() + b"\n"
    length = len(content).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + content


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 512)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (0, 1000000000000000000000)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -4)}") + b"\0" * 16,
        header("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}") + b"\0" * 8,
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", version=3) + b"\0" * 4,
        header("(" * 9_000 + ")" * 9_000, version=2),
        header("{'descr': [['<f4'", version=2),
        header("{'descr': {}, 'fortran_order': 7, 'shape': None}"),
    ],
)
def test_a_file_that_is_no_array_or_claims_what_it_has_not_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    reads: list[Callable[[], object]] = [
        lambda: load_array(path),
        lambda: load_array(path, "r"),
        lambda: array_in(content),
    ]
    for read in reads:
        with pytest.raises(ValueError, match=r"npy|header|objects|version|magic|bytes|EOF|shape"):
            read()


@pytest.mark.parametrize(
    "rows", [np.zeros((0, 3), np.float32), np.arange(6).reshape(2, 3), np.ones((1, 1), np.float16)]
)
def test_an_array_is_read_as_it_was_written(tmp_path: Path, rows: np.ndarray) -> None:
    path = tmp_path / "x.npy"
    np.save(path, rows)
    assert (load_array(path) == rows).all()
    assert (array_in(path.read_bytes()) == rows).all()
