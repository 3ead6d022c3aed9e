from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels import calibration
from annotate.kernels.calibration import (
    PARTS_LEFT_OUT,
    coverage,
    expected_accuracy,
    likeliest_temperature,
    likeliest_temperatures_without,
    matching_temperature,
    part_of_each,
    reliability,
)
from annotate.kernels.vectors import Floats
from annotate.kernels.zeroshot import mean_confidence


@pytest.mark.parametrize("target", [0.21, 0.3, 0.6, 0.95, 0.9999])
def test_the_temperature_meets_the_mean_confidence_asked_for(target: float, monkeypatch: pytest.MonkeyPatch) -> None:
    similarity = np.random.default_rng(0).uniform(0, 1, (300, 5)).astype(np.float32)
    passes = []

    def counted(similarity: Floats, temperature: float) -> float:
        passes.append(temperature)
        return mean_confidence(similarity, temperature)

    monkeypatch.setattr(calibration, "mean_confidence", counted)
    found = matching_temperature(similarity, target)
    assert mean_confidence(similarity, found) == pytest.approx(target, abs=1e-6)
    assert len(passes) <= 25


@pytest.mark.parametrize("given", [1, 7, PARTS_LEFT_OUT, 3 * PARTS_LEFT_OUT + 1])
def test_each_given_image_has_the_temperature_that_the_other_parts_make_likeliest(given: int) -> None:
    rng = np.random.default_rng(given)
    similarity, said = rng.uniform(0, 1, (given, 4)).astype(np.float32), rng.integers(0, 4, given)
    part = part_of_each(given)
    expected = [likeliest_temperature(similarity[part != own], said[part != own], 0.3) for own in part]
    np.testing.assert_allclose(likeliest_temperatures_without(similarity, said, 0.3), expected)


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


# -- what to expect of the most certain ----------------------------------------------------------------

SHARES = (1.0, 0.9, 0.8, 0.5, 0.1)


def test_expected_accuracy_is_the_mean_confidence_within_its_bounds() -> None:
    """n = 2000 at 0.97: log-odds 3.476 - 1.010 and + 2.149 are 0.9217 and 0.99641, outward to whole images."""
    expected, low, high = expected_accuracy(np.full(2000, 0.97))
    assert np.isclose(expected, 0.97)
    assert (low, high) == (1843 / 2000, 1993 / 2000)


def test_one_image_is_right_or_wrong() -> None:
    assert expected_accuracy(np.array([0.9])) == (0.9, 0.0, 1.0)


def test_few_images_promise_less_than_many() -> None:
    widths = [high - low for _, low, high in (expected_accuracy(np.full(n, 0.8)) for n in (5, 50, 5000))]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("certainty", [0.0, 1.0])
def test_total_certainty_gives_numbers_and_promises_a_little_less(certainty: float) -> None:
    expected, low, high = expected_accuracy(np.full(100_000, certainty, np.float32))
    assert abs(expected - certainty) <= 1e-4
    assert 0 <= low <= expected <= high <= 1
    assert low < high


def test_honest_confidences_are_right_as_often_as_expected_at_every_share() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.beta(4, 1, 100_000).astype(np.float32)
    right = rng.uniform(size=100_000) < confidences
    for kept in coverage(confidences, SHARES):
        accuracy = right[confidences >= kept.confidence].mean()
        assert abs(accuracy - kept.expected) < 0.005
        assert kept.low <= accuracy <= kept.high


def test_bounds_hold_for_confidences_that_are_off_by_as_much_as_real_ones() -> None:
    """True log-odds half as far below the expected as above, each case by its own: nine of ten hold."""
    rng, held = np.random.default_rng(0), []
    for _ in range(400):
        confidences = rng.beta(6, 1.5, 500)
        off = rng.normal()
        odds = np.log(confidences / (1 - confidences)) + off * (1.3 if off > 0 else 0.6)
        right = rng.uniform(size=500) < 1 / (1 + np.exp(-odds))
        held += [k.low <= right[confidences >= k.confidence].mean() <= k.high for k in coverage(confidences, SHARES)]
    assert 0.85 < np.mean(held) < 0.95


def test_fewer_and_surer_images_never_expect_less() -> None:
    rows = coverage(np.random.default_rng(0).uniform(0.1, 1, 997), SHARES)
    assert [row.share for row in rows] == list(SHARES)
    assert [row.images for row in rows] == [997, 897, 798, 498, 100]
    assert (np.diff([row.expected for row in rows]) > 0).all()
    assert (np.diff([row.confidence for row in rows]) > 0).all()


def test_the_least_confidence_keeps_exactly_the_images_counted_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    confidences = rng.integers(1, 8, 200).astype(np.float32) / 7  # many equals
    rows = coverage(confidences, SHARES)
    for row in rows:
        kept = confidences[confidences >= np.float32(row.confidence)]
        assert row.images == len(kept) >= row.share * 200
        assert np.isclose(row.expected, min(kept.mean(dtype=np.float64), 0.9999))
    assert coverage(rng.permutation(confidences), SHARES) == rows


def test_images_of_one_confidence_are_kept_together() -> None:
    rows = coverage(np.ones(40, np.float32), SHARES)
    assert {row.images for row in rows} == {40}
    assert [row.images for row in coverage(np.array([0.7], np.float32), SHARES)] == [1] * len(SHARES)
