"""Names by given labels: images that were found alike bear the name that most of the given ones among them bear.

Transduction finds which images belong together better than what they are called: where words are poor, a whole class
of images may bear a wrong name. A few images whose class somebody gave tell. With v_kc the given images of class c
among those that transduction labels k,

    name(k) = argmax_c v_kc    where that is MORE images ahead of v_kk and ahead of all others, else k

Two classes may get one name. Given images are taken to be drawn at random; where they agree with their labels less than
HALF as often as confidence says, they are corrections that somebody picked, which say nothing of the others, and no
name changes. What an image would be called if it had not been given is asked of all the others: their votes, and
whether they are corrections.

N images, K classes, M given images, D dimensions.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from annotate.kernels.transduction import JointPass, moved_words
from annotate.kernels.vectors import Floats, Ints, unit

MORE = 2  # given images by which another name must be ahead of a class's own
HALF = 0.5


def names_by_given(labels: Ints, said: Ints, expected: float, classes: int) -> tuple[Ints, Ints]:
    """The name of each class, (K,), and what each given image would be called if it had not been given, (M,).

    labels    (M,) of the given images
    said      (M,) their true classes
    expected  their mean confidence, before anything was given
    classes   K
    """
    names, agreeing, m = np.arange(classes), labels == said, len(said)
    if not m:
        return names, labels
    votes: dict[int, Counter[int]] = {}
    for label, true in zip(labels.tolist(), said.tolist(), strict=True):
        votes.setdefault(label, Counter())[true] += 1
    if agreeing.mean() >= HALF * expected:
        for label, of in votes.items():
            names[label] = most_given_name(label, of)
    without = {
        (label, true): most_given_name(label, of - Counter([true])) for label, of in votes.items() for true in of
    }
    renamed_by_others = np.array([without[pair] for pair in zip(labels.tolist(), said.tolist(), strict=True)])
    picked = agreeing.sum() - agreeing < HALF * expected * (m - 1)
    return names, np.where(picked, labels, renamed_by_others)


def most_given_name(label: int, votes: Counter[int]) -> int:
    """The name of one class, by its given images; its own where others are equal."""
    others = sorted(((count, name) for name, count in votes.items() if name != label), reverse=True)
    ahead = others and others[0][0] >= votes[label] + MORE and (len(others) == 1 or others[0][0] > others[1][0])
    return others[0][1] if ahead else label


def renamed(last: JointPass, names: Ints, texts: Floats) -> JointPass:
    """A pass of transduction in which classes bear other names.

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
