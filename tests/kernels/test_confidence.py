"""Confidence by evidence: laws of its parts, and planted cases where more is known than one temperature can say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import logsumexp

from annotate.kernels.confidence import (
    ABOVE_CHANCE,
    COEFFICIENTS,
    Circumstances,
    agreement,
    at_confidence,
    certainty,
    confidences,
    corrected,
    evidence,
    margin,
)

RNG = np.random.default_rng(0)
LOGITS = (5 * RNG.normal(size=(200, 7))).astype(np.float32)
LABELS = LOGITS.argmax(axis=1)


def test_rows_have_the_confidence_asked_for_and_keep_their_label() -> None:
    apart = margin(LOGITS, LABELS) > 0.1  # equals at the top cannot be told apart by any temperature
    asked = RNG.uniform(1.05 / 7, 0.999, 200)
    rows = at_confidence(LOGITS, asked)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows.max(axis=1)[apart], asked[apart], atol=5e-4)
    np.testing.assert_array_equal(rows.argmax(axis=1), LABELS)


def test_rows_without_a_difference_stay_at_chance() -> None:
    np.testing.assert_allclose(at_confidence(np.zeros((3, 4), np.float32), np.full(3, 0.9)), 0.25)


def test_certainty_and_margin_in_closed_form() -> None:
    wide = LOGITS.astype(np.float64)
    p = np.exp(wide[np.arange(200), LABELS] - logsumexp(wide, axis=1))
    np.testing.assert_allclose(certainty(LOGITS, LABELS), np.log(p / (1 - p)), rtol=1e-4)
    ordered = np.sort(wide, axis=1)
    np.testing.assert_allclose(margin(LOGITS, LABELS), ordered[:, -1] - ordered[:, -2], rtol=1e-6)
    assert (margin(LOGITS, (LABELS + 1) % 7) < 0).all()
    assert np.isfinite(certainty(100 * LOGITS, LABELS)).all()


def test_agreement_weighs_the_neighbours_that_bear_the_label() -> None:
    graph = csr_array(np.array([[0, 0.7, 0.3], [0.5, 0, 0.5], [0.4, 0.6, 0]]))
    np.testing.assert_allclose(agreement(graph, np.array([1, 1, 2])), [0.7, 0.5, 0])


def case(kept: float) -> Circumstances:
    return Circumstances(kept, np.zeros(7, np.float32), 1.0, 0.0, 2.0)


def test_more_evidence_is_more_confidence_within_its_bounds() -> None:
    assert (COEFFICIENTS[:3] > 0).all()
    one = evidence(LOGITS, LOGITS, LABELS, np.zeros(200), case(0.8))
    more = evidence(LOGITS, LOGITS, LABELS, np.ones(200), case(0.8))
    assert (confidences(more, 7) > confidences(one, 7)).all()
    assert (confidences(-100 * np.abs(one), 7) >= ABOVE_CHANCE / 7).all()
    assert (confidences(one, 1) == 1).all()


def test_the_more_labels_were_changed_the_less_their_own_certainty_counts() -> None:
    def spread(kept: float) -> float:
        sure = confidences(evidence(0 * LOGITS, LOGITS, LABELS, np.ones(200), case(kept)), 7)
        return float(np.ptp(np.log(sure / (1 - sure))))

    assert spread(1.0) > 2 * spread(0.6) > 0


@pytest.mark.parametrize(("truth", "said"), [(0.5, 0.9), (0.95, 0.7)])
def test_given_labels_correct_confidence(truth: float, said: float) -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(said - 0.05, said + 0.05, 2000)
    given = rng.permutation(2000)[:100]
    right = rng.uniform(size=100) < truth
    assert corrected(confidence, given, right, 5).mean() == pytest.approx(right.mean(), abs=0.1)
    np.testing.assert_allclose(corrected(confidence, given[:0], right[:0], 5), confidence, atol=1e-9)
