from __future__ import annotations

import numpy as np
from scipy.special import softmax

from annotate.kernels.zeroshot import assign, mean_confidence, probabilities, top_probability

RNG = np.random.default_rng(0)
SIMILARITY = RNG.uniform(-1, 1, (50, 6)).astype(np.float32)


def test_probabilities_are_softmax() -> None:
    np.testing.assert_allclose(
        probabilities(SIMILARITY, 0.07), softmax(SIMILARITY.astype(float) / 0.07, axis=1), atol=1e-6
    )


def test_rows_stay_probabilities_at_any_temperature() -> None:
    for temperature in (1e-6, 0.01, 1.0, 1e6):
        rows = probabilities(SIMILARITY, temperature)
        assert np.isfinite(rows).all()
        np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_temperature_never_changes_the_label() -> None:
    for temperature in (0.01, 0.05, 1.0):
        np.testing.assert_array_equal(probabilities(SIMILARITY, temperature).argmax(axis=1), assign(SIMILARITY))


def test_the_top_probability_needs_no_matrix_of_probabilities() -> None:
    np.testing.assert_allclose(
        top_probability(SIMILARITY, 0.05), probabilities(SIMILARITY, 0.05).max(axis=1), rtol=1e-5
    )
    many = RNG.uniform(-1, 1, (700, 2000)).astype(np.float32)  # more than a core's cache holds
    np.testing.assert_allclose(top_probability(many, 0.05), probabilities(many, 0.05).max(axis=1), rtol=1e-5)
    assert np.isclose(mean_confidence(SIMILARITY, 0.05), probabilities(SIMILARITY, 0.05).max(axis=1).mean())
