"""Published refinements that need no labels, written from the equations of their papers, to compare with ours.

    TransCLIP-ZS   Zanella, Gérin, Ben Ayed: Boosting Vision-Language Models with Transduction. NeurIPS 2024
    StatA          Zanella, Fuchs, De Vleeschouwer, Ben Ayed: Realistic Test-Time Adaptation of Vision-Language Models.
                   CVPR 2025
    ZLaP           Stojnić, Kalantidis, Tolias: Label Propagation for Zero-shot Classification with Vision-Language
                   Models. CVPR 2024

TransCLIP and StatA alternate soft labels z and Gaussian classes:

    z_ik ∝ y_ik · exp( ω log p_ik + Σ_j w_ij z_jk )     y zero-shot probabilities; w cosines, where positive, of each
                                                        image to its 3 nearest; λ = 1
    log p_ik = -½ Σ_d ( (x_id - m_kd)² / v_kd + log v_kd )

The equations have no ω, that is ω = 1. With it the images drown the words: the many dimensions of an embedding say the
same thing again and again. Accuracy then falls where the papers report that it rises. ω = 1/√D is our reading, not
theirs, chosen on the very cases that they are compared on here, in their favour; the authors' code has not been looked
at.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import products
from annotate.kernels.neighbours import nearest_neighbours
from annotate.kernels.vectors import Floats

AFFINE = 3  # neighbours of an image in TransCLIP and StatA
CONFIDENT = 8  # images that a class mean of TransCLIP starts from
PASSES = 10  # over labels, means and variances
INNER = 5  # updates of the labels in a pass
ANCHOR = 1.0  # α of StatA, images that the words of a class count for
LEAST = 1e-8  # variance along a dimension; images of a class that has statistics of its own

LINKS = 5  # k of ZLaP, as many images as texts
POWER = 5.0  # of its similarities between image and text
SPREAD = 0.3  # its α, how far labels travel
STEPS = 100  # of conjugate gradients, at most
EXACT = 1e-8  # residual at which they stop

Wide = npt.NDArray[np.float64]


def transclip(embeddings: Floats, texts: Floats, *, logit_scale: float, likelihood: float | None = None) -> Wide:
    """z (N, K) of TransCLIP-ZS: the classes share one diagonal covariance.

        m_k = Σ_i z_ik x_i / n_k        n_k = Σ_i z_ik
        v_d = Σ_ik z_ik (x_id - m_kd)² / N

    m starts as the mean of the 8 most probable images of each class, v as 1/D; a class without images keeps its mean.

    embeddings   (N, D) float32 unit rows
    texts        (K, D) float32 unit rows
    logit_scale  s of the model
    likelihood   ω; None for 1/√D
    """
    x, words, graph, weight = scene(embeddings, texts, logit_scale, likelihood)
    n, d = x.shape
    chances: Wide = np.exp(words)
    means = x[np.argsort(-words, axis=0, kind="stable")[:CONFIDENT]].mean(axis=0)  # (8, K, D) to (K, D)
    variances = np.full((1, d), 1 / d)
    for _ in range(PASSES):
        chances = soft_labels(words + weight * log_likelihood(x, means, variances), graph, chances)
        counts = chances.sum(axis=0)[:, None]
        means = np.where(counts > LEAST, chances.T @ x / np.maximum(counts, LEAST), means)
        variances = np.maximum(scatter(x, chances, means).sum(axis=0, keepdims=True) / n, LEAST)
    return chances


def stata(embeddings: Floats, texts: Floats, *, logit_scale: float, likelihood: float | None = None) -> Wide:
    """z (N, K) of StatA: each class has its diagonal covariance; statistics expected from the words draw them.

        m_k = (Σ_i z_ik x_i + α t_k) / (n_k + α)
        v_k = (Σ_i z_ik (x_i - m_k)² + α (v'_k + (t_k - m_k)²)) / (n_k + α)
        v'_k = Σ_i y_ik (x_i - t_k)² / Σ_i y_ik

    squares by dimension: what minimises the likelihood's term plus α Σ_k KL(N(t_k, v'_k) || N(m_k, v_k)). m starts as
    t, v as v'. Arguments as in `transclip`.
    """
    x, words, graph, weight = scene(embeddings, texts, logit_scale, likelihood)
    t = texts.astype(np.float64)
    chances: Wide = np.exp(words)
    counts, spread = chances.sum(axis=0)[:, None], scatter(x, chances, t)
    # A class that no image may be in expects what the others do.
    anchor = np.where(counts > LEAST, spread / np.maximum(counts, LEAST), spread.sum(axis=0) / len(x))
    anchor = np.maximum(anchor, LEAST)
    means, variances = t, anchor
    for _ in range(PASSES):
        chances = soft_labels(words + weight * log_likelihood(x, means, variances), graph, chances)
        mass = chances.sum(axis=0)[:, None] + ANCHOR
        means = (chances.T @ x + ANCHOR * t) / mass
        variances = (scatter(x, chances, means) + ANCHOR * (anchor + (t - means) ** 2)) / mass
    return chances


def scene(
    embeddings: Floats, texts: Floats, logit_scale: float, likelihood: float | None
) -> tuple[Wide, Wide, Any, float]:
    """x (N, D), log y (N, K), w (N, N) sparse, and ω."""
    from scipy.special import log_softmax

    x = embeddings.astype(np.float64)
    words: Wide = log_softmax(logit_scale * products(embeddings, texts).astype(np.float64), axis=1)
    return x, words, affinities(embeddings), x.shape[1] ** -0.5 if likelihood is None else likelihood


def affinities(embeddings: Floats) -> Any:
    """w, (N, N) csr_array: a row holds the positive cosines of an image to its nearest."""
    from scipy.sparse import csr_array

    n = len(embeddings)
    nearest, cosines = nearest_neighbours(embeddings, AFFINE)
    rows = np.repeat(np.arange(n), nearest.shape[1])
    return csr_array((np.maximum(cosines, 0).ravel().astype(np.float64), (rows, nearest.ravel())), shape=(n, n))


def soft_labels(evidence: Wide, graph: Any, chances: Wide) -> Wide:
    """z (N, K) after a few updates from all z at once; evidence (N, K) is what words and classes say."""
    for _ in range(INNER):
        chances = graph @ chances
        chances += evidence
        chances -= chances.max(axis=1, keepdims=True)
        np.exp(chances, out=chances)
        chances /= chances.sum(axis=1, keepdims=True)
    return chances


def log_likelihood(x: Wide, means: Wide, variances: Wide) -> Wide:
    """log p of Gaussians with diagonal covariance up to a constant, (N, K); variances (K, D), or (1, D) if shared."""
    precise = means / variances
    lengths = x**2 @ (1 / variances).T  # (N, K) or (N, 1)
    offsets = (means * precise + np.log(variances)).sum(axis=1)
    density: Wide = x @ precise.T - 0.5 * (lengths + offsets)
    return density


def scatter(x: Wide, chances: Wide, centres: Wide) -> Wide:
    """Σ_i z_ik (x_i - c_k)² by dimension, (K, D)."""
    counts = chances.sum(axis=0)[:, None]
    spread: Wide = chances.T @ x**2 - 2 * centres * (chances.T @ x) + counts * centres**2
    return np.maximum(spread, 0)


def zlap(embeddings: Floats, texts: Floats) -> Wide:
    """Shares of the classes (N, K) by ZLaP: the names travel from the words along a graph of nearest neighbours.

        F = (I - α A)⁻¹ Y        A = D^(-½) (S + Sᵀ) D^(-½), D its degrees; Y one-hot for a text, zero for an image

    Nodes are K texts, then N images. S links each image to its 5 nearest images and, searched apart since their
    cosines are of another range, to its 5 nearest texts; texts are not linked to texts. Links between images weigh
    their positive cosine, links to texts the cosine brought to 0 … 1 by the least and largest of all, to the power of
    5. The search apart and the solve are the paper's; the weights of links to texts are our reading of it.

    embeddings  (N, D) float32 unit rows
    texts       (K, D) float32 unit rows
    """
    adjacency = propagation_graph(embeddings, texts)
    sources = np.eye(adjacency.shape[0], len(texts))
    shares = np.maximum(solve(adjacency, sources)[len(texts) :], 0)
    shares[shares.sum(axis=1) == 0] = 1  # no text reaches it
    normalised: Wide = shares / shares.sum(axis=1, keepdims=True)
    return normalised


def propagation_graph(embeddings: Floats, texts: Floats) -> Any:
    """A, (K + N, K + N) csr_array, symmetric."""
    from scipy.sparse import csr_array, diags_array

    n, k = len(embeddings), len(texts)
    nearest, cosines = nearest_neighbours(embeddings, LINKS)
    words = products(embeddings, texts)
    links = min(LINKS, k)
    named = np.argsort(-words, axis=1, kind="stable")[:, :links]
    least, most = float(words.min()), float(words.max())
    across = ((np.take_along_axis(words, named, axis=1) - least) / max(most - least, LEAST)) ** POWER
    weights = np.concatenate([np.maximum(cosines, 0), across], axis=1).astype(np.float64)
    ends = np.concatenate([nearest + k, named], axis=1)
    rows = np.repeat(np.arange(k, k + n), ends.shape[1])
    one_way = csr_array((weights.ravel(), (rows, ends.ravel())), shape=(k + n, k + n))
    both = one_way + one_way.T
    degrees = np.asarray(both.sum(axis=1)).ravel()
    scale = diags_array(1 / np.sqrt(np.where(degrees > 0, degrees, 1)))
    return csr_array(scale @ both @ scale)


def solve(adjacency: Any, sources: Wide) -> Wide:
    """F of (I - α A) F = Y by conjugate gradients, all columns at once."""
    found, residual = np.zeros_like(sources), sources.copy()
    along = residual.copy()
    size = np.einsum("ik,ik->k", residual, residual)
    for _ in range(STEPS):
        if np.sqrt(size.max()) < EXACT:
            break
        moved = along - SPREAD * (adjacency @ along)
        step = size / np.maximum(np.einsum("ik,ik->k", along, moved), 1e-300)
        found += step * along
        residual -= step * moved
        last, size = size, np.einsum("ik,ik->k", residual, residual)
        along = residual + size / np.maximum(last, 1e-300) * along
    return found
