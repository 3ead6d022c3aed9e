"""Transduction: all images are labelled together, by words, by classes learned from the images, and by neighbours.

An expectation-maximisation of Gaussian classes with one shared metric, whose means are anchored by the words:

    z_ik ∝ exp( λ s x_i·t_k + τ (κ d_ik + ℓ p³ Σ_j w_ij z_jk) )         words; class means and neighbours
    d_ik = x_i·m_k - |m_k|²/2       m_k without x_i's own share of it
    m_k  = (Σ_i z_ik x_i + α a_k) / (n_k + α)            n_k = Σ_i z_ik
    a_k  = g (t_k - Σ_c π_c t_c)    the words moved among the images: centred, times the gain g that fits them
                                    to the class means by least squares; π_k = n_k / N
    κ    = 0.3 tr(S) / tr(S²)       S the covariance of the images in the metric: one over the variance of a typical
                                    direction, less because images differ along fewer directions than a Gaussian
    p    = Σ z_i·(W z)_i / Σ z_i·z_i      purity: how far neighbours agree
    τ    = p n̄ / (n̄ + 5)            trust in what images say of each other; n̄ = N / exp(entropy of π), images of a
                                    class that is in use. With few, or where neighbours differ, words decide
    λ    ← √(λ (1 - 0.4 τ) λ*),     λ* = argmax_λ Σ_ik z_ik log softmax_k(λ s x_i·t_k), from the second pass on; λ = 1
                                    before

x and t are raw in the words' term; in the others they are seen in the metric, images from their mean. The metric is
Σ^(-1/4) for the covariance Σ of the images, shrunk toward a sphere (OAS, Chen et al. 2010) and scaled to keep the mean
squared length. w are the rows of the graph of 5 nearest neighbours.

The classes follow TransCLIP (Zanella et al. 2024) and StatA (Zanella et al. 2025): Gaussians with a text term and a
graph, means drawn to the text. Moving the anchors among the images, leaving one out, κ, τ and λ are ours. λ is the
likeliest weight of the words given the labels so far, less a part because those labels come from the words too:
words that contradict what the images agree on lose weight.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.prototypes import Pass
from annotate.kernels.vectors import Floats, unit
from annotate.kernels.zeroshot import assign, probabilities, similarities

NEIGHBOURS = 5
SHARPNESS = 0.3  # κ in units of one over the variance of a typical direction
AGREEMENT = 8.0  # ℓ
ANCHOR = 6.0  # α, images that the words of a class count for
FEW = 5.0  # images of a class at which they are trusted by half
DISCOUNT = 0.4  # taken off the likeliest weight of the words where images are trusted fully
LIGHTEST, HEAVIEST = 0.05, 1.5  # bounds of λ
SETTLED = 0.001  # share of images that move in the last pass
FEWEST_PASSES = 4  # λ needs these to leave its start

Wide = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Metric:
    """Images seen from their centre, in directions of equal interest.

    centre   (D,) mean of the images
    map      (D, D) symmetric; x = (embedding - centre) @ map
    typical  tr(S²) / tr(S) for the covariance S of x: the variance along a direction, weighted by itself
    """

    centre: Wide
    map: Wide
    typical: float


def image_metric(embeddings: Floats) -> Metric:
    """Σ^(-1/4) of the images, OAS-shrunk, scaled so that the mean squared length stays what it is."""
    n, d = embeddings.shape
    centre = embeddings.mean(axis=0, dtype=np.float64)
    moments = embeddings.T.astype(np.float64) @ embeddings.astype(np.float64) / n - np.outer(centre, centre)
    trace, squares = float(np.trace(moments)), float((moments**2).sum())
    spread = squares - trace**2 / d
    shrinkage = min(1.0, ((1 - 2 / d) * squares + trace**2) / ((n + 1 - 2 / d) * spread)) if spread > 0 else 1.0
    shrunk = (1 - shrinkage) * moments + shrinkage * trace / d * np.eye(d)
    values, axes = np.linalg.eigh(shrunk)
    values = np.maximum(values, 1e-12 * max(float(values[-1]), 1e-12))
    straight = (axes * values**-0.25) @ axes.T
    seen = straight @ moments @ straight
    length = float(np.trace(seen))
    if length <= 0:  # all images are one
        return Metric(centre, np.eye(d), 1.0)
    return Metric(centre, straight * np.sqrt(trace / length), trace / length**2 * float((seen**2).sum()))


def transduce(
    embeddings: Floats, texts: Floats, graph: Any, *, logit_scale: float, iterations: int, balanced: bool = False
) -> Iterator[Pass]:
    """Yield the zero-shot pass, then one pass per iteration until hardly an image moves; the last is the outcome.

    embeddings   (N, D) float32 unit rows
    texts        (K, D) float32 unit rows
    graph        (N, N) sparse, of `neighbour_graph`
    logit_scale  s of the model
    balanced     classes are known to be of about equal size: in each pass the logits of a class all move by what makes
                 its share of the images 1 / K (Sinkhorn's scaling; Cuturi 2013)
    A pass's similarity is the logarithm of z over s (so that softmax(s · similarity) is z), its text weight λ, its
    trust τ.
    """
    n = len(embeddings)
    metric = image_metric(embeddings)
    x = ((embeddings - metric.centre) @ metric.map).astype(np.float32)
    t = texts.astype(np.float64) @ metric.map
    lengths = np.einsum("ij,ij->i", x, x)[:, None]  # |x_i|²
    words = similarities(embeddings, texts)
    chances = probabilities(words, 1 / logit_scale)
    last = Pass(texts, words, assign(words), 1.0)
    yield last
    weight = 1.0
    for iteration in range(iterations):
        counts = chances.sum(axis=0, dtype=np.float64)
        sums = chances.T.astype(np.float64) @ x
        fit = class_fit(x, lengths, chances, counts, sums + ANCHOR * anchors(t, counts, sums))
        around = graph @ chances
        pure = purity(chances, around)
        trusted = pure * abundance(counts / n, n)
        evidence = SHARPNESS / metric.typical * fit + AGREEMENT * pure**3 * around
        logits = weight * logit_scale * words + trusted * evidence
        if balanced:
            logits += evening(logits)
        similarity = (logits / logit_scale).astype(np.float32)
        chances = probabilities(similarity, 1 / logit_scale)
        labels = assign(similarity)
        settled = (labels != last.labels).mean() < SETTLED
        last = Pass(class_means(embeddings, chances, texts), similarity, labels, weight, trusted)
        yield last
        if settled and iteration >= FEWEST_PASSES:
            return
        if iteration:
            likeliest = word_weight(logit_scale * words, chances, start=weight)
            weight = float(np.sqrt(weight * np.clip((1 - DISCOUNT * trusted) * likeliest, LIGHTEST, HEAVIEST)))


def anchors(t: Wide, counts: Wide, sums: Wide) -> Wide:
    """The words among the images, (K, D): centred, times the gain that fits them to the class means.

    sums   (K, D) of the images of each class
    """
    centred = t - counts @ t / counts.sum()
    reached = float((sums * centred).sum())
    extent = float((counts[:, None] * centred**2).sum())
    moved: Wide = centred * max(reached / extent, 0.0) if extent > 0 else centred * 0
    return moved


def class_fit(x: Floats, lengths: Floats, chances: Floats, counts: Wide, anchored: Wide) -> Floats:
    """How well each image fits each class mean that it had no part in, (N, K).

    anchored   (K, D) sums of the images of each class, its anchor among them ANCHOR times
    """
    sums = anchored.astype(np.float32)
    squares = np.einsum("kd,kd->k", sums, sums)
    along = x @ sums.T  # (N, K)
    own = chances * lengths
    mass = (counts + ANCHOR).astype(np.float32) - chances
    fit: Floats = (along - own) / mass - 0.5 * (squares - 2 * chances * along + chances * own) / mass**2
    return fit


def evening(logits: Floats, sweeps: int = 10) -> Floats:
    """What to add to the logits of each class, (K,), for all to have the same share of the images."""
    offsets = np.zeros(logits.shape[1], np.float32)
    for _ in range(sweeps):
        shares = probabilities(logits + offsets, 1.0).mean(axis=0, dtype=np.float64)
        offsets -= np.log(np.maximum(shares * len(shares), 1e-6)).astype(np.float32)
    return offsets


def purity(chances: Floats, around: Floats) -> float:
    """p: how far an image's neighbours share its classes, from 0 to 1; around are the neighbours' mean chances."""
    return min(1.0, float(np.einsum("ij,ij->", chances, around)) / float(np.einsum("ij,ij->", chances, chances)))


def abundance(shares: Wide, n: int) -> float:
    """n̄ / (n̄ + 5), n̄ the images of a class that is in use."""
    entropy = -float((shares * np.log(np.maximum(shares, 1e-300))).sum())
    images = n / np.exp(entropy)
    return float(images / (images + FEW))


def word_weight(logits: Floats, chances: Floats, *, start: float, steps: int = 4) -> float:
    """The λ that makes the labels likeliest under softmax(λ · logits): Newton's method on a convex function."""
    weight = start
    target = float(np.einsum("ij,ij->", chances, logits)) / len(logits)
    for _ in range(steps):
        shares = probabilities(logits, 1 / weight)
        mean = np.einsum("ij,ij->i", shares, logits)
        spread = float((np.einsum("ij,ij->i", shares, logits**2) - mean**2).mean())
        if spread <= 1e-12:
            return weight
        step = (target - float(mean.mean())) / spread
        weight = float(np.clip(weight + np.clip(step, -weight / 2, weight), LIGHTEST, 2 * HEAVIEST / (1 - DISCOUNT)))
    return weight


def expected_accuracy(zero_shot: float, confidence: float, last: Pass) -> float:
    """What share of the labels of the last pass is right, as far as can be told without labels.

        log-odds = -0.44 + 1.45 log-odds(zero-shot confidence)
                   + τ (0.38 (log-odds(confidence) - log-odds(zero-shot confidence)) + 1.5 log min(λ, 1))

    Zero-shot confidence is nearly calibrated; z's own is too high, since neighbours and class means say the same thing
    twice; words that images contradict make mistakes that images cannot see. The four numbers are least squares
    over the cases of `benchmarks/cases.py` and `tiny`'s sets (benchmarks/refinement.py measures what comes of them).

    zero_shot   mean probability of the labels of the words alone
    confidence  mean probability z of the labels
    """
    words, own = log_odds(zero_shot), log_odds(confidence)
    weight = 1.0 if last.text_weight is None else last.text_weight
    images = last.trust * (0.38 * (own - words) + 1.5 * np.log(min(weight, 1.0)))
    return float(1 / (1 + np.exp(0.44 - 1.45 * words - images)))


def log_odds(share: float) -> float:
    bounded = np.clip(share, 0.005, 0.995)
    return float(np.log(bounded / (1 - bounded)))


def class_means(embeddings: Floats, chances: Floats, texts: Floats) -> Floats:
    """Unit mean of the images by their shares, (K, D); its words, moved among them, for one that has none."""
    counts = chances.sum(axis=0, dtype=np.float64)
    moved = texts - counts @ texts / counts.sum() + embeddings.mean(axis=0, dtype=np.float64)
    return np.where(counts[:, None] >= 1, unit(chances.T.astype(np.float64) @ embeddings), unit(moved))
