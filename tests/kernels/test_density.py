from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from annotate.kernels.density import (
    centroids_of,
    cluster_sizes,
    meta_clusters,
    micro_clusters,
    principal_components,
    renumber,
)
from annotate.kernels.vectors import unit

Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def test_planted_groups_are_found(blobs: Blobs) -> None:
    x, _, truth = blobs(n=600, k=6, d=128, spread=0.04)
    found, strengths = micro_clusters(x, min_cluster_size=30, min_samples=5, pca_dimensions=50)
    assert adjusted_rand_score(truth, found) > 0.95
    assert strengths.min() >= 0
    assert strengths.max() <= 1
    assert renumber(found).tolist() == found.tolist()


def test_the_numbering_follows_the_first_member() -> None:
    assert renumber(np.array([7, -1, 3, 7, 3, 9])).tolist() == [0, -1, 1, 0, 1, 2]


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 12])
def test_a_handful_of_images_is_clustered_too(n: int) -> None:
    x = unit(np.random.default_rng(n).normal(size=(n, 16)))
    size, samples = cluster_sizes(n, 2)
    found, strengths = micro_clusters(x, min_cluster_size=size, min_samples=samples, pca_dimensions=50)
    assert found.shape == strengths.shape == (n,)


@pytest.mark.parametrize(
    ("n", "k", "sizes"),
    [(1000, None, (50, 20)), (1000, 5, (50, 20)), (1000, 25, (13, 20)), (40, 2, (5, 3)), (2980, 25, (39, 59))],
)
def test_sizes_follow_the_rule_with_floors(n: int, k: int | None, sizes: tuple[int, int]) -> None:
    assert cluster_sizes(n, k) == sizes


def test_meta_clusters_join_the_nearest() -> None:
    centroids = unit(np.array([[1, 0.0], [1, 0.1], [0, 1.0], [0.1, 1]]))
    assert meta_clusters(centroids, 2).tolist() == [0, 0, 1, 1]
    assert meta_clusters(centroids, 9).tolist() == [0, 1, 2, 3]


def test_centroids_are_unit_means_in_the_full_space(blobs: Blobs) -> None:
    x, _, truth = blobs()
    expected = unit(np.array([x[truth == k].mean(axis=0) for k in range(5)]))
    np.testing.assert_allclose(centroids_of(x, truth), expected, atol=1e-6)


def test_principal_components_keep_distances_when_nothing_is_dropped() -> None:
    x = unit(np.random.default_rng(0).normal(size=(40, 60)))
    kept = principal_components(x, 50)
    before = np.linalg.norm(x[:, None] - x[None], axis=2)
    assert np.abs(np.linalg.norm(kept[:, None] - kept[None], axis=2) - before).max() < 1e-4 + before.max() * 0.2
