"""Answers teach transduction, stay as they are, and are judged without themselves."""

from __future__ import annotations

import numpy as np
import pytest

from annotate.kernels.lesson import Answers, Lesson
from annotate.kernels.neighbours import nearest_neighbours, neighbour_graph
from annotate.kernels.transduction import JointPass, transduce
from annotate.kernels.vectors import unit


def scene(n: int = 240, k: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images around K directions, words that name the next class instead of their own for half of the classes."""
    rng = np.random.default_rng(seed)
    centres = unit(rng.normal(size=(k, 24)))
    labels = np.arange(n) % k
    images = unit(centres[labels] + 0.25 * rng.normal(size=(n, 24)))
    wrong = np.arange(k)
    wrong[:3] = [1, 2, 0]
    return images, centres[wrong], labels


def answered(labels: np.ndarray, per_class: int) -> Answers:
    classes = np.full(len(labels), -1)
    for k in range(labels.max() + 1):
        rows = np.flatnonzero(labels == k)[:per_class]
        classes[rows] = k
    return Answers(classes, np.arange(len(labels)))


def last_of(images: np.ndarray, texts: np.ndarray, answers: Answers | None, **asked: object) -> JointPass:
    graph = neighbour_graph(*nearest_neighbours(images, 6))
    asked = {"logit_scale": 30.0, "iterations": 15, "answers": answers} | asked
    *_, last = transduce(images, texts, graph, np.arange(len(images)), **asked)  # type: ignore[arg-type]
    return last


def test_few_answers_mend_wrong_words() -> None:
    images, texts, labels = scene()
    answers = answered(labels, 4)
    rest = answers.classes < 0
    before = (last_of(images, texts, None).labels == labels)[rest].mean()
    after = (last_of(images, texts, answers).labels == labels)[rest].mean()
    assert before < 0.6
    assert after > 0.9


def test_an_answer_is_kept_whatever_the_image_looks_like() -> None:
    images, texts, labels = scene()
    answers = answered(labels, 3)
    answers.classes[7] = (labels[7] + 3) % 6
    found = last_of(images, texts, answers)
    assert found.labels[answers.images].tolist() == answers.classes[answers.images].tolist()


def test_without_an_answer_nothing_changes() -> None:
    images, texts, labels = scene()
    nothing = last_of(images, texts, Answers(np.full(len(labels), -1), np.arange(len(labels))))
    assert nothing.labels.tolist() == last_of(images, texts, None).labels.tolist()


def test_pictures_alone_are_enough() -> None:
    """Classes without words: their rows are zero."""
    images, _, labels = scene()
    answers = answered(labels, 4)
    found = last_of(images, np.zeros((6, 24), np.float32), answers)
    assert (found.labels == labels)[answers.classes < 0].mean() > 0.9


def test_a_copy_of_an_answered_image_counts_once() -> None:
    images, texts, labels = scene(60)
    first = np.r_[np.arange(60), np.arange(60)]
    classes = np.where(np.arange(120) % 60 < 24, labels[first], -1)
    answers = Answers(classes, first)
    assert answers.distinct.tolist() == list(range(24))
    twice = Lesson.of(images[first], texts, answers, 30.0)
    once = Lesson.of(images, texts, Answers(classes[:60], np.arange(60)), 30.0)
    assert twice.words(images) == pytest.approx(once.words(images), abs=1e-3)


@pytest.mark.parametrize("asked", [{"balanced": True}, {"kept": 4}])
def test_answers_count_where_classes_are_balanced_and_where_few_shares_are_kept(asked: dict[str, object]) -> None:
    images, texts, labels = scene()
    answers = answered(labels, 4)
    found = last_of(images, texts, answers, **asked)
    assert (found.labels == labels).mean() > 0.9
    assert found.labels[answers.images].tolist() == answers.classes[answers.images].tolist()
