from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from annotate.kernels.splits import choose_splits, quotas


@given(st.integers(0, 500), st.integers(0, 100), st.data())
def test_quotas_sum_to_n_and_stay_within_one(n: int, train: int, data: st.DataObject) -> None:
    val = data.draw(st.integers(0, 100 - train))
    percentages = (train, val, 100 - train - val)
    parts = quotas(n, percentages)
    assert sum(parts) == n
    assert all(abs(part - n * p / 100) < 1 for part, p in zip(parts, percentages, strict=True))


def keys(n: int) -> list[str]:
    return [f"image {i}" for i in range(n)]


def test_every_class_is_split_by_the_percentages() -> None:
    labels = np.repeat([0, 1, 2], [100, 40, 20])
    chosen = choose_splits(keys(160), labels, (70, 15, 15), 42)
    for label, n in enumerate((100, 40, 20)):
        counts = np.bincount(chosen[labels == label], minlength=3)
        assert counts.tolist() == [70 * n // 100, 15 * n // 100, 15 * n // 100]


@given(st.permutations(range(30)))
def test_the_order_of_listing_does_not_matter(order: list[int]) -> None:
    labels = np.arange(30) % 3
    chosen = choose_splits(keys(30), labels, (70, 15, 15), 42)
    shuffled = choose_splits([keys(30)[i] for i in order], labels[order], (70, 15, 15), 42)
    assert shuffled.tolist() == chosen[order].tolist()


def test_the_split_is_the_same_on_every_machine() -> None:
    """A golden answer: this is what seed 42 has always given."""
    assert choose_splits(keys(10), np.zeros(10, int), (50, 30, 20), 42).tolist() == GOLDEN


def test_another_seed_gives_another_split() -> None:
    labels = np.zeros(50, int)
    assert (
        choose_splits(keys(50), labels, (50, 25, 25), 1).tolist()
        != choose_splits(keys(50), labels, (50, 25, 25), 2).tolist()
    )


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3)), min_size=1, max_size=40))
def test_identical_images_never_straddle_two_splits_whatever_their_labels(images: list[tuple[str, int]]) -> None:
    names, labels = [name for name, _ in images], np.array([label for _, label in images])
    chosen = choose_splits(names, labels, (40, 30, 30), 7)
    for name in set(names):
        assert len({int(s) for s, n in zip(chosen, names, strict=True) if n == name}) == 1


@given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 2)), min_size=1, max_size=40))
def test_identical_images_never_straddle_two_splits_even_when_their_labels_differ(rows: list[tuple[str, int]]) -> None:
    names, labels = [name for name, _ in rows], np.array([label for _, label in rows])
    chosen = choose_splits(names, labels, (40, 30, 30), 7)
    for name in set(names):
        assert len({int(s) for s, n in zip(chosen, names, strict=True) if n == name}) == 1
    backwards = choose_splits(names[::-1], labels[::-1], (40, 30, 30), 7)
    assert backwards.tolist() == chosen[::-1].tolist()


@given(st.lists(st.sampled_from("abcdefghijkl"), min_size=1, max_size=40), st.sampled_from([(98, 1, 1), (70, 15, 15)]))
def test_a_class_with_enough_different_images_has_some_in_every_split(names: list[str], parts: tuple[int, ...]) -> None:
    chosen = choose_splits(names, np.zeros(len(names), int), parts, 7)
    assert len(set(chosen.tolist())) == 3 or len(set(names)) < 3


@given(st.integers(1, 40))
def test_a_split_of_zero_percent_has_no_image(n: int) -> None:
    assert 2 not in choose_splits(keys(n), np.zeros(n, int), (80, 20, 0), 7)
    assert 1 not in choose_splits(keys(n), np.zeros(n, int), (50, 0, 50), 7)


GOLDEN = [0, 0, 2, 1, 1, 0, 0, 0, 1, 2]
