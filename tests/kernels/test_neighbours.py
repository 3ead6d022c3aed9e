"""Nearest neighbours and their graph."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels import neighbours
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.vectors import Floats, unit


@pytest.fixture
def rows() -> Floats:
    return unit(np.random.default_rng(0).normal(size=(60, 8)))


@pytest.mark.parametrize("block", [1, 7 * 60, 1 << 26])
def test_neighbours_are_those_of_a_full_sort(rows: Floats, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", block)
    nearest, cosines = nearest_neighbours(rows, 4)
    similarity = rows @ rows.T
    np.fill_diagonal(similarity, -2)
    np.testing.assert_array_equal(nearest, np.argsort(-similarity, axis=1)[:, :4])
    np.testing.assert_allclose(cosines, np.sort(similarity, axis=1)[:, :-5:-1], atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_images_than_neighbours_are_all_neighbours(rows: Floats, n: int) -> None:
    assert nearest_neighbours(rows[:n], 5)[0].shape == (n, n - 1)
    assert neighbour_graph(*nearest_neighbours(rows[:n], 5)).shape == (n, n)


def test_the_graph_goes_both_ways_and_its_rows_add_up_to_one(rows: Floats) -> None:
    graph = neighbour_graph(*nearest_neighbours(rows, 4))
    dense = graph.toarray()
    np.testing.assert_array_equal(dense > 0, (dense > 0).T)
    np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-6)
    assert not np.diagonal(dense).any()
