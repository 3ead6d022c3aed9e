from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from annotate.kernels import blocks
from annotate.kernels.density import (
    PASSES,
    by_content,
    cluster_centroids,
    cluster_sizes,
    meta_clusters,
    micro_clusters,
    principal_components,
    renumber,
)
from annotate.kernels.vectors import unit

Blobs = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]
SETTINGS: dict[str, Any] = {"min_cluster_size": 150, "min_samples": 30, "pca_dimensions": 50}
SMALL: dict[str, Any] = {"min_cluster_size": 20, "min_samples": 5, "pca_dimensions": 50}


def test_planted_groups_are_found(blobs: Blobs) -> None:
    x, _, truth = blobs(n=600, k=6, d=128, spread=0.04)
    found, strengths = micro_clusters(x, min_cluster_size=30, min_samples=5, pca_dimensions=50)
    assert adjusted_rand_score(truth, found) > 0.95
    assert strengths.min() >= 0
    assert strengths.max() <= 1
    assert renumber(found).tolist() == found.tolist()


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_planted_groups_are_found_through_micro_centroids(blobs: Blobs, dtype: type) -> None:
    x, _, truth = blobs(n=6000, k=12, d=128, spread=0.06)
    found, strengths = micro_clusters(x.astype(dtype), **SETTINGS, exact_up_to=0)
    assert adjusted_rand_score(truth, found) > 0.99
    assert renumber(found).tolist() == found.tolist()
    assert strengths.min() >= 0
    assert strengths.max() == 1


def test_small_groups_are_found_among_many(blobs: Blobs) -> None:
    x, _, truth = blobs(n=6000, k=150, d=128, spread=0.04)
    size, _ = cluster_sizes(6000, 150)
    found, _ = micro_clusters(x, min_cluster_size=size, min_samples=size, pca_dimensions=50, exact_up_to=0)
    assert adjusted_rand_score(truth, found) > 0.95


def test_an_image_far_from_its_group_is_a_weaker_member(blobs: Blobs) -> None:
    x, _, truth = blobs(n=6000, k=12, d=128, spread=0.03)
    direction = unit(np.random.default_rng(9).normal(size=(1, 128)))
    x[:12] = unit(x[:12] + 0.5 * direction)
    found, strengths = micro_clusters(x, **SETTINGS, exact_up_to=0)
    assert adjusted_rand_score(truth, found) > 0.99
    assert strengths[:12].max() < np.quantile(strengths[12:], 0.01)


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
def test_permuting_the_images_changes_nothing(blobs: Blobs, exact_up_to: int) -> None:
    x = blobs(n=1500, k=20, d=96, spread=0.25)[0]
    x[700:800] = x[300:400]  # some images are there twice
    found, strengths = micro_clusters(x, **SMALL, exact_up_to=exact_up_to)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(1500)
        again, strong = micro_clusters(x[order], **SMALL, exact_up_to=exact_up_to)
        np.testing.assert_array_equal(again, renumber(found[order]))
        np.testing.assert_array_equal(strong, strengths[order])
    np.testing.assert_array_equal(found[700:800], found[300:400])


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
def test_the_number_of_threads_changes_no_bit(blobs: Blobs, exact_up_to: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = blobs(n=9000, k=20, d=96, spread=0.25)[0][:: 1 if exact_up_to == 0 else 6]
    answers = []
    for threads in (1, 2, 5):
        monkeypatch.setattr(blocks, "cores", lambda threads=threads: threads)
        with threadpool_limits(threads):
            answers.append(micro_clusters(x, **SMALL, exact_up_to=exact_up_to))
    for found, strengths in answers[1:]:
        np.testing.assert_array_equal(found, answers[0][0])
        np.testing.assert_array_equal(strengths, answers[0][1])


def test_a_mapped_file_is_as_good_as_memory(blobs: Blobs, tmp_path: Path) -> None:
    x = blobs(n=3000, k=6, d=96)[0]
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for expected, found in zip(
        micro_clusters(x, **SMALL, exact_up_to=0), micro_clusters(mapped, **SMALL, exact_up_to=0), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("exact_up_to", [0, 10_000])
@pytest.mark.parametrize("d", [96, 20])
def test_progress_ends_where_it_said(blobs: Blobs, exact_up_to: int, d: int) -> None:
    counts: list[int] = []
    micro_clusters(blobs(n=1500, d=d)[0], **SMALL, exact_up_to=exact_up_to, advance=counts.append)
    assert sum(counts) == PASSES * 1500


def test_images_all_alike_are_one_cluster() -> None:
    x = np.tile(unit(np.ones((1, 60))), (300, 1))
    found, strengths = micro_clusters(x, **SMALL, exact_up_to=0)
    assert not found.any()
    assert strengths.tolist() == [1] * 300


def test_the_order_by_content_puts_equal_rows_together() -> None:
    x = unit(np.random.default_rng(0).normal(size=(50, 7)))[[*range(50), *range(20)]]
    order, first = by_content(x)
    assert sorted(order) == list(range(70))
    assert len(set(first)) == 50
    np.testing.assert_array_equal(x[order], x[order[first]])


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
    [
        (1000, None, (50, 20)),
        (1000, 5, (50, 20)),
        (1000, 25, (13, 20)),
        (40, 2, (5, 3)),
        (2980, 25, (39, 59)),
        (20_000, 5, (1000, 400)),
        (20_001, 5, (1000, 50)),
        (30_000, 500, (20, 20)),
    ],
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
    np.testing.assert_allclose(cluster_centroids(x, truth), expected, atol=1e-6)


def test_principal_components_keep_distances_when_nothing_is_dropped() -> None:
    x = unit(np.random.default_rng(0).normal(size=(40, 60)))
    kept = principal_components(x, 50)
    before = np.linalg.norm(x[:, None] - x[None], axis=2)
    assert np.abs(np.linalg.norm(kept[:, None] - kept[None], axis=2) - before).max() < 1e-4 + before.max() * 0.2
