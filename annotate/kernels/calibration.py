"""Confidence: choose the temperature that makes it the chance of being right, and measure whether it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.kernels.vectors import Floats, Ints
from annotate.kernels.zeroshot import mean_confidence, probabilities

COLDEST, HOTTEST = 1e-4, 1e2  # bounds of the search for a temperature: all or nothing, and all classes alike
LEAST_SHARE = 1e-15  # a confidence is taken to be this far from 0 and 1, so that its log-odds are finite
MOST_PASSES, NEAR = 60, 1e-6  # at most, of that search; where it ends, in log-odds of the mean confidence
PARTS_LEFT_OUT = 20  # parts of the answered images, each judged by the answers on the others; each costs a fit
TEMPERATURE_SPREAD = 0.3  # of the right temperature's logarithm about the one without labels
NINE_OF_TEN = 1.645  # standard deviations, either way
DOWN, UP = 0.6, 1.3  # spread of the true log-odds below and above the expected
SUREST = 1 - 1e-4  # the expected accuracy is never said to be more, or less than what this lacks to 1


def matching_temperature(similarity: Floats, target: float) -> float:
    """The temperature at which images are as sure of their labels, on average, as `target` says.

    Refined prototypes separate images more widely than the words they came from, so the model's own
    temperature would overstate what is known. Zero-shot probabilities at the model's scale are nearly
    calibrated; their mean confidence is therefore the target. It is found by false position, an end that
    stays halved (Illinois; Dowell and Jarratt 1971): about ten passes, where halving the interval takes thirty.

    similarity  (N, K) cosines to the refined prototypes
    """
    wanted = float(log_odds(target, LEAST_SHARE))

    def excess(logarithm: float) -> float:
        return float(log_odds(mean_confidence(similarity, float(np.exp(logarithm))), LEAST_SHARE)) - wanted

    low, high = float(np.log(COLDEST)), float(np.log(HOTTEST))
    over, under = excess(low), excess(high)
    if over <= 0 or under >= 0:  # beyond the bounds
        return COLDEST if over <= 0 else HOTTEST
    before = 0.0
    for _ in range(MOST_PASSES):
        middle = (low * under - high * over) / (under - over)
        found = excess(middle)
        if abs(found) < NEAR:
            break
        if found > 0:
            low, over, under = middle, found, under / 2 if before > 0 else under
        else:
            high, under, over = middle, found, over / 2 if before < 0 else over
        before = found
    return float(np.exp(middle))


def log_odds(shares: npt.ArrayLike, least: float) -> npt.NDArray[np.float64]:
    """log(p / (1 - p)) of one share or many, each taken to be at least `least` and at most 1 - `least`."""
    bounded = np.clip(np.asarray(shares, np.float64), least, 1 - least)
    return np.asarray(np.log(bounded / (1 - bounded)))


def likeliest_temperature(similarity: Floats, answers: Ints, without_labels: float) -> float:
    """The temperature at which the answers of people are likeliest; few answers change it little.

    Its logarithm is drawn to that of the temperature without answers.

    similarity      (M, K) of the images whose class somebody gave
    answers         (M,) those classes
    without_labels  the temperature without answers
    """
    return float(likeliest_without_a_part(similarity, answers, without_labels, np.zeros(len(answers), np.int64), 1)[-1])


def likeliest_temperatures_without(similarity: Floats, answers: Ints, without_labels: float) -> npt.NDArray[np.float64]:
    """A temperature for each answered image, (M,), by the answers on images of other parts alone (`part_of_each`)."""
    part = part_of_each(len(answers))
    return likeliest_without_a_part(similarity, answers, without_labels, part, PARTS_LEFT_OUT)[part]


def likeliest_without_a_part(
    similarity: Floats, answers: Ints, without_labels: float, part: Ints, parts: int
) -> npt.NDArray[np.float64]:
    """The likeliest temperatures by the answers of all parts but one, (parts + 1,); the last is by all answers.

    part  (M,) number of the part that an image is in
    """
    steps = np.linspace(-4, 4, 321)  # log-temperatures, from the one without answers
    rows = np.arange(len(answers))
    likelihoods = np.empty((len(steps), parts + 1))
    for place, step in enumerate(steps.tolist()):
        chances = probabilities(similarity, float(without_labels * np.exp(step)))[rows, answers]
        logarithms = np.log(np.maximum(chances, 1e-12))
        of_all = float(logarithms.sum())
        likelihoods[place] = of_all - (step / TEMPERATURE_SPREAD) ** 2 / 2
        likelihoods[place, :parts] -= np.bincount(part, weights=logarithms, minlength=parts)
    best: npt.NDArray[np.float64] = without_labels * np.exp(steps[likelihoods.argmax(axis=0)])
    return best


def part_of_each(m: int) -> Ints:
    """Which part each of m answered images is in, (m,), so that it can be judged by the answers of all other parts.

    Up to PARTS_LEFT_OUT images are each a part alone.
    """
    return np.arange(m) % PARTS_LEFT_OUT


@dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in equal-width bins; empty bins are left out.

    confidence, accuracy, share  (bins,) mean confidence, share right, share of all images
    """

    confidence: npt.NDArray[np.float64]
    accuracy: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]

    @property
    def error(self) -> float:
        """Expected calibration error (Naeini et al. 2015): mean gap between confidence and accuracy, by share."""
        return float((self.share * np.abs(self.confidence - self.accuracy)).sum())


def reliability(confidences: npt.NDArray[np.floating], right: npt.NDArray[np.bool_], bins: int = 15) -> Reliability:
    """How often images of each confidence are right."""
    bin_of = np.minimum((confidences * bins).astype(int), bins - 1)
    counts = np.bincount(bin_of, minlength=bins)
    used = counts > 0
    confidence = np.bincount(bin_of, weights=confidences, minlength=bins)[used] / counts[used]
    accuracy = np.bincount(bin_of, weights=right.astype(float), minlength=bins)[used] / counts[used]
    return Reliability(confidence, accuracy, counts[used] / max(1, len(confidences)))


def expected_accuracy(confidences: npt.NDArray[np.floating]) -> tuple[float, float, float]:
    """What share of these labels is right: the expected share, and bounds that hold in about nine cases of ten.

        log-odds(m) ± 1.645 sqrt(σ² + 1 / (n m (1 - m) + 1)),  m = mean confidence,  σ = 0.6 down and 1.3 up

    The second term is the chance of n draws. The first is what the estimate itself is off: a spread of true about
    expected log-odds, chosen so that the truth lies within for nine of ten pairs of case and share kept, on cases of
    real CLIP embeddings, each judged with confidences fitted without its source (benchmarks/confidence.py). Confidences
    were too low more often than too high, so the bounds reach further up.

    confidences  (n,) of the images, n > 0
    returns      expected accuracy, least, most; the bounds rounded outward to whole images
    """
    n = len(confidences)
    mean = float(np.clip(confidences.mean(dtype=np.float64), 1 - SUREST, SUREST))
    centre, chance = np.log(mean / (1 - mean)), 1 / (n * mean * (1 - mean) + 1)
    low = 1 / (1 + np.exp(-centre + NINE_OF_TEN * np.sqrt(DOWN**2 + chance)))
    high = 1 / (1 + np.exp(-centre - NINE_OF_TEN * np.sqrt(UP**2 + chance)))
    return mean, float(np.floor(low * n) / n), float(np.ceil(high * n) / n)


@dataclass(frozen=True)
class Kept:
    """The most certain images, and how many of them should be right.

    share       of all images that was asked for
    images      kept: those of at least `confidence`, so equals stay together
    confidence  the least that is kept
    expected    accuracy, with its bounds `low` and `high`
    """

    share: float
    images: int
    confidence: float
    expected: float
    low: float
    high: float


def coverage(confidences: npt.NDArray[np.floating], shares: Sequence[float]) -> list[Kept]:
    """What accuracy to expect of the most certain images, by how many are kept (El-Yaniv and Wiener 2010).

    confidences  (N,)
    shares       of the images, in (0, 1]
    """
    ascending = np.sort(confidences)
    n = len(ascending)
    found = []
    for share in shares:
        least = ascending[n - max(1, round(share * n))]
        first = int(np.searchsorted(ascending, least))
        found.append(Kept(share, n - first, float(least), *expected_accuracy(ascending[first:])))
    return found
