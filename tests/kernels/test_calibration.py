from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels.calibration import matching_temperature, reliability
from annotate.kernels.zeroshot import mean_confidence


@pytest.mark.parametrize("target", [0.3, 0.6, 0.95])
def test_the_temperature_meets_the_mean_confidence_asked_for(target: float) -> None:
    similarity = np.random.default_rng(0).uniform(0, 1, (300, 5)).astype(np.float32)
    assert np.isclose(mean_confidence(similarity, matching_temperature(similarity, target)), target, atol=1e-4)


def test_a_target_out_of_reach_gives_a_bound_not_a_nan() -> None:
    flat = np.zeros((10, 4), np.float32)
    assert np.isfinite(matching_temperature(flat, 0.9))


def test_calibration_error_in_closed_form() -> None:
    """80 images at confidence 0.9 of which 60 are right, 20 at 0.5 of which 10: 0.8 * |0.9 - 0.75| = 0.12."""
    confidences = np.repeat([0.9, 0.5], [80, 20])
    right = np.array([True] * 60 + [False] * 20 + [True] * 10 + [False] * 10)
    curve = reliability(confidences, right)
    assert np.isclose(curve.error, 0.12)
    np.testing.assert_allclose(curve.accuracy, [0.5, 0.75])
    assert np.isclose(curve.share.sum(), 1)


def test_honest_confidences_have_little_error() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.uniform(0, 1, 100_000)
    assert reliability(confidences, rng.uniform(size=100_000) < confidences).error < 0.01
    assert reliability(np.array([1.0]), np.array([True])).error == 0
