"""Blocks change no bit: not their height, not the number of threads, not who stands beside a row."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from itertools import pairwise

import numpy as np
import pytest

from annotate.engines.local import Local
from annotate.kernels import blocks, joint_images, labelled_rows, prototypes, transduction
from annotate.kernels.blocks import (
    across,
    cached,
    column_major,
    even_parts,
    evenly_spaced,
    one_thread_per_product,
    products,
    quickest_height,
    room_for,
    similarities,
    single,
    slices,
)
from annotate.kernels.chances import Chances
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.prototypes import class_directions, refine_dynamic
from annotate.kernels.transduction import transduce
from annotate.kernels.vectors import Floats, exact_sums, unit

Blobs = Callable[..., tuple[Floats, Floats, np.ndarray]]


@pytest.fixture
def _one_thread_products() -> Iterator[None]:
    with one_thread_per_product():
        yield


@pytest.mark.parametrize("k", [1, 2, 5, 7, 30, 100, 300])
@pytest.mark.parametrize(("lie", "quick"), [(np.ascontiguousarray, False), (column_major, False), (column_major, True)])
def test_a_row_has_the_same_products_whoever_stands_beside_it(
    k: int, lie: Callable[[Floats], Floats], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "small_are_quick", lambda: quick)
    rng = np.random.default_rng(k)
    rows, columns = rng.normal(size=(700, 512)).astype(np.float32), lie(rng.normal(size=(k, 512)).astype(np.float32))
    whole = products(rows, columns)
    np.testing.assert_allclose(whole, rows.astype(np.float64) @ columns.T.astype(np.float64), atol=1e-4)
    for part in (slice(0, 1), slice(255, 257), slice(13, 600)):
        np.testing.assert_array_equal(products(rows[part], columns), whole[part])
    chosen = rng.permutation(700)[:300]
    np.testing.assert_array_equal(products(rows[chosen], columns), whole[chosen])
    np.testing.assert_array_equal(similarities(rows, columns), whole)


def test_small_products_are_made_only_where_they_are_quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "small_are_quick", lambda: True)
    heights = {k: quickest_height(k, 512) for k in (3, 10, 50, 100, 122, 123, 1000)}
    assert heights == {3: 256, 10: 128, 50: 32, 100: 16, 122: 16, 123: 256, 1000: 256}
    monkeypatch.setattr(blocks, "small_are_quick", lambda: False)
    assert quickest_height(50, 512) == 256


@pytest.mark.parametrize(
    ("folder", "library", "quick"),
    [
        ("numpy.libs", {"architecture": "SkylakeX"}, True),
        ("numpy.libs", {"architecture": "Haswell"}, False),
        ("numpy.libs", {}, False),  # MKL has no kernels of such names
        ("scipy.libs", {"architecture": "SkylakeX"}, False),
    ],
)
def test_the_library_of_numpy_says_whether_small_products_are_quick(
    folder: str, library: dict[str, str], quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = [{"filepath": "/lib/libgomp.so"}, {"filepath": f"/packages/{folder}/blas.so", **library}]
    monkeypatch.setattr("threadpoolctl.threadpool_info", lambda: loaded)
    assert blocks.small_are_quick.__wrapped__() is quick


def test_products_are_as_high_as_is_quickest(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def height(k: int, d: int) -> int:
        asked.append((k, d))
        return 100  # no part of a tile

    monkeypatch.setattr(blocks, "quickest_height", height)
    rows, columns = np.ones((300, 48), np.float32), np.ones((30, 48), np.float32)
    products(rows, columns)
    assert not asked
    with pytest.raises(ValueError, match="reshape"):
        products(rows, column_major(columns))
    assert asked == [(30, 48)]


@pytest.mark.parametrize("lie", [np.ascontiguousarray, column_major])
def test_products_may_share_one_room(lie: Callable[[Floats], Floats], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "small_are_quick", lambda: True)
    rng = np.random.default_rng(0)
    rows, columns = rng.normal(size=(700, 512)).astype(np.float32), lie(rng.normal(size=(30, 512)).astype(np.float32))
    parts = slices(700, 512)
    room = room_for(parts, 30)
    for part in parts:
        found = products(rows[part], columns, room)
        assert np.shares_memory(found, room)
        np.testing.assert_array_equal(found, products(rows[part], columns))


def test_every_half_is_widened_to_its_own_value() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    halves = every[np.isfinite(every)].reshape(-1, 8)
    wide = single(halves)
    np.testing.assert_array_equal(wide, halves.astype(np.float32))
    np.testing.assert_array_equal(np.signbit(wide), np.signbit(halves))


def test_answers_come_in_the_order_of_the_items(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(item: int) -> int:
        time.sleep(0.01 if item % 3 == 0 else 0)
        return item * item

    for threads in (1, 4):
        monkeypatch.setattr(blocks, "cores", lambda threads=threads: threads)
        assert [*across(work, range(30))] == [item * item for item in range(30)]


def test_one_item_takes_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "cores", lambda: 4)
    assert [*across(lambda _: threading.current_thread(), [1])] == [threading.current_thread()]
    assert [*across(lambda item: item, list[int]())] == []


def test_a_failure_in_a_thread_is_a_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        list(across(lambda item: 1 // item, [1, 0, 1]))


def test_work_may_share_out_work_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "cores", lambda: 2)
    sums: list[int] = []

    def nested() -> None:
        sums.extend(across(lambda item: sum(across(lambda other: item * other, range(4))), range(8)))

    thread = threading.Thread(target=nested, daemon=True)
    thread.start()
    thread.join(timeout=30)
    assert sums == [6 * item for item in range(8)]


def test_work_left_in_the_middle_has_ended_when_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "cores", lambda: 2)
    running: list[int] = []

    def work(item: int) -> None:
        running.append(item)
        time.sleep(0.02)
        running.remove(item)

    answers = across(work, range(50))
    assert isinstance(answers, Generator)
    next(answers)
    answers.close()
    assert running == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "cores", lambda: 2)
    under_way = across(abs, range(40))
    assert isinstance(under_way, Generator)
    assert next(under_way) == 0
    context = multiprocessing.get_context("fork")
    child = context.Process(target=in_the_child, args=(under_way,))
    child.start()
    child.join(timeout=30)
    assert child.exitcode == 0
    assert [*under_way] == [*range(1, 40)]


def in_the_child(under_way: Generator[int, None, None]) -> None:
    under_way.close()
    assert [*across(abs, range(4))] == [0, 1, 2, 3]


def test_parts_cover_a_block_once() -> None:
    for k in (2, 100, 5000):
        parts = cached(slice(512, 9000), k)
        assert [parts[0].start, parts[-1].stop] == [512, 9000]
        assert all(a.stop == b.start and b.start % blocks.TILE == 0 for a, b in pairwise(parts))


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_even_parts_keep_every_core_busy(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    monkeypatch.setattr(blocks, "cores", lambda: threads)
    for n in (0, 1, 255, 256, 3000, 200_000):
        parts = even_parts(n, 32_768)
        assert [row for part in parts for row in (part.start, part.stop)][1:-1:2] == [part.start for part in parts][1:]
        assert sum(part.stop - part.start for part in parts) == n
        assert all(part.stop - part.start <= 32_768 + blocks.TILE for part in parts)
        if n > 100 * threads * blocks.TILE:
            assert len(parts) % threads == 0
            assert parts[-1].stop - parts[-1].start > 0.9 * parts[0].stop


def test_a_sample_is_spread_over_all_images() -> None:
    np.testing.assert_array_equal(evenly_spaced(3, 10), [0, 1, 2])
    rows = evenly_spaced(1000, 10)
    assert len(np.unique(rows)) == 10 and np.ptp(np.diff(rows)) == 0 and rows[-1] >= 900


def test_sums_do_not_depend_on_order_and_can_be_taken_back() -> None:
    rng = np.random.default_rng(0)
    rows, groups = unit(rng.normal(size=(5000, 20))), rng.integers(0, 9, 5000)
    found, sums = exact_sums(rows, groups)
    order = rng.permutation(5000)
    np.testing.assert_array_equal(exact_sums(rows[order], groups[order])[1], sums)
    parts = sum(exact_sums(rows[s], groups[s])[1] for s in slices(5000, 1250))
    np.testing.assert_array_equal(parts, sums)
    gone = exact_sums(rows[:2000], groups[:2000])[1]
    np.testing.assert_array_equal(sums - gone, exact_sums(rows[2000:], groups[2000:])[1])
    np.testing.assert_array_equal(found, np.arange(9))
    np.testing.assert_allclose(sums[4], rows[groups == 4].astype(np.float64).sum(axis=0), atol=1e-5)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_sums_are_those_of_the_nearest_multiples(kind: type) -> None:
    """Of every size of number, of halves of a step, of groups that are larger than what is added at a time."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(1500, 12)) * 2.0 ** rng.integers(-30, 1, (1500, 1))
    rows[::7] = (rng.integers(-50, 50, (215, 12)) + 0.5) * 2.0**-26
    rows = rows.astype(kind)
    groups = np.r_[np.zeros(800, np.int64), rng.integers(-1, 300, 700)][rng.permutation(1500)]
    found, sums = exact_sums(rows, groups)
    steps = rows.astype(np.float64) * 2.0**26
    expected = [np.rint(steps[groups == g]).sum(axis=0) / 2.0**26 for g in np.unique(groups)]
    np.testing.assert_array_equal(found, np.unique(groups))
    np.testing.assert_array_equal(sums, expected)


@pytest.mark.usefixtures("_one_thread_products")
@pytest.mark.parametrize("method", ["dynamic", "transductive", "kept 16", "balanced"])
def test_block_size_and_threads_change_no_bit(blobs: Blobs, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    x, t, _ = blobs(n=3000, k=20, spread=0.3, blur=0.3)
    halves = x.astype(np.float16)

    def outcome(block: int, threads: int) -> list[bytes]:
        for module in (blocks, joint_images, labelled_rows, transduction):
            monkeypatch.setattr(module, "BLOCK", block)
        for name, value in (("BLOCK", block), ("LARGEST", 2 * block)):
            monkeypatch.setattr(f"annotate.engines.local.{name}", value)
        monkeypatch.setattr(blocks, "cores", lambda: threads)
        some = evenly_spaced(len(x), 500)
        if method == "dynamic":
            workers = Local(halves)
            *_, nearest = refine_dynamic(workers, t, single(halves[some]), iterations=6, start=0.95, end=0.6)
            made = Chances.joined(len(x), workers.chances(nearest.prototypes, 0.01, 16))
            assert made.classes is not None
            return [
                nearest.prototypes.tobytes(),
                made.labels.tobytes(),
                made.probabilities.tobytes(),
                made.classes.tobytes(),
            ]
        graph = neighbour_graph(*nearest_neighbours(x, 5))
        kept, balanced = (16 if method == "kept 16" else None), method == "balanced"
        *_, last = transduce(halves, t, graph, some, logit_scale=40.0, iterations=5, kept=kept, balanced=balanced)
        return [last.prototypes.tobytes(), last.sample.tobytes(), last.labels.tobytes()]

    expected = outcome(16_384, 1)
    for block, threads in ((256, 3), (1024, 2), (16_384, 2)):
        assert outcome(block, threads) == expected


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images `dynamic` looks at again, each time that it does."""
    looked: list[int] = []
    look = labelled_rows.LabelledRows._look

    def counted(self: labelled_rows.LabelledRows, p: Floats, u: Floats, images: np.ndarray) -> labelled_rows.Change:
        looked.append(len(images))
        return look(self, p, u, images)

    monkeypatch.setattr(labelled_rows.LabelledRows, "_look", counted)
    return looked


@pytest.mark.usefixtures("_one_thread_products")
@pytest.mark.parametrize("seed", range(4))
def test_images_at_rest_would_have_kept_their_labels(
    blobs: Blobs, monkeypatch: pytest.MonkeyPatch, looked: list[int], seed: int
) -> None:
    """The shortcut looks at a part of the images and gives the bytes of looking at all."""
    x, t, _ = blobs(n=4000, k=30, spread=0.25, blur=0.25, seed=seed)

    def passes() -> list[prototypes.Pass]:
        looked.clear()
        return [*refine_dynamic(Local(x), t, x[evenly_spaced(4000, 400)], iterations=10, start=0.95, end=0.6)]

    short = passes()
    assert sum(looked) < 7 * len(x)
    monkeypatch.setattr(labelled_rows, "ROUNDING", np.inf)
    whole = passes()
    assert sum(looked) == 10 * len(x)
    for one, other in zip(short, whole, strict=True):
        np.testing.assert_array_equal(one.prototypes, other.prototypes)
        np.testing.assert_array_equal(one.counts, other.counts)
        assert one.moved == other.moved
    assert sum(p.moved for p in whole) > 100


@pytest.mark.usefixtures("_one_thread_products")
def test_directions_save_work_and_change_no_bit(blobs: Blobs, looked: list[int]) -> None:
    x, t, _ = blobs(n=4000, k=30, spread=0.25, blur=0.25)
    outcomes, work = [], []
    for directions in (class_directions(x, t), class_directions(x[:60], t), -t):
        looked.clear()
        *_, last = refine_dynamic(Local(x), t, x[:400], iterations=10, start=0.95, end=0.6, directions=directions)
        outcomes.append(last.prototypes.tobytes())
        work.append(sum(looked))
    assert outcomes[0] == outcomes[1] == outcomes[2]
    assert work[0] < work[1] and work[0] < work[2]
