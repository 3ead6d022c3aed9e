from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from annotate.kernels.naming import HALF, MORE, names_by_answers, renamed
from annotate.kernels.transduction import JointPass
from annotate.kernels.vectors import unit

RNG = np.random.default_rng(0)


def plain_name(label: int, said: np.ndarray, classes: int) -> int:
    """The formula as it stands, with a table of all classes."""
    votes = np.bincount(said, minlength=classes)
    others = np.where(np.arange(classes) == label, -1, votes)
    first = (others == others.max()).sum() == 1 and others.max() >= votes[label] + MORE
    return int(others.argmax()) if first else label


@pytest.mark.parametrize("seed", range(5))
def test_names_are_those_of_the_formula_with_and_without_each_image(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, said = rng.integers(0, 4, 60), rng.integers(0, 6, 60)
    said[:30] = (labels[:30] + seed) % 4
    names, without = names_by_answers(labels, said, 0.0, 6)
    assert names.tolist() == [plain_name(k, said[labels == k], 6) for k in range(6)]
    for i in range(60):
        others = (labels == labels[i]) & (np.arange(60) != i)
        assert without[i] == plain_name(labels[i], said[others], 6)


def test_a_single_image_renames_nothing() -> None:
    names, without = names_by_answers(np.array([0, 1, 1]), np.array([3, 1, 1]), 0.9, 4)
    assert names.tolist() == [0, 1, 2, 3] and without.tolist() == [0, 1, 1]


def test_two_other_names_of_equal_right_rename_nothing() -> None:
    labels, said = np.zeros(7, np.int64), np.array([0, 3, 3, 3, 4, 4, 4])
    assert names_by_answers(labels, said, 0.1, 5)[0][0] == 0
    assert names_by_answers(labels[:6], said[:6], 0.1, 5)[0][0] == 3


def test_corrections_alone_rename_nothing() -> None:
    """Whoever gives only what was wrong says nothing of the images that are right."""
    labels, said = np.repeat([0, 1, 2], 5), np.repeat([3, 4, 5], 5)
    names, without = names_by_answers(labels, said, 0.9, 6)
    assert names.tolist() == [*range(6)] and without.tolist() == labels.tolist()
    many = np.r_[labels, np.full(15, 5)], np.r_[said, np.full(15, 5)]
    agree = (many[0] == many[1]).mean()
    assert names_by_answers(*many, agree / HALF, 6)[0].tolist() == [3, 4, 5, 3, 4, 5]


@pytest.mark.parametrize("seed", range(5))
def test_what_an_image_would_be_called_does_not_hear_its_own_answer(seed: int) -> None:
    """Also where its answer decides whether the given images are corrections, which they nearly are here."""
    rng = np.random.default_rng(seed)
    labels, said = rng.integers(0, 3, 24), rng.integers(0, 5, 24)
    expected = ((labels == said).mean() + rng.choice([-0.01, 0, 0.01])) / HALF
    for i in range(24):
        heard = set()
        for answer in range(5):
            said[i], before = answer, said[i]
            heard.add(int(names_by_answers(labels, said, expected, 5)[1][i]))
            said[i] = before
        assert len(heard) == 1


def last_pass(labels: np.ndarray, classes: int) -> JointPass:
    logits = RNG.normal(size=(len(labels), classes)).astype(np.float32)
    logits[np.arange(len(labels)), labels] = 5 + RNG.uniform(size=len(labels))
    counts = np.bincount(labels, minlength=classes)
    prototypes = unit(RNG.normal(size=(classes, 8)))
    shares, centre = counts / len(labels), RNG.normal(size=8)
    return JointPass(prototypes, logits, counts, 0, 1.0, lambda rows: logits[rows], labels, shares, centre, 0.9)


def test_images_bear_the_new_name_as_surely_as_the_old_one() -> None:
    labels = RNG.integers(0, 4, 50)  # class 4 has no images
    last, texts = last_pass(labels, 5), unit(RNG.normal(size=(5, 8)))
    names = np.array([0, 4, 0, 3, 4])
    told = renamed(last, names, texts)
    for rows in (slice(0, 50), slice(7, 23)):
        before, after = last.similarity(rows), told.similarity(rows)
        np.testing.assert_array_equal(after.argmax(axis=1), names[labels[rows]])
        np.testing.assert_allclose(np.sort(after, axis=1), np.sort(before, axis=1), rtol=1e-6)
    np.testing.assert_array_equal(told.labels, names[labels])
    np.testing.assert_array_equal(told.counts, np.bincount(names[labels], minlength=5))


def test_a_class_that_is_as_near_does_not_keep_the_images() -> None:
    last = last_pass(np.zeros(20, np.int64), 3)
    equal = replace(last, similarity=lambda rows: np.ones((rows.stop - rows.start, 3), np.float32))
    told = renamed(equal, np.array([1, 1, 2]), unit(RNG.normal(size=(3, 8))))
    np.testing.assert_array_equal(told.similarity(slice(0, 20)).argmax(axis=1), 1)


def test_prototypes_follow_the_images() -> None:
    labels = RNG.integers(0, 4, 50)
    last, texts = last_pass(labels, 5), unit(RNG.normal(size=(5, 8)))
    told = renamed(last, np.array([0, 4, 0, 3, 4]), texts).prototypes
    both = last.counts[0] * last.prototypes[0] + last.counts[2] * last.prototypes[2]
    np.testing.assert_allclose(told[0], unit(both), atol=1e-6)
    np.testing.assert_allclose(told[[3, 4]], last.prototypes[[3, 1]], atol=1e-6)
    moved = texts - last.shares @ texts + last.centre
    np.testing.assert_allclose(told[[1, 2]], unit(moved[[1, 2]]), atol=1e-6)


def test_where_no_name_changes_nothing_does() -> None:
    last = last_pass(RNG.integers(0, 4, 20), 4)
    assert renamed(last, np.arange(4), unit(RNG.normal(size=(4, 8)))) is last
