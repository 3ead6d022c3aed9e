from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels.votes import Kinds, class_chances, entropy, most_worth


def kinds_of_three() -> Kinds:
    chances = np.array([[0.8, 0.2, 0.0], [0.1, 0.9, 0.0], [0.0, 0.1, 0.9], [0.3, 0.3, 0.4]])
    return Kinds.mistaken_as(chances)


def test_classes_are_mistaken_for_those_that_pictures_are_torn_between() -> None:
    alpha = kinds_of_three().alpha
    assert alpha[0, 1] > 2 * alpha[0, 2]  # images of the first class look like the second


def test_the_posterior_is_that_of_brute_force() -> None:
    """Votes drawn from the model: among those that came out as 0, 0, 1 the mean of what people say is p."""
    rng = np.random.default_rng(0)
    kinds, chances = kinds_of_three(), np.array([[0.5, 0.3, 0.2]])
    count = 400_000
    kind = rng.choice(6, count, p=np.tile(chances[0], 2) * kinds.shares)
    gammas = rng.gamma(kinds.alpha[kind])
    said = gammas / gammas.sum(axis=1, keepdims=True)
    drawn = (rng.random((count, 3))[:, :, None] > said.cumsum(axis=1)[:, None]).sum(axis=2)
    these = (drawn == [0, 0, 1]).all(axis=1)
    votes = np.array([[2.0, 1.0, 0.0]])
    found = kinds.mean(kinds.posterior(chances, votes), votes)[0]
    assert found == pytest.approx(said[these].mean(axis=0), abs=0.01)


def test_without_votes_the_picture_alone_decides() -> None:
    kinds, chances = kinds_of_three(), np.array([[0.5, 0.3, 0.2]])
    of_kind = kinds.posterior(chances, np.zeros((1, 3)))
    assert class_chances(of_kind) == pytest.approx(chances)


def test_the_gain_is_the_expected_fall_of_the_entropy() -> None:
    kinds = kinds_of_three()
    chances, votes = np.array([[0.5, 0.3, 0.2], [0.98, 0.01, 0.01]]), np.array([[1.0, 0, 0], [4, 0, 0]])
    of_kind = kinds.posterior(chances, votes)
    before = kinds.mean(of_kind, votes)
    expected = entropy(before)
    for k in range(3):
        more = votes + np.eye(3)[k]
        expected = expected - before[:, k] * entropy(kinds.mean(kinds.posterior(chances, more), more))
    assert kinds.gain(of_kind, votes) == pytest.approx(expected)
    assert kinds.gain(of_kind, votes)[0] > 10 * kinds.gain(of_kind, votes)[1] > 0


def test_the_most_worth_come_first_and_equals_in_their_order() -> None:
    assert most_worth(np.array([0.1, 0.5, 0.1, 0.5]), 3).tolist() == [1, 3, 0]
