from __future__ import annotations

import numpy as np
import pytest
from hdbscan import HDBSCAN
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from sklearn.metrics import adjusted_rand_score

from annotate.kernels.condensed import condense, densest, most_stable

Array = np.ndarray


def scattered(n: int, groups: int, seed: int) -> Array:
    """Points around a few places, some astray, no two distances equal."""
    rng = np.random.default_rng(seed)
    places = 4 * rng.normal(size=(groups, 3))
    points = places[rng.integers(groups, size=n)] + rng.normal(size=(n, 3)) * rng.choice([0.3, 0.8, 2], size=(n, 1))
    return np.asarray(points)


def distances(points: Array) -> Array:
    return np.asarray(np.linalg.norm(points[:, None] - points[None], axis=2))


def with_sizes(points: Array, sizes: Array, apart: Array, min_cluster_size: int) -> tuple[Array, Array]:
    """Clusters and strengths of points that count several times."""
    tree = condense(linkage(squareform(distances(points)), "single"), sizes, apart, min_cluster_size)
    found = most_stable(tree, sizes)
    return found, np.where(found >= 0, np.minimum(tree.leaves / densest(tree)[found], 1), 0)


def reference(apart: Array, min_cluster_size: int) -> HDBSCAN:
    """hdbscan on these distances as they are: one sample changes none of them."""
    return HDBSCAN(min_cluster_size=min_cluster_size, min_samples=1, metric="precomputed").fit(apart)


@pytest.mark.parametrize("seed", range(8))
def test_with_every_size_one_it_is_hdbscan(seed: int) -> None:
    points = scattered(300, 6, seed)
    found, strengths = with_sizes(points, np.ones(300), np.zeros(300), 8)
    model = reference(distances(points), 8)
    assert len(set(model.labels_)) > 2
    np.testing.assert_array_equal(found < 0, model.labels_ < 0)
    assert adjusted_rand_score(model.labels_, found) == 1
    np.testing.assert_allclose(strengths, model.probabilities_, atol=1e-9)


@pytest.mark.parametrize("most", [8, 60])
@pytest.mark.parametrize("seed", range(4))
def test_a_point_of_size_w_is_w_points_a_little_apart(seed: int, most: int) -> None:
    points = scattered(60, 5, seed)
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, most, size=60)
    apart = distances(points)
    own = rng.uniform(0.5, 0.9, size=60) * (apart + 1e9 * np.eye(60)).min(axis=1)  # copies are nearer than others
    found, strengths = with_sizes(points, sizes.astype(float), own, 30)
    copied = np.repeat(np.repeat(apart + np.diag(own), sizes, axis=0), sizes, axis=1)
    np.fill_diagonal(copied, 0)
    model = reference(copied, 30)
    assert len(set(model.labels_)) > 2
    np.testing.assert_array_equal(np.repeat(found < 0, sizes), model.labels_ < 0)
    assert adjusted_rand_score(model.labels_, np.repeat(found, sizes)) == 1
    np.testing.assert_allclose(np.repeat(strengths, sizes), model.probabilities_, atol=1e-9)


def test_one_large_point_may_be_a_cluster() -> None:
    tree = linkage(np.array([[0.0], [10.0], [11.0], [12.0]]), "single")
    sizes = np.array([50.0, 20, 20, 20])
    condensed = condense(tree, sizes, np.array([0.5, 0.5, 0.5, 0.5]), 40)
    assert most_stable(condensed, sizes).tolist() == [1, 2, 2, 2] or most_stable(condensed, sizes).tolist() == [
        2,
        1,
        1,
        1,
    ]


def test_everything_together_is_no_cluster() -> None:
    condensed = condense(linkage(np.array([[0.0], [1.0], [2.5]]), "single"), np.ones(3), np.ones(3), 2)
    assert most_stable(condensed, np.ones(3)).tolist() == [-1, -1, -1]
