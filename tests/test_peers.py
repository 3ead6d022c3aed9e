"""The published peers against plain versions of their equations, and on planted images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from annotate.kernels.vectors import Floats, Ints
from benchmarks.peers import (
    affinities,
    log_likelihood,
    propagation_graph,
    scatter,
    soft_labels,
    solve,
    stata,
    transclip,
    zlap,
)
from tests.kernels.test_transduction import planted

Wide = npt.NDArray[np.float64]

SCALE = 30.0
METHODS: dict[str, Callable[[Floats, Floats], Wide]] = {
    "transclip": lambda images, texts: transclip(images, texts, logit_scale=SCALE),
    "stata": lambda images, texts: stata(images, texts, logit_scale=SCALE),
    "zlap": zlap,
}


@pytest.fixture(params=[0, 1])
def small(request: pytest.FixtureRequest) -> tuple[Floats, Floats]:
    images, texts, _ = planted([14, 9, 5, 0, 12], wrong=1.6, spread=1.6, seed=request.param)
    return images, texts


def plain_words(images: Floats, texts: Floats) -> Wide:
    """y, image by image."""
    rows = [np.exp(SCALE * np.array([float(x @ t) for t in texts])) for x in images]
    return np.array([row / row.sum() for row in rows])


def plain_affinities(images: Floats, k: int) -> Wide:
    w = np.zeros((len(images), len(images)))
    for i, x in enumerate(images):
        others = sorted((j for j in range(len(images)) if j != i), key=lambda j: -float(x @ images[j]))
        for j in others[:k]:
            w[i, j] = max(0.0, float(x @ images[j]))
    return w


def plain_log_density(x: Wide, mean: Wide, variance: Wide) -> float:
    return -0.5 * sum(float((x[d] - mean[d]) ** 2 / variance[d] + np.log(variance[d])) for d in range(len(x)))


def plain_soft_labels(x: Wide, y: Wide, w: Wide, z: Wide, m: Wide, v: Wide, omega: float) -> Wide:
    """Five updates of z, each of all images from the z before it."""
    n, k = y.shape
    p = [[plain_log_density(x[i], m[c], v[c]) for c in range(k)] for i in range(n)]
    for _ in range(5):
        new = np.empty_like(z)
        for i in range(n):
            logits = np.array([np.log(y[i, c]) + omega * p[i][c] + w[i] @ z[:, c] for c in range(k)])
            odds = np.exp(logits - logits.max())
            new[i] = odds / odds.sum()
        z = new
    return z


def plain_transclip(images: Floats, texts: Floats, omega: float) -> Ints:
    x, y, w = images.astype(np.float64), plain_words(images, texts), plain_affinities(images, 3)
    (n, d), k = x.shape, len(texts)
    m = np.array([x[sorted(range(n), key=lambda i: -y[i, c])[:8]].mean(axis=0) for c in range(k)])
    v, z = np.full((k, d), 1 / d), y
    for _ in range(10):
        z = plain_soft_labels(x, y, w, z, m, v, omega)
        m = np.array([sum(z[i, c] * x[i] for i in range(n)) / z[:, c].sum() for c in range(k)])
        v = np.tile(sum(z[i, c] * (x[i] - m[c]) ** 2 for i in range(n) for c in range(k)) / n, (k, 1))
    return np.array([int(np.argmax(row)) for row in z])


def plain_stata(images: Floats, texts: Floats, omega: float) -> Ints:
    x, t, y, w = (
        images.astype(np.float64),
        texts.astype(np.float64),
        plain_words(images, texts),
        plain_affinities(images, 3),
    )
    n, k = y.shape
    expected = np.array([sum(y[i, c] * (x[i] - t[c]) ** 2 for i in range(n)) / y[:, c].sum() for c in range(k)])
    m, v, z = t.copy(), expected.copy(), y
    for _ in range(10):
        z = plain_soft_labels(x, y, w, z, m, v, omega)
        for c in range(k):
            mass = z[:, c].sum() + 1
            m[c] = (sum(z[i, c] * x[i] for i in range(n)) + t[c]) / mass
            within = sum(z[i, c] * (x[i] - m[c]) ** 2 for i in range(n))
            v[c] = (within + expected[c] + (t[c] - m[c]) ** 2) / mass
    return np.array([int(np.argmax(row)) for row in z])


def plain_zlap(images: Floats, texts: Floats) -> Wide:
    """F of all nodes, by a dense inverse; edge by edge."""
    n, k = len(images), len(texts)
    s = np.zeros((k + n, k + n))
    s[k:, k:] = plain_affinities(images, 5)
    cosines = [float(x @ t) for x in images for t in texts]
    least, most = min(cosines), max(cosines)
    for i, x in enumerate(images):
        for c in sorted(range(k), key=lambda c: -float(x @ texts[c]))[:5]:
            s[k + i, c] = ((float(x @ texts[c]) - least) / (most - least)) ** 5
    both = s + s.T
    degrees = both.sum(axis=1)
    for a in range(k + n):
        for b in range(k + n):
            both[a, b] = both[a, b] / np.sqrt(degrees[a] * degrees[b]) if both[a, b] else 0.0
    inverse: Wide = np.linalg.inv(np.eye(k + n) - 0.3 * both).astype(np.float64)
    return inverse[:, :k]


@pytest.mark.parametrize("omega", [None, 1.0])
def test_transclip_is_its_equations(small: tuple[Floats, Floats], omega: float | None) -> None:
    found = transclip(*small, logit_scale=SCALE, likelihood=omega)
    np.testing.assert_array_equal(
        found.argmax(axis=1), plain_transclip(*small, omega or 1 / np.sqrt(small[0].shape[1]))
    )


@pytest.mark.parametrize("omega", [None, 1.0])
def test_stata_is_its_equations(small: tuple[Floats, Floats], omega: float | None) -> None:
    found = stata(*small, logit_scale=SCALE, likelihood=omega)
    np.testing.assert_array_equal(found.argmax(axis=1), plain_stata(*small, omega or 1 / np.sqrt(small[0].shape[1])))


def test_zlap_is_its_equations() -> None:
    images, texts, _ = planted([14, 9, 5, 0, 12, 6, 6], wrong=1.6, spread=1.6)
    k = len(texts)
    plain = plain_zlap(images, texts)
    np.testing.assert_allclose(solve(propagation_graph(images, texts), np.eye(len(plain), k)), plain, atol=1e-6)
    np.testing.assert_array_equal(zlap(images, texts).argmax(axis=1), plain[k:].argmax(axis=1))


def test_densities_and_scatter_are_their_sums(small: tuple[Floats, Floats]) -> None:
    rng = np.random.default_rng(0)
    x, m = (rows.astype(np.float64) for rows in small)
    v, z = rng.uniform(0.1, 2, size=m.shape), rng.dirichlet(np.ones(len(m)), len(x))
    plain = [[plain_log_density(x[i], m[c], v[c]) for c in range(len(m))] for i in range(len(x))]
    np.testing.assert_allclose(log_likelihood(x, m, v), plain, atol=1e-9)
    np.testing.assert_allclose(scatter(x, z, m), np.einsum("ik,ikd->kd", z, (x[:, None] - m) ** 2), atol=1e-9)
    np.testing.assert_allclose(affinities(small[0]).toarray(), plain_affinities(small[0], 3), atol=1e-6)


def test_labels_are_updated_five_times_from_all_before(small: tuple[Floats, Floats]) -> None:
    x, m = (rows.astype(np.float64) for rows in small)
    y, w, v = plain_words(*small), plain_affinities(small[0], 3), np.full(m.shape, 0.5)
    found = soft_labels(np.log(y) + 0.3 * log_likelihood(x, m, v), affinities(small[0]), y)
    np.testing.assert_allclose(found, plain_soft_labels(x, y, w, y, m, v, 0.3), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_images_mend_slightly_wrong_words(method: str) -> None:
    images, texts, labels = planted([60] * 5, wrong=1.6, spread=0.7, d=64)
    direct = float(((images @ texts.T).argmax(axis=1) == labels).mean())
    found = float((METHODS[method](images, texts).argmax(axis=1) == labels).mean())
    assert direct < 0.9
    assert found > 0.98


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [1, 2])
def test_one_or_two_images_and_one_class_are_no_trouble(method: str, n: int) -> None:
    images, texts, _ = planted([n, 0], wrong=0.1)
    for k in (1, 2):
        np.testing.assert_allclose(METHODS[method](images, texts[:k]).sum(axis=1), np.ones(n))
