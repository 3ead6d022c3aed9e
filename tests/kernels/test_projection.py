"""The map."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from annotate.kernels.projection import FEWEST_FOR_TSNE, principal_plane, project, sample
from annotate.kernels.vectors import Floats, Ints, unit


def groups(n: int, k: int = 4, d: int = 24) -> tuple[Floats, Ints]:
    """Unit rows around k far-apart centres, and the centre of each."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % k
    return unit(unit(rng.normal(size=(k, d)))[labels] + rng.normal(size=(n, d)) * 0.05), labels


def test_neighbours_stay_neighbours() -> None:
    embeddings, labels = groups(120)
    places = project(embeddings)
    assert places.shape == (120, 2)
    assert KNeighborsClassifier(5).fit(places[:60], labels[:60]).score(places[60:], labels[60:]) == 1


def test_the_map_is_the_same_every_time() -> None:
    embeddings, _ = groups(80)
    assert project(embeddings).tobytes() == project(embeddings.copy()).tobytes()


@pytest.mark.parametrize("n", [1, 2, 3, FEWEST_FOR_TSNE - 1, FEWEST_FOR_TSNE])
@pytest.mark.parametrize("d", [1, 2, 60])
def test_few_images_and_few_dimensions_have_a_map_too(n: int, d: int) -> None:
    embeddings, _ = groups(n, d=d)
    places = project(embeddings)
    assert places.shape == (n, 2)
    assert np.isfinite(places).all()


def test_images_that_are_all_the_same_share_one_place() -> None:
    embeddings = np.tile(unit(np.ones((1, 16))), (50, 1))
    assert np.abs(project(embeddings)).max() < 1e-5


def test_the_plane_is_that_of_scikit_learn_but_for_signs() -> None:
    from sklearn.decomposition import PCA

    embeddings, _ = groups(40)
    expected = PCA(2).fit_transform(embeddings)
    np.testing.assert_allclose(np.abs(principal_plane(embeddings)), np.abs(expected), atol=1e-5)


def test_the_sample_keeps_order_and_never_repeats_an_image() -> None:
    assert sample(5, 10).tolist() == [0, 1, 2, 3, 4]
    rows = sample(1000, 100)
    assert len(rows) == 100
    assert (np.diff(rows) > 0).all()
    assert rows.tolist() == sample(1000, 100).tolist()
