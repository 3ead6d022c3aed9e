"""Dynamic text weighting: prototypes that start as words and learn from the images they attract.

For t = 0 … I-1:    y_i = argmax_k x_i · P_k                      every image, every time
                    w_t = w₀ - (w₀ - w₁) · t / I
                    P_k = unit(w_t T_k + (1 - w_t) v_k)           v_k: unit mean of the images of class k
                    P_k = T_k                                     where class k has no image
and a last assignment. With w₀ = 0.95, w₁ = 0.60 and I = 10 the last weight is 0.635.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate.kernels.vectors import Floats, Ints, group_means, unit
from annotate.kernels.zeroshot import assign, similarities


@dataclass(frozen=True)
class Pass:
    """One assignment of all images.

    prototypes   (K, D) unit rows that gave it; in transduction the class means that it leads to
    similarity   (N, K) cosines; in transduction log-probabilities over the logit scale
    labels       (N,)
    text_weight  w that made the prototypes; 1 at the start, None where a method has none
    trust        in what images say of each other, from 0 to 1, where a method weighs that
    """

    prototypes: Floats
    similarity: Floats
    labels: Ints
    text_weight: float | None
    trust: float = 0.0


def refine_dynamic(embeddings: Floats, texts: Floats, *, iterations: int, start: float, end: float) -> Iterator[Pass]:
    """Yield the zero-shot pass, then one pass per iteration; the last is the outcome.

    embeddings   (N, D) float32 unit rows
    texts        (K, D) float32 unit rows
    start, end   w₀ and w₁ in [0, 1]
    """
    last = assigned(embeddings, texts, 1.0)
    yield last
    for t in range(iterations):
        weight = start - (start - end) * t / iterations
        means = class_means(embeddings, last.labels, texts)
        last = assigned(embeddings, blend(texts, means, text_weight=weight), weight)
        yield last


def assigned(embeddings: Floats, prototypes: Floats, text_weight: float | None) -> Pass:
    """One assignment of all images to their nearest prototypes."""
    similarity = similarities(embeddings, prototypes)
    return Pass(prototypes, similarity, assign(similarity), text_weight)


def class_means(embeddings: Floats, labels: Ints, texts: Floats) -> Floats:
    """Unit mean of each class's images, (K, D); the text where a class has none."""
    k = len(texts)
    means = group_means(embeddings, labels, k)
    filled = np.bincount(labels, minlength=k) > 0
    return np.where(filled[:, None], means, texts)


def blend(texts: Floats, visual: Floats, *, text_weight: float) -> Floats:
    """Pull each prototype from its words toward its pictures: unit(w T + (1 - w) V), (K, D)."""
    return unit(text_weight * texts.astype(np.float64) + (1 - text_weight) * visual)
