"""Work on many images a block at a time, on every core, so that they need not be in memory together.

Which threads do the work, and how high a block is, changes no bit of the outcome: blocks come back in their order, one
thread works on a block, and the height of a matrix product is decided by its columns and the machine alone.

N images, K columns, D dimensions.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats, Ints

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

BLOCK = 16_384  # images that a thread takes at a time: 32 MB of 512 dimensions
TILE = 256  # images of one matrix product
SMALL = 100**3  # multiplications of a product that OpenBLAS calls small
LOWEST_TILE = 16  # images; products of fewer rows are no quicker
WITH_AVX512 = {"SkylakeX", "Cooperlake", "SapphireRapids"}  # as OpenBLAS calls its kernels, on AMD as well
NUMPYS = "numpy.libs"  # folder of the libraries that come with numpy
CACHED = 1 << 18  # similarities that stay in a core's cache, 1 MB
WORKER = "annotate-block"  # so the names of the threads begin

Advance = Callable[[int], None]  # called with how many more images are done
Item = TypeVar("Item")
Made = TypeVar("Made")


def cores() -> int:
    """How many threads may run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_thread_per_product() -> AbstractContextManager[Any]:
    """Keep a matrix product on the thread that asks for it: the cores share blocks, not products."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")  # type: ignore[no-any-return]


def slices(n: int, height: int) -> list[slice]:
    return [slice(start, min(start + height, n)) for start in range(0, n, height)]


def even_parts(n: int, most: int) -> list[slice]:
    """Parts of the same height, at most about `most` rows each, that keep all cores busy to the end."""
    rounds = max(1, -(-n // (cores() * most)))
    return slices(n, max(1, -(-n // (cores() * rounds * TILE))) * TILE)


def cached(rows: slice, k: int) -> list[slice]:
    """Parts of a block whose similarities to k classes stay in the cache."""
    height = max(1, CACHED // k // TILE) * TILE
    return [slice(start, min(start + height, rows.stop)) for start in range(rows.start, rows.stop, height)]


def across(work: Callable[[Item], Made], items: Iterable[Item]) -> Iterator[Made]:
    """Call work(item) for every item, on all cores; yield what comes back in the order of the items.

    At most a few items are worked on ahead of the one that is asked for.
    """
    threads = min(cores(), len(items)) if isinstance(items, Sized) else cores()
    if threads <= 1 or is_worker():
        yield from map(work, items)
        return
    from concurrent.futures import Future, wait

    pool, owner = workers(cores()), os.getpid()
    waiting: deque[Future[Made]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * threads:
                waiting[0].result()  # interrupted here, it is still waited for below
                yield waiting.popleft().result()
        while waiting:
            waiting[0].result()
            yield waiting.popleft().result()
    finally:
        if os.getpid() == owner:  # in a fork nobody does the work
            for future in waiting:
                future.cancel()
            if not is_worker():
                wait(waiting)


def is_worker() -> bool:
    """Whether this thread is one of the workers; they must not wait for each other, which could last for ever."""
    return threading.current_thread().name.startswith(WORKER)


@lru_cache(maxsize=1)
def workers(threads: int) -> ThreadPoolExecutor:
    """The threads that do the work of a process: starting them anew costs a millisecond each time."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(threads, thread_name_prefix=WORKER)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.cache_clear)  # a child has none of its parent's threads


def products(rows: Floats, columns: Floats, room: Floats | None = None) -> Floats:
    """rows @ columns.T, (n, K): each row's product is the same whichever rows stand beside it.

    A matrix product's last bits depend on its shape, so rows are multiplied TILE at a time, the last tile filled up, or
    an even part of TILE.

    room  of `room_for`, to compute in: memory that is new each time costs a fifth of the product
    """
    tiles, (k, d) = tiled(rows), columns.shape
    height = quickest_height(k, d) if columns.flags.f_contiguous else TILE
    out = None if room is None else room[: len(tiles)].reshape(-1, height, k)
    product: Floats = np.matmul(tiles.reshape(-1, height, d), columns.T, out=out).reshape(-1, k)
    return product[: len(rows)]


def column_major(columns: Floats) -> Floats:
    """The same columns, laid out so that products with them take a twentieth less; their last bits may differ.

    With AVX-512 products of few classes take less still (`quickest_height`): a tenth less of 100, half of 10.
    """
    return np.asfortranarray(columns)


def quickest_height(k: int, d: int) -> int:
    """How many rows of one matrix product with k standing columns are quickest here: a power of two, TILE at most."""
    height = TILE
    while height * k * d > SMALL:
        height //= 2
    return height if height >= LOWEST_TILE and small_are_quick() else TILE


@lru_cache(maxsize=1)
def small_are_quick() -> bool:
    """Whether numpy's library multiplies small matrices as they lie: on x86 OpenBLAS does so with AVX-512 alone.

    Where it copies them first, small products take a third longer than large ones. Libraries of other packages do not
    count, since they may be loaded or not.
    """
    from threadpoolctl import threadpool_info

    own = [library for library in threadpool_info() if NUMPYS in library["filepath"]]
    return any(library.get("architecture") in WITH_AVX512 for library in own)


def room_for(parts: list[slice], k: int) -> Floats:
    """Memory for the similarities of any one of these parts to k classes."""
    height = max((part.stop - part.start for part in parts), default=0)
    return np.empty((-(-height // TILE), TILE, k), np.float32)


def similarities(rows: Floats, columns: Floats) -> Floats:
    """The products of rows in memory, on all cores."""
    height = max(1, -(-len(rows) // cores() // TILE)) * TILE
    return np.concatenate([*across(lambda part: products(rows[part], columns), slices(len(rows), height))])


def tiled(rows: Floats) -> Floats:
    """Rows in tiles, (tiles, TILE, D), the last filled up with zeros."""
    n, d = rows.shape
    tiles = -(-n // TILE)
    if n % TILE:
        filled = np.zeros((tiles * TILE, d), np.float32)
        filled[:n] = rows
        rows = filled
    return rows.reshape(tiles, TILE, d)


def single(rows: npt.NDArray[np.floating]) -> Floats:
    """Rows as float32. Half precision is widened by shifting bits, many times as fast as a cast."""
    if rows.dtype != np.float16:
        return np.ascontiguousarray(rows, np.float32)
    halves = np.ascontiguousarray(rows).view(np.int16)
    wide = np.empty(rows.shape, np.float32)
    bits = wide.view(np.int32)
    # A half is s eeeee mmmmmmmmmm, a single s eeeeeeee mmmmmmmmmm...; the biases of their exponents differ by 112.
    for tile in slices(len(rows), TILE):  # that stays in the cache
        np.copyto(bits[tile], halves[tile])
        bits[tile] <<= 13
        bits[tile] &= np.int32(-0x70002000)  # the sign, five bits of exponent, ten of mantissa
        wide[tile] *= np.float32(2.0**112)
    return wide


def evenly_spaced(n: int, most: int) -> Ints:
    """At most `most` of n rows, evenly spaced: a sample that is the same every time."""
    if n <= most:
        return np.arange(n, dtype=np.int64)
    return (np.arange(most, dtype=np.int64) * n) // most
