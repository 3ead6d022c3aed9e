"""Rename classes by people's answers: images that were found alike get the name that most of the answers give them.

Transduction is better at finding which images belong together than at naming them: where words are poor, all images of
a class may get a wrong name. A few answers of people show that. With v_kc the images that somebody called c among those
that transduction labels k,

    name(k) = argmax_c v_kc    where that is MORE images ahead of v_kk and ahead of all others, else k

Two classes may get one name. Answered images are taken to be drawn at random. Where they agree with their labels less
than HALF as often as confidence says, somebody has picked wrong labels to correct them: such answers say nothing about
other images, and no name changes. What an image would be called without its own answer is decided by the answers on all
other images in the same way.

N images, K classes, M answered images, D dimensions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from annotate.kernels.transduction import JointPass, moved_words
from annotate.kernels.vectors import Floats, Ints, unit

MORE = 2  # answers by which another name must be ahead of a class's own: a single one may be an error
HALF = 0.5  # of the agreement that confidence promises


def names_by_answers(labels: Ints, answers: Ints, expected: float, classes: int) -> tuple[Ints, Ints]:
    """The name of each class, (K,), and what each answered image would be called without its own answer, (M,).

    labels    (M,) of the answered images
    answers   (M,) their true classes
    expected  their mean confidence, before any answer
    classes   K
    """
    names, agreeing, m = np.arange(classes), labels == answers, len(answers)
    if not m:
        return names, labels
    votes: dict[int, Counter[int]] = {}
    for label, true in zip(labels.tolist(), answers.tolist(), strict=True):
        votes.setdefault(label, Counter())[true] += 1
    if agreeing.mean() >= HALF * expected:
        for label, of in votes.items():
            names[label] = most_answered_name(label, of)
    without = {
        (label, true): most_answered_name(label, of - Counter([true])) for label, of in votes.items() for true in of
    }
    renamed_by_others = np.array([without[pair] for pair in zip(labels.tolist(), answers.tolist(), strict=True)])
    picked = agreeing.sum() - agreeing < HALF * expected * (m - 1)
    return names, np.where(picked, labels, renamed_by_others)


def most_answered_name(label: int, votes: Counter[int]) -> int:
    """The name of one class by the answers on its images; its own where no other name is clearly ahead."""
    others = sorted(((count, name) for name, count in votes.items() if name != label), reverse=True)
    ahead = others and others[0][0] >= votes[label] + MORE and (len(others) == 1 or others[0][0] > others[1][0])
    return others[0][1] if ahead else label


def renamed(last: JointPass, names: Ints, texts: Floats) -> JointPass:
    """The same pass of transduction with other names for its classes.

    An image's similarity to its old class and to its new one change places. The prototype of a name is the mean of the
    classes that bear it now; a name that lost its images has its words, moved among the images, as in transduction.
    """
    before = last.similarity
    k = len(names)
    changed = names != np.arange(k)
    if not changed.any():
        return last
    counts = np.bincount(names, weights=last.counts, minlength=k).astype(np.int64)
    sums = np.zeros(last.prototypes.shape)
    np.add.at(sums, names, last.counts[:, None] * last.prototypes.astype(np.float64))
    prototypes = np.where(counts[:, None] > 0, unit(sums), last.prototypes)
    lost = changed & (counts == 0)
    prototypes[lost] = moved_words(texts, last.shares, last.centre)[lost]

    def similarity(rows: slice) -> Floats:
        here, old = before(rows).copy(), last.labels[rows]
        images = np.flatnonzero(changed[old])
        there, new, most = old[images], names[old[images]], here[images].max(axis=1)
        here[images, there] = here[images, new]
        here[images, new] = np.nextafter(most, np.float32(np.inf))  # a third class may be as near
        return here

    return replace(
        last,
        prototypes=prototypes.astype(np.float32),
        counts=counts,
        similarity=similarity,
        labels=names[last.labels],
    )
