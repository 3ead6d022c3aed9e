"""Votes as evidence: what people would say of an image, from its likely classes and the votes that it has.

An image of class c is either clear, so that nearly all people say c, or doubtful, so that many say what c is mistaken
for. What people say of it is drawn from a Dirichlet for each of the two; which of the 2 K it is, its picture and its
votes tell together:

    r_ij ∝ q_ic π_j · Γ(A_j)/Γ(A_j + m_i) Π_k Γ(α_jk + v_ik)/Γ(α_jk)        j = (c, clear) or (c, doubtful)
    p_i  = Σ_j r_ij (α_j + v_i) / (A_j + m_i)                               A_j = Σ_k α_jk, m_i = Σ_k v_ik

p_i is the posterior mean, which has the least expected divergence of all answers. One more vote lowers that divergence
by H(p_i) - E_k[H(p_i after a vote for k)], H the entropy: the votes go where this is largest.

N images, K classes, J = 2 K kinds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate.kernels.blocks import across, slices
from annotate.kernels.vectors import Doubles, Ints

CLEAR, DOUBTFUL = 0.97, 0.60  # share of people who say the image's own class
CLEAR_WEIGHT, DOUBTFUL_WEIGHT = 40.0, 4.0  # A, votes that the kind is worth
CLEAR_SHARE = 0.85  # of a class's images
LEAST = 1e-3  # share of mistakes that any class may take, before scaling
ROWS = 4096  # images at a time


@dataclass(frozen=True)
class Kinds:
    """What people say of the images of each kind, beforehand.

    alpha   (J, K) Dirichlet parameters; the clear kinds of all classes, then the doubtful
    shares  (J,) π, of a class's images
    """

    alpha: Doubles
    shares: Doubles

    @staticmethod
    def mistaken_as(chances: Doubles) -> Kinds:
        """By how classes are mistaken for each other: those that pictures are torn between, (N, K) chances."""
        k = chances.shape[1]
        others = chances.T @ chances
        others /= np.maximum(others.sum(axis=1, keepdims=True), 1e-12)
        others += LEAST
        np.fill_diagonal(others, 0)
        others /= others.sum(axis=1, keepdims=True)
        own = np.eye(k)
        clear = CLEAR_WEIGHT * (CLEAR * own + (1 - CLEAR) * others)
        doubtful = DOUBTFUL_WEIGHT * (DOUBTFUL * own + (1 - DOUBTFUL) * others)
        return Kinds(np.concatenate([clear, doubtful]), np.repeat([CLEAR_SHARE, 1 - CLEAR_SHARE], k))

    def posterior(self, chances: Doubles, votes: Doubles) -> Doubles:
        """r, (N, J): of which kind each image is, by its picture's chances (N, K) and its votes (N, K)."""
        from scipy.special import gammaln

        totals, counts = self.alpha.sum(axis=1), votes.sum(axis=1)
        log = np.log(np.maximum(np.tile(chances, 2) * self.shares, 1e-300))
        voted = np.flatnonzero(counts)
        v, m = votes[voted], counts[voted, None]
        log[voted] += (gammaln(self.alpha + v[:, None]) - gammaln(self.alpha)).sum(axis=2)
        log[voted] += gammaln(totals) - gammaln(totals + m)
        log -= log.max(axis=1, keepdims=True)
        kinds = np.exp(log)
        kinds /= kinds.sum(axis=1, keepdims=True)
        return np.asarray(kinds)

    def mean(self, kinds: Doubles, votes: Doubles) -> Doubles:
        """p, (N, K), of images of these kinds, (N, J), with these votes."""
        weights = kinds / (self.alpha.sum(axis=1) + votes.sum(axis=1, keepdims=True))
        return np.asarray(weights @ self.alpha + weights.sum(axis=1, keepdims=True) * votes)

    def gain(self, kinds: Doubles, votes: Doubles) -> Doubles:
        """By how much one more vote lowers the expected divergence of each image, (N,)."""
        return np.concatenate([*across(lambda rows: self._gain(kinds[rows], votes[rows]), slices(len(votes), ROWS))])

    def _gain(self, kinds: Doubles, votes: Doubles) -> Doubles:
        totals = self.alpha.sum(axis=1) + votes.sum(axis=1, keepdims=True)  # (n, J)
        after = np.zeros(len(votes))
        for k in range(votes.shape[1]):
            told = kinds * (self.alpha[:, k] + votes[:, k, None]) / totals  # a vote for k, and the kind
            chance = told.sum(axis=1)
            one_more = votes.copy()
            one_more[:, k] += 1
            after += chance * entropy(self.mean(told / np.maximum(chance, 1e-300)[:, None], one_more))
        return np.asarray(entropy(self.mean(kinds, votes)) - after)


def class_chances(kinds: Doubles) -> Doubles:
    """Which class an image is of, (N, K), clear or doubtful."""
    k = kinds.shape[1] // 2
    return kinds[:, :k] + kinds[:, k:]


def entropy(shares: Doubles) -> Doubles:
    """-Σ p ln p of each row."""
    return -np.asarray((shares * np.log(np.maximum(shares, 1e-300))).sum(axis=-1))


def most_worth(gain: Doubles, count: int) -> Ints:
    """The images with the largest gain, `count` of them, largest first; of equals those that stand first."""
    return np.argsort(-gain, kind="stable")[:count]
