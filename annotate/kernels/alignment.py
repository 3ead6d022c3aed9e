"""Cluster alignment: each class's prototype moves toward the clusters that look like the class.

A cluster is shared among the classes by how near it is to each, and each prototype becomes the mean of its shares.

For t = 1 … I, for the meta-clusters and then for the micro-clusters:

    s_kc = C_k · P_c        γ_kc = softmax_c(s_kc / τ)        P_c = unit(Σ_k n_k γ_kc C_k / Σ_k n_k γ_kc)

with n_k = 1, or the size of cluster k. Then each image gets the nearest prototype, y_i = argmax_c x_i · P_c; a class
without an image goes back to its text. τ is the model's own temperature, 1 / logit_scale, unless given: a larger one
makes all responsibilities equal and all prototypes one vector.

N images, K classes, C clusters, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import products
from annotate.kernels.prototypes import Pass, Workers, assigned
from annotate.kernels.vectors import Floats, unit
from annotate.kernels.zeroshot import probabilities


@dataclass(frozen=True)
class Groups:
    """Clusters to align: centroids (C, D) unit rows and their weights (C,)."""

    centroids: Floats
    weights: npt.NDArray[np.float64]


def refine_soft(
    workers: Workers, texts: Floats, sample: Floats, levels: Sequence[Groups], *, iterations: int, temperature: float
) -> Iterator[Pass]:
    """Yield the zero-shot pass, then one pass per iteration; the last is the outcome.

    workers  have the images, (N, D)
    sample   (S, D) some of them
    levels   meta-clusters, then micro-clusters; images themselves where there is but one cluster
    """
    last = assigned(workers, texts, sample, 1.0)
    yield last
    for _ in range(iterations):
        prototypes = np.where(last.counts[:, None] > 0, last.prototypes, texts)
        for level in levels:
            prototypes = align(prototypes, level, temperature=temperature)
        last = assigned(workers, prototypes, sample, None)
        yield last


def align(prototypes: Floats, groups: Groups, *, temperature: float) -> Floats:
    """Move every prototype to the mean of its shares of the clusters, (K, D); one without a share stays."""
    shares = alignment(prototypes, groups.centroids, temperature=temperature) * groups.weights[:, None]  # (C, K)
    sums = shares.T @ groups.centroids.astype(np.float64)  # (K, D)
    answered = np.linalg.norm(sums, axis=1) > 1e-30
    return np.where(answered[:, None], unit(sums), prototypes)


def alignment(prototypes: Floats, centroids: Floats, *, temperature: float) -> Floats:
    """How much of each cluster belongs to each class: γ (C, K), rows sum to one."""
    return probabilities(products(centroids, prototypes), temperature)


def mean_entropy(shares: Floats) -> float:
    """How evenly clusters are shared among the classes: 0 where each has one class, 1 where all have all alike.

    It is the mean entropy of the rows of an alignment, divided by log K.
    """
    wide = shares.astype(np.float64)
    entropies = -(wide * np.log(np.where(wide > 0, wide, 1))).sum(axis=1)
    return float(entropies.mean() / np.log(shares.shape[1])) if len(shares) and shares.shape[1] > 1 else 0.0
