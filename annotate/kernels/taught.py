"""A linear model that is taught by answers and drawn to the words: what few answers are worth.

    ℓ_ik = e^(g0 + g_k) B_ik + u_i·v_k + b_k
    B_ik = s (x_i·t_k - ½ mean_j x_j·t_k)       the words, each less half of how near it is to all images alike
    u_i  = unit(x_i - mean_j x_j)               the images, from their mean
    minimise  Σ_i w_i CE(y_i, softmax(ℓ_i)) + ½ (0.01 |v|² + |b|² + |g|²/0.09 + g0²)

With no answers ℓ is B: the words alone. With many the images speak, v. How far the words are trusted, as a whole (g0)
and one by one (g), is learned from the answers as well. Drawing a linear probe to the words follows LP++ (Huang et
al. 2024); centring the images, the weights of the words and the priors are ours. The priors' strengths were chosen on
the sets of docs/labels.md.

N images, M answered images, K classes, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate.kernels.blocks import BLOCK, across, products, single, slices
from annotate.kernels.vectors import Doubles, Floats, Rows, unit
from annotate.kernels.zeroshot import probabilities

IMAGE_PRIOR = 0.01  # precision of v beforehand
BIAS_PRIOR = 1.0  # precision of b
WORD_PRIOR = 1 / 0.09  # precision of g_k: one word counts a third more or less than another
SCALE_PRIOR = 1.0  # precision of g0
STEPS = 40  # of L-BFGS
HALF = 0.5  # of a word's nearness to all images alike is taken off


@dataclass(frozen=True)
class Teaching:
    """What a linear model sees of all images: where they are centred, and how near each word is to all of them.

    centre       (D,) mean of the embeddings
    texts        (K, D) float32 unit rows; zeros for a class that has no words
    logit_scale  s
    """

    centre: Floats
    texts: Floats
    logit_scale: float

    @staticmethod
    def of(embeddings: Rows, texts: Floats, logit_scale: float) -> Teaching:
        def total(rows: slice) -> Doubles:
            return np.asarray(single(embeddings[rows]).sum(axis=0, dtype=np.float64))

        sums = sum(across(total, slices(len(embeddings), BLOCK)), np.zeros(embeddings.shape[1]))
        return Teaching((sums / len(embeddings)).astype(np.float32), texts, logit_scale)

    def spoken(self, rows: Rows) -> Floats:
        """B of some images, (n, K)."""
        near = products(single(rows), self.texts)
        near -= np.float32(HALF) * (self.texts @ self.centre)
        near *= np.float32(self.logit_scale)
        return near

    def words(self, rows: Rows) -> Doubles:
        """What the words alone say of some images, (n, K), rows sum to one; all classes alike where there are none."""
        return np.asarray(probabilities(products(single(rows), self.texts), 1 / self.logit_scale), np.float64)

    def seen(self, rows: Rows) -> Floats:
        """u of some images, (n, D)."""
        return unit(single(rows) - self.centre)


@dataclass(frozen=True)
class Taught:
    """A linear model of K classes.

    gains     (K,) e^(g0 + g_k)
    pictures  (K, D) v
    bias      (K,) b
    """

    teaching: Teaching
    gains: Floats
    pictures: Floats
    bias: Floats

    def __call__(self, rows: Rows) -> Floats:
        """ℓ of some images, (n, K)."""
        logits = self.teaching.spoken(rows)
        logits *= self.gains
        logits += products(self.teaching.seen(rows), self.pictures)
        logits += self.bias
        return logits


def teach(teaching: Teaching, rows: Rows, targets: Doubles, weights: Doubles | None = None) -> Taught:
    """Fit the model to answers.

    rows     (M, D) embeddings of the answered images
    targets  (M, K) what was answered: one-hot, or shares that sum to one
    weights  (M,) how much each answer counts; 1 without
    """
    from scipy.optimize import minimize

    spoken, seen = teaching.spoken(rows).astype(np.float64), teaching.seen(rows).astype(np.float64)
    (m, k), d = spoken.shape, seen.shape[1]
    counted = np.ones((m, 1)) if weights is None else weights.astype(np.float64)[:, None]
    prior = np.concatenate([[SCALE_PRIOR], np.full(k, WORD_PRIOR), np.full(k, BIAS_PRIOR), np.full(k * d, IMAGE_PRIOR)])

    def loss(theta: Doubles) -> tuple[float, Doubles]:
        gains, v = np.exp(theta[0] + theta[1 : k + 1]), theta[2 * k + 1 :].reshape(k, d)
        said = gains * spoken
        logits = said + seen @ v.T + theta[k + 1 : 2 * k + 1]
        top = logits.max(axis=1, keepdims=True)
        shares = np.exp(logits - top)
        total = shares.sum(axis=1, keepdims=True)
        shares /= total
        value = float((counted * (top + np.log(total) - (targets * logits).sum(axis=1, keepdims=True))).sum())
        slope = counted * (shares - targets)
        along = (slope * said).sum(axis=0)
        gradient = np.concatenate([[along.sum()], along, slope.sum(axis=0), (slope.T @ seen).ravel()])
        return value + 0.5 * float((prior * theta**2).sum()), gradient + prior * theta

    found = minimize(loss, np.zeros(len(prior)), jac=True, method="L-BFGS-B", options={"maxiter": STEPS}).x
    theta = found.astype(np.float32)
    gains, bias, pictures = np.exp(theta[0] + theta[1 : k + 1]), theta[k + 1 : 2 * k + 1], theta[2 * k + 1 :]
    return Taught(teaching, gains, pictures.reshape(k, d), bias)
