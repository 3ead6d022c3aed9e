from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels.taught import Teaching, teach
from annotate.kernels.vectors import unit


def scene(n: int = 120, k: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(k, 12)))
    labels = np.arange(n) % k
    return unit(centres[labels] + 0.3 * rng.normal(size=(n, 12))), centres, labels


def test_without_answers_the_words_alone_speak() -> None:
    images, texts, _ = scene()
    teaching = Teaching.of(images, texts, 10.0)
    model = teach(teaching, images[:0], np.empty((0, 3)))
    expected = 10 * (images @ texts.T - 0.5 * (images @ texts.T).mean(axis=0))
    assert model(images) == pytest.approx(expected, abs=1e-4)


def test_answers_beat_wrong_words_and_right_words_beat_few_answers() -> None:
    images, texts, labels = scene()
    rows = np.array([0, 1, 2])
    wrong = teach(Teaching.of(images, texts[[1, 2, 0]], 10.0), images, np.eye(3)[labels])
    assert (wrong(images).argmax(axis=1) == labels).mean() > 0.95
    right = teach(Teaching.of(images, texts, 10.0), images[rows], np.eye(3)[labels[rows]])
    none = teach(Teaching.of(images, np.zeros_like(texts), 10.0), images[rows], np.eye(3)[labels[rows]])
    assert (right(images).argmax(axis=1) == labels).mean() > (none(images).argmax(axis=1) == labels).mean()


def test_the_fit_is_where_the_loss_is_least() -> None:
    """Moved in any direction from where it ended, the loss rises."""
    images, texts, labels = scene(60)
    teaching = Teaching.of(images, texts, 10.0)
    model = teach(teaching, images, np.eye(3)[labels])

    def loss(pictures: np.ndarray, bias: np.ndarray) -> float:
        logits = teaching.spoken(images) * model.gains + teaching.seen(images) @ pictures.T + bias
        log = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        return float(-log[np.arange(60), labels].sum() + 0.005 * (pictures**2).sum() + 0.5 * (bias**2).sum())

    rng, here = np.random.default_rng(1), loss(model.pictures, model.bias)
    for _ in range(5):
        assert loss(model.pictures + 0.3 * rng.normal(size=model.pictures.shape), model.bias) > here
        assert loss(model.pictures, model.bias + 0.3 * rng.normal(size=3)) > here


def test_an_answer_of_weight_two_is_two_answers() -> None:
    images, texts, labels = scene(30)
    teaching, targets = Teaching.of(images, texts, 10.0), np.eye(3)[labels]
    twice = teach(teaching, np.concatenate([images, images]), np.concatenate([targets, targets]))
    weighted = teach(teaching, images, targets, np.full(30, 2.0))
    assert weighted(images) == pytest.approx(twice(images), abs=0.1)
