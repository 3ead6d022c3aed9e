"""Confidence by evidence: laws of its parts, and planted cases where more is known than one temperature can say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from scipy.special import logsumexp

from annotate.kernels.confidence import (
    ABOVE_CHANCE,
    COEFFICIENTS,
    CaseEvidence,
    agreement,
    at_confidence,
    between,
    certainty,
    confidences,
    corrected,
    evidence_for_labels,
    levelled,
    named_by_words,
    votes,
    within,
)

RNG = np.random.default_rng(0)
LOGITS = (5 * RNG.normal(size=(200, 7))).astype(np.float32)
LABELS = LOGITS.argmax(axis=1)


def test_rows_have_the_confidence_asked_for_and_keep_their_label() -> None:
    ordered = np.sort(LOGITS, axis=1)
    apart = ordered[:, -1] - ordered[:, -2] > 0.1  # equals at the top cannot be told apart by any temperature
    asked = RNG.uniform(1.05 / 7, 0.999, 200)
    rows = at_confidence(LOGITS, asked)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(rows.max(axis=1)[apart], asked[apart], atol=5e-4)
    np.testing.assert_array_equal(rows.argmax(axis=1), LABELS)


def test_rows_without_a_difference_stay_at_chance() -> None:
    np.testing.assert_allclose(at_confidence(np.zeros((3, 4), np.float32), np.full(3, 0.9)), 0.25)


def test_certainty_in_closed_form() -> None:
    wide = LOGITS.astype(np.float64)
    p = np.exp(wide[np.arange(200), LABELS] - logsumexp(wide, axis=1))
    np.testing.assert_allclose(certainty(LOGITS, LABELS), np.log(p / (1 - p)), rtol=1e-4)
    assert np.isfinite(certainty(100 * LOGITS, LABELS)).all()


def test_agreement_weighs_the_neighbours_that_bear_the_label() -> None:
    graph = csr_array(np.array([[0, 0.7, 0.3], [0.5, 0, 0.5], [0.4, 0.6, 0]]))
    np.testing.assert_allclose(agreement(graph, np.array([1, 1, 2])), [0.7, 0.5, 0])


def test_votes_by_brute_force() -> None:
    labels, named = RNG.integers(0, 5, 60), RNG.integers(0, 7, 60)
    odds = []
    for label in labels:
        counts = np.bincount(named[labels == label], minlength=7)
        odds.append(np.log((counts[label] + 1) / (np.delete(counts, label).max() + 1)))
    assert votes(labels, named, 7) == pytest.approx(np.mean(odds))


def case(kept: float, **others: float) -> CaseEvidence:
    return CaseEvidence(kept, np.zeros(7, np.float32), **{"zero_shot": 1.0, "in_use": 1.0, **others})


def sure(around: np.ndarray, circumstances: CaseEvidence, named: np.ndarray = LABELS) -> np.ndarray:
    shown = evidence_for_labels(LOGITS, LABELS, around, circumstances)
    return confidences(within(shown), between(LABELS, named, circumstances), 7)


def test_a_word_that_suits_every_image_names_none() -> None:
    suits = 30 * (np.arange(7) == 3).astype(np.float32)
    hub = CaseEvidence(0.8, suits, zero_shot=1.0, in_use=1.0)
    np.testing.assert_array_equal(named_by_words(LOGITS + suits, hub), LABELS)


def test_more_evidence_is_more_confidence_within_its_bounds() -> None:
    assert (COEFFICIENTS > 0).all()
    around = RNG.uniform(0, 0.9, 200)
    more = around.copy()
    more[0] += 0.1
    assert sure(more, case(0.8))[0] > sure(around, case(0.8))[0]
    assert (sure(around, case(0.8, zero_shot=2.0)) > sure(around, case(0.8))).all()
    assert (sure(around, case(0.8, in_use=2.0)) > sure(around, case(0.8))).all()
    assert (sure(around, case(0.8)) > sure(around, case(0.8), (LABELS + 1) % 7)).all()
    assert (sure(around, case(0.8, zero_shot=-100.0)) >= ABOVE_CHANCE / 7).all()
    assert (confidences(np.zeros((3, 2)), np.zeros(3), 1) == 1).all()


def test_what_all_images_share_says_nothing_of_which_is_right() -> None:
    around = RNG.uniform(0, 0.5, 200)
    np.testing.assert_allclose(sure(around, case(0.8)), sure(around + 0.5, case(0.8)))


def test_the_more_labels_were_changed_the_less_their_own_certainty_counts() -> None:
    def spread(kept: float) -> float:
        told = sure(np.ones(200), case(kept))
        return float(np.ptp(np.log(told / (1 - told))))

    assert spread(1.0) > 2 * spread(0.6) > 0


@pytest.mark.parametrize(("truth", "said"), [(0.5, 0.9), (0.95, 0.7)])
def test_given_labels_correct_confidence(truth: float, said: float) -> None:
    rng = np.random.default_rng(1)
    confidence = rng.uniform(said - 0.05, said + 0.05, 2000)
    given = rng.permutation(2000)[:100]
    right = rng.uniform(size=100) < truth
    assert corrected(confidence, given, right, 5).mean() == pytest.approx(right.mean(), abs=0.1)
    untold = corrected(confidence, given[:0], right[:0], 5)
    np.testing.assert_allclose(untold, confidence, atol=0.02)
    assert untold.mean() == pytest.approx(confidence.mean())


@pytest.mark.parametrize(("given", "levels"), [(0, 8), (5, 4), (40, 4), (1000, 10)])
def test_few_labels_tell_few_levels_apart(given: int, levels: int) -> None:
    confidence = np.random.default_rng(2).uniform(0.3, 0.999, 3000)
    right = np.random.default_rng(3).uniform(size=given) < confidence[:given]
    told = corrected(confidence, np.arange(given), right, 5)
    ascending = np.sort(told)
    jumps = np.diff(ascending)
    assert (jumps > 0.01).sum() == levels - 1
    assert jumps[jumps < 0.01].sum() < 0.05
    np.testing.assert_array_equal(told.argsort(kind="stable"), confidence.argsort(kind="stable"))


def test_levels_keep_the_mean_and_are_finest_where_most_is_in_doubt() -> None:
    confidence = np.r_[np.full(900, 0.999), np.linspace(0.4, 0.6, 100)]
    told = levelled(confidence, 4)
    assert told.mean() == pytest.approx(confidence.mean())
    assert len(np.unique(told[:900])) == 1
    assert (np.diff(np.unique(told[900:])) > 0.01).sum() >= 1
    np.testing.assert_allclose(levelled(np.full(7, 0.8), 4), 0.8, rtol=1e-12)


def test_a_single_name_is_certain() -> None:
    none = np.empty(0, np.int64)
    np.testing.assert_array_equal(corrected(np.ones(5), none, none == 0, 1), 1)
