"""Confidence after transduction: how likely each label is right, estimated without any answers, or with a few.

The probabilities z of transduction are too sure, because they count the same evidence several times: neighbours agree
because they look alike, and class means because they were made of these very images. One temperature for all cannot
undo that, since the error is largest where the words were wrong. So the chance that a label is right is modelled
itself, in two parts: how many labels of a case (one set of images with its names) are right, and which. What tells good
labels of a case from bad ones says little about how good the case is (Mundlak 1978); so it counts from its mean over
the case:

    log-odds(c_i) = b_0 + b · (f_i - f̄) + d · g

    f  z          A³ log-odds of z_i at the label, flattened above 8; A is the share of labels that are zero-shot's own.
                  The more labels the images changed, the less their own certainty says
       around     (1 - A) share of the neighbours, by their weight, that bear the label
    g  zero-shot  log-odds of the mean zero-shot confidence
       in use     the same when only names that label an image can be chosen: doubt between a class and names that
                  nobody took is not counted twice
       votes      mean over the images of log((v_kk + 1) / (max_c≠k v_kc + 1)), k an image's label and v_kc how many
                  images of class k the words alone name c: how clearly a class bears the name that its images call.
                  The words' logits are taken from their mean over the images as far as several classes are in use,
                  (1 - 1/n) of it, n = exp(entropy of π): a word that suits every image names none

Every coefficient but b_0 is positive. They are a logistic regression over the images of many cases, each kind of
case weighing the same (benchmarks/confidence.py).

N images, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.calibration import log_odds
from annotate.kernels.transduction import JointPass, classes_in_use
from annotate.kernels.vectors import Doubles, Floats, Ints
from annotate.kernels.zeroshot import assign, mean_confidence, probabilities

INTERCEPT = -0.95
COEFFICIENTS = np.array([0.79, 2.77, 1.19, 0.75, 0.44])  # in the order above
LEAST_MEAN = 0.005  # a mean confidence nearer to 0 or 1 than this is taken for this: it says nothing more
FLAT, LEAKY = 8.0, 0.1  # log-odds of z count a tenth above this
COLDEST, HOTTEST, HALVINGS = 1e-3, 1e3, 22  # the search for the temperature of a row
ABOVE_CHANCE = 1.02  # the least confidence, in units of 1 / K: the label must stay the likeliest class
MOST_NEWTON_STEPS, SETTLED = 200, 1e-12  # at most, of Platt's scaling; a step below ends it
FEWEST_LEVELS = 4  # of confidence, however few images there are
IMAGES_PER_LABEL = 8  # without truth, that tell as much of how many levels can be told apart
ORDERLY = 0.02  # share of the differences within a level that is kept, so that images can still be put in order
OFFSET_SPREAD, SLOPE_SPREAD = 0.5, 0.4  # of log-odds(right) = a + b log-odds(c) over cases


@dataclass(frozen=True)
class CaseEvidence:
    """Evidence on how many labels of a case are right: the same for all its images.

    kept        A, share of labels that are zero-shot's own
    centre      (K,) mean of the words' logits over the images, times 1 - 1/n
    zero_shot   log-odds of the mean zero-shot confidence
    in_use      the same among the names that label an image
    """

    kept: float
    centre: Floats
    zero_shot: float
    in_use: float

    @staticmethod
    def from_passes(first: JointPass, last: JointPass, texts: Floats, *, logit_scale: float) -> CaseEvidence:
        """From the zero-shot pass and the last one of `transduce`; texts (K, D)."""
        mean_words = logit_scale * (texts.astype(np.float64) @ last.centre)
        return CaseEvidence(
            kept=last.kept,
            centre=((1 - 1 / classes_in_use(last.shares)) * mean_words).astype(np.float32),
            zero_shot=float(log_odds(mean_confidence(first.sample, 1 / logit_scale), LEAST_MEAN)),
            in_use=float(log_odds(mean_confidence(first.sample[:, last.counts > 0], 1 / logit_scale), LEAST_MEAN)),
        )


def confidences(which: Doubles, how_many: Doubles, classes: int) -> Doubles:
    """How likely each label is to be right, (N,), above 1 / K.

    which     (N, 2) f - f̄ of `within`
    how_many  (3,) g of `between`
    """
    if classes == 1:
        return np.ones(len(which))
    odds: Doubles = INTERCEPT + which @ COEFFICIENTS[:2] + how_many @ COEFFICIENTS[2:]
    return np.maximum(sigmoid(odds), ABOVE_CHANCE / classes)


def within(shown: Doubles) -> Doubles:
    """Evidence that tells the good labels of a case from the bad ones: f - f̄, (N, 2).

    shown  (N, 2) f of `evidence_for_labels`, of all images
    """
    centred: Doubles = shown - shown.mean(axis=0)
    return centred


def between(labels: Ints, named: Ints, case: CaseEvidence) -> Doubles:
    """Evidence on how many labels are right: g, (3,).

    labels  (N,)
    named   (N,) of `named_by_words`
    """
    return np.array([case.zero_shot, case.in_use, votes(labels, named, len(case.centre))])


def evidence_for_labels(z: Floats, labels: Ints, around: Doubles, case: CaseEvidence) -> Doubles:
    """What speaks for each label of a block of images: f, (n, 2).

    z       (n, K) logits of z, up to a constant of the row
    labels  (n,)
    around  (n,) of `agreement`
    """
    own = certainty(z, labels)
    flat = np.where(own > FLAT, FLAT + LEAKY * (own - FLAT), own)
    return np.stack([case.kept**3 * flat, (1 - case.kept) * around], axis=1)


def named_by_words(words: Floats, case: CaseEvidence) -> Ints:
    """The class of each image by the words alone, (n,); words that suit every image do not count for that.

    words  (n, K) s x_i·t_k, the words' logits
    """
    return assign(words - case.centre)


def votes(labels: Ints, named: Ints, classes: int) -> float:
    """How clearly the words alone agree with the labels: the mean of log((v_kk + 1) / (max_c≠k v_kc + 1))."""
    pairs, voters = np.unique(labels * classes + named, return_counts=True)
    bears, name = pairs // classes, pairs % classes
    own, rival = np.zeros(classes), np.zeros(classes)
    own[bears[name == bears]] = voters[name == bears]
    np.maximum.at(rival, bears[name != bears], voters[name != bears])
    return float(np.log((own + 1) / (rival + 1))[labels].mean())


def certainty(logits: Floats, labels: Ints) -> Doubles:
    """Log-odds of the label under softmax(logits), (N,), exact where the probability rounds to one."""
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    own = others[rows, labels].copy()
    others[rows, labels] = -np.inf
    most = others.max(axis=1)
    odds: Doubles = own - most - np.log(np.exp(others - most[:, None]).sum(axis=1))
    return odds


def agreement(graph: Any, labels: Ints) -> Doubles:
    """Share of each image's neighbours, by their weight, that bear its label, (N,)."""
    rows = np.repeat(np.arange(len(labels)), np.diff(graph.indptr))
    same = labels[rows] == labels[graph.indices]
    return np.bincount(rows, weights=graph.data * same, minlength=len(labels)).astype(np.float64)


def at_confidence(similarity: Floats, confidence: Doubles) -> Floats:
    """Turn similarities into probabilities, (N, K), such that the largest of each image is its confidence.

    Every image gets the temperature that does so.

    similarity   (N, K), the largest of a row at its label; rows with equals at the top stay below 1/2
    confidence   (N,), above 1 / K
    """
    gaps = similarity - similarity.max(axis=1, keepdims=True)
    gaps /= np.maximum(gaps.std(axis=1, keepdims=True), 1e-9)
    low, high = np.full(len(gaps), np.log(COLDEST)), np.full(len(gaps), np.log(HOTTEST))
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        mass = np.exp(gaps / np.exp(middle).astype(np.float32)[:, None]).sum(axis=1, dtype=np.float64)
        over = 1 / mass > confidence
        low, high = np.where(over, middle, low), np.where(over, high, middle)
    return probabilities(gaps / np.exp(low).astype(np.float32)[:, None], 1.0)


def corrected(confidence: Doubles, answered: Ints, right: npt.NDArray[np.bool_], classes: int) -> Doubles:
    """Confidences corrected by the images whose true class is known, (N,), in as few levels as can be told apart.

        log-odds(c') = a + b log-odds(c)      Platt's scaling, a ~ N(0, 0.5²) and b ~ N(1, 0.4²) beforehand

    Then each c' becomes the mean of its level: scaling-binning (Kumar, Liang and Ma 2019). There are as many levels as
    the cube root of the number of answers, as the bins of a histogram grow; without answers, eight images count for
    one.

    answered  (M,) images whose truth is known, taken at random; with none of them log-odds stay as they are
    right     (M,) whether the label that `confidence` speaks of is true
    """
    count = len(answered) or len(confidence) / IMAGES_PER_LABEL
    if len(answered):
        confidence = scaled(confidence, answered, right)
    return np.maximum(
        levelled(confidence, max(FEWEST_LEVELS, ceil(count ** (1 / 3)))), min(1.0, ABOVE_CHANCE / classes)
    )


def scaled(confidence: Doubles, answered: Ints, right: npt.NDArray[np.bool_]) -> Doubles:
    """Confidences drawn to how often labels of known images are right: c' of `corrected`, (N,)."""
    return rescaled(confidence, *platt(confidence[answered], right))


def rescaled(confidence: Doubles, offset: float, slope: float) -> Doubles:
    """sigmoid(a + b log-odds(c)) of each c."""
    return sigmoid(offset + slope * bounded_odds(confidence))


def bounded_odds(confidence: Doubles) -> Doubles:
    return log_odds(confidence, 1e-4).clip(-7, 7)


def platt(confidence: Doubles, right: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """a and b of `corrected`, of the images whose truth is known, (M,)."""
    seen, y = np.stack([np.ones(len(right)), bounded_odds(confidence)], axis=1), right.astype(np.float64)
    before, precision = np.array([0.0, 1.0]), np.array([OFFSET_SPREAD, SLOPE_SPREAD]) ** -2.0
    fitted = before.copy()
    curve = seen.T @ seen / 4 + np.diag(precision)  # never less curved than this, so no step is too far (Böhning 1992)
    for _ in range(MOST_NEWTON_STEPS):
        slope = seen.T @ (y - sigmoid(seen @ fitted)) - precision * (fitted - before)
        step = np.linalg.solve(curve, slope)
        fitted += step
        if np.abs(step).max() < SETTLED:
            break
    return float(fitted[0]), max(float(fitted[1]), 0.05)


def levelled(confidence: Doubles, levels: int) -> Doubles:
    """Confidences in a few levels, (N,), N above 0, each nearly the mean of its images; their order stays.

    Every level has the same sum of standard deviations √(c (1 - c)): most levels are where most is in doubt.
    """
    ascending = np.sort(confidence)
    doubt = np.cumsum(np.sqrt(ascending * (1 - ascending)))
    ends = np.searchsorted(doubt, doubt[-1] * np.arange(1, levels) / levels)
    level = np.searchsorted(ascending[ends], confidence, side="left")  # equals stay together
    means = np.bincount(level, weights=confidence) / np.maximum(np.bincount(level), 1)
    rounded: Doubles = means[level] + ORDERLY * (confidence - means[level])
    return rounded


def sigmoid(odds: Doubles) -> Doubles:
    return 1 / (1 + np.exp(-odds))
