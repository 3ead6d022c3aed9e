from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels.chances import MOST_KEPT, MOST_WHOLE, Chances, largest, number_kept, softmax_chances

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("columns", [7, 40, 128, 300, 1003])  # 7 are asked for
def test_the_largest_are_those_of_a_stable_sort(columns: int, ties: bool) -> None:
    rows = RNG.normal(size=(50, columns)).astype(np.float32)
    if ties:
        rows = np.round(rows)  # zeros of either sign among them
        rows[0], rows[1, 3:], rows[2], rows[3, ::2] = 0.5, -np.inf, -np.inf, -0.0
    np.testing.assert_array_equal(largest(rows, 7), np.argsort(-rows, axis=1, kind="stable")[:, :7])


def test_of_no_rows_there_are_none_and_of_all_columns_all() -> None:
    assert largest(np.empty((0, 9), np.float32), 4).shape == (0, 4)
    rows = RNG.normal(size=(5, 200)).astype(np.float32)
    np.testing.assert_array_equal(largest(rows, 200), np.argsort(-rows, axis=1))


def test_what_is_kept_is_part_of_the_whole() -> None:
    similarity = RNG.uniform(0, 1, (60, 50)).astype(np.float32)
    whole, part = softmax_chances(similarity, 0.1, None), softmax_chances(similarity, 0.1, MOST_KEPT)
    assert part.classes is not None
    assert part.probabilities.shape == part.classes.shape == (60, MOST_KEPT)
    np.testing.assert_array_equal(part.labels, whole.labels)
    np.testing.assert_array_equal(part.classes[:, 0], whole.labels)
    np.testing.assert_array_equal(part.confidences, part.probabilities[:, 0])
    np.testing.assert_array_equal(np.take_along_axis(whole.probabilities, part.classes, axis=1), part.probabilities)
    assert (np.diff(part.probabilities, axis=1) <= 0).all()


def test_parts_are_dropped_only_where_all_would_be_too_many() -> None:
    assert number_kept(MOST_WHOLE // 100, 100) is None
    assert number_kept(MOST_WHOLE // 100 + 1, 100) == MOST_KEPT
    assert number_kept(MOST_WHOLE, MOST_KEPT) is None


@pytest.mark.parametrize("kept", [None, MOST_KEPT])
def test_chances_may_take_the_place_of_the_similarities(kept: int | None) -> None:
    similarity = RNG.uniform(0, 1, (60, 50)).astype(np.float32)
    apart = softmax_chances(similarity, 0.1, kept)
    here = softmax_chances(similarity, 0.1, kept, out=similarity)
    np.testing.assert_array_equal(here.labels, apart.labels)
    np.testing.assert_array_equal(here.confidences, apart.confidences)
    np.testing.assert_array_equal(here.probabilities, apart.probabilities)


def test_blocks_joined_are_the_whole() -> None:
    similarity = RNG.uniform(0, 1, (60, 50)).astype(np.float32)
    whole = softmax_chances(similarity, 0.1, MOST_KEPT)
    joined = Chances.joined(
        60, [softmax_chances(similarity[:13], 0.1, MOST_KEPT), softmax_chances(similarity[13:], 0.1, MOST_KEPT)]
    )
    assert joined.classes is not None
    np.testing.assert_array_equal(joined.classes, whole.classes)
    np.testing.assert_array_equal(joined.probabilities, whole.probabilities)
    with pytest.raises(ValueError, match="13 of 60"):
        Chances.joined(60, [softmax_chances(similarity[:13], 0.1, MOST_KEPT)])
