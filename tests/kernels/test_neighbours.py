"""Nearest neighbours and their graph."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels import blocks, neighbours
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph, recall
from annotate.kernels.vectors import Floats, unit


@pytest.fixture
def rows() -> Floats:
    return unit(np.random.default_rng(0).normal(size=(60, 8)))


@pytest.mark.parametrize("held", [1, 7 * 60, 1 << 26])
def test_neighbours_are_those_of_a_full_sort(rows: Floats, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "HELD_AT_ONCE", held)
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


@pytest.fixture
def many() -> Floats:
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(40, 24))
    return unit(centres[np.arange(4000) % 40] + 0.7 * rng.normal(size=(4000, 24)))


def test_cells_find_nearly_all_neighbours_and_say_how_many(many: Floats) -> None:
    exact, _ = nearest_neighbours(many, 5, exact=True)
    near, cosines = nearest_neighbours(many, 5, exact=False)
    share = np.mean([len(np.intersect1d(a, b)) / 5 for a, b in zip(exact, near, strict=True)])
    assert 0.9 < share < 1
    assert recall(many, near) == pytest.approx(share, abs=0.05)
    assert recall(many, exact) == 1
    assert not (near == np.arange(4000)[:, None]).any()
    np.testing.assert_allclose(cosines[7], many[near[7]] @ many[7], atol=1e-6)


def test_cells_give_the_same_on_any_number_of_threads(many: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(blocks, "cores", lambda threads=threads: threads)
        found.append(nearest_neighbours(many, 5, exact=False))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_an_image_alone_in_its_cells_is_its_own_neighbour_without_weight() -> None:
    rows = unit(np.eye(3)[[0, 1, 2]] + 0.01)
    nearest, cosines = nearest_neighbours(rows, 2, exact=False)
    assert (neighbour_graph(nearest, cosines).diagonal() == 0).all()
