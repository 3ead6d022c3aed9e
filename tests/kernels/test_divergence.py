from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, f1_score, recall_score

from annotate.kernels.divergence import calibration_error, divergences, kappa, scores


def test_the_divergence_is_the_benchmarks() -> None:
    """y ln(y / x) summed, with both sides kept off 0 and 1."""
    found = divergences(np.array([[1.0, 0.0], [0.5, 0.5]]), np.array([[0.0, 1.0], [0.25, 0.75]]))
    high, low = 1 - 1e-5, 1e-5
    assert found[0] == pytest.approx(high * np.log(high / low) + low * np.log(low / high))
    assert found[1] == pytest.approx(0.5 * np.log(2) + 0.5 * np.log(2 / 3))


def test_scores_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    true, said = rng.dirichlet(np.ones(4), 200), rng.dirichlet(np.ones(4), 200)
    y, x = true.argmax(axis=1), said.argmax(axis=1)
    found = scores(true, said)
    assert found["f1"] == pytest.approx(f1_score(y, x, average="macro"))
    assert found["accuracy"] == pytest.approx(recall_score(y, x, average="macro"))
    assert kappa(y, x, 4) == pytest.approx(cohen_kappa_score(y, x))


def test_the_calibration_error_is_the_gap_of_each_bin() -> None:
    sure, right = np.array([0.95, 0.95, 0.35, 0.35]), np.array([True, False, True, True])
    assert calibration_error(sure, right) == pytest.approx((0.45 * 2 + 0.65 * 2) / 4)


def test_what_is_unknown_does_not_count_in_kappa() -> None:
    assert kappa(np.array([0, 1, -1]), np.array([0, 1, 1]), 2) == 1.0
