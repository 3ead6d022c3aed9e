"""Our way to spend votes: pictures and words first, then each vote where it lowers the expected divergence most.

The chances of the classes come from the words, and are taught by the votes round by round (kernels/taught.py). What a
class's images are mistaken for comes from the same chances, and votes are counted as evidence (kernels/votes.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate.kernels.blocks import one_thread_per_product
from annotate.kernels.taught import Teaching, teach
from annotate.kernels.vectors import Doubles, Floats, Ints
from annotate.kernels.votes import Kinds, class_chances, most_worth
from annotate.kernels.zeroshot import probabilities
from annotate.votes.oracle import Oracle

FIRST_ROUND = 0.02  # votes an image, in the first round of all; each later one is longer by GROWTH
GROWTH = 1.6
LONGEST = 0.34  # votes an image in a round: later ones know more
ANCHOR = 0.05  # answers that an image without a vote counts for, with the words' own chances as its answer
ANCHORS = 1000  # images that stand for all of those


@dataclass(frozen=True)
class Material:
    """What may be known of the images, and of whom to ask.

    embeddings   (N, D) float32 unit rows
    texts        (K, D) float32 unit rows, or None where no model can read the class names
    logit_scale  of the model
    asked        (A,) images that may be asked about
    seed         of what is drawn at random
    """

    embeddings: Floats
    texts: Floats | None
    logit_scale: float
    classes: int
    asked: Ints
    seed: int = 0


@dataclass(frozen=True)
class Step:
    """Labels after some votes.

    shares  (N, K), rows sum to one
    votes   (N,) how many each image has
    """

    shares: Doubles
    votes: Ints


def posterior(material: Material, oracle: Oracle, budget: int) -> Iterator[Step]:
    """Spend `budget` votes in rounds; yield the labels before the first vote and after each round."""
    n, k = len(material.embeddings), material.classes
    rng = np.random.default_rng(material.seed)
    texts = np.zeros((k, material.embeddings.shape[1]), np.float32) if material.texts is None else material.texts
    votes = np.zeros((n, k))
    with one_thread_per_product():
        teaching = Teaching.of(material.embeddings, texts, material.logit_scale)
        words = teaching.words(material.embeddings)
        chances = words
        for count in rounds(budget, len(material.asked)):
            kinds = Kinds.mistaken_as(chances)
            of_kind = kinds.posterior(chances, votes)
            yield Step(kinds.mean(of_kind, votes), votes.sum(axis=1).astype(np.int64))
            gain = kinds.gain(of_kind, votes)[material.asked]
            order = rng.permutation(len(gain))  # of equals, any
            chosen = material.asked[order[most_worth(gain[order], count)]]
            np.add.at(votes, (chosen, oracle.ask(chosen)), 1)
            answered = class_chances(kinds.posterior(chances, votes))
            chances = taught(teaching, material, votes, answered, None if material.texts is None else words)
        kinds = Kinds.mistaken_as(chances)
        yield Step(kinds.mean(kinds.posterior(chances, votes), votes), votes.sum(axis=1).astype(np.int64))


def rounds(budget: int, images: int) -> Iterator[int]:
    """How many votes each round has: few at first, never more than a third of the images."""
    size = max(1.0, FIRST_ROUND * images)
    while budget > 0:
        count = min(budget, int(np.ceil(min(size, LONGEST * images))))
        yield count
        budget -= count
        size *= GROWTH


def taught(teaching: Teaching, material: Material, votes: Doubles, answered: Doubles, words: Doubles | None) -> Doubles:
    """Chances of every image by what votes taught, (N, K).

    Images that have a vote are those that are hard to tell; so that the easy ones keep what the words say of them,
    some of these count a little, too.
    """
    has = votes.sum(axis=1) > 0
    rows, without = np.flatnonzero(has), np.flatnonzero(~has)
    targets, weights = answered[rows], np.ones(len(rows))
    if words is not None and len(without):
        some = without[:: max(1, len(without) // ANCHORS)]
        rows, targets = np.concatenate([rows, some]), np.concatenate([targets, words[some]])
        weights = np.concatenate([weights, np.full(len(some), ANCHOR * len(without) / len(some))])
    model = teach(teaching, material.embeddings[rows], targets, weights)
    return np.asarray(probabilities(model(material.embeddings), 1.0), np.float64)
