"""What people's answers teach transduction: a linear model drawn to the words takes the words' place (taught.py).

The answered images bear their answers in every pass.

    ℓ_ik     the taught model's logits, for s x_i·t_k
    h_k    = r_k (q_k - Σ_c r_c q_c / Σ_c r_c)      q_k = Σ_c r_c mean_{i in c} ℓ_ik / Σ_c r_c
                                                    hubs, as of the words (transduction.py), r_k = n_k / (n_k + α)

N images, M answers, A answered images (copies among them), K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annotate.kernels.blocks import single
from annotate.kernels.taught import Taught, Teaching, teach
from annotate.kernels.vectors import Doubles, Floats, Ints, Rows

FIXED = np.float32(-60)  # logit of a class that somebody has ruled out

Similarity = Callable[[slice], Floats]


@dataclass(frozen=True)
class Answers:
    """The classes that people gave images.

    classes  (N,) -1 where nobody did
    first    (N,) the first image of the same bytes: copies count once
    """

    classes: Ints
    first: Ints

    @property
    def images(self) -> Ints:
        """(A,) all that are answered, in order."""
        return np.flatnonzero(self.classes >= 0)

    @property
    def distinct(self) -> Ints:
        """(M,) of copies the first that is answered."""
        images = self.images
        return images[np.unique(self.first[images], return_index=True)[1]]


@dataclass(frozen=True)
class Lesson:
    """What the answers taught.

    model    of all answers
    answers  the same
    """

    model: Taught
    answers: Answers
    logit_scale: float

    @staticmethod
    def of(embeddings: Rows, texts: Floats, answers: Answers, logit_scale: float) -> Lesson:
        rows = answers.distinct
        targets = np.eye(len(texts))[answers.classes[rows]]
        model = teach(Teaching.of(embeddings, texts, logit_scale), single(embeddings[rows]), targets)
        return Lesson(model, answers, logit_scale)

    def words(self, embeddings: Rows) -> Floats:
        """ℓ / s of some images: it stands for their cosines to the words."""
        logits = self.model(embeddings)
        logits /= np.float32(self.logit_scale)
        return logits

    def kept(self, similarity: Similarity) -> Similarity:
        """The same with every answered image sure of its answer."""

        def sure(rows: slice) -> Floats:
            here, said = similarity(rows), self.answers.classes[rows]
            images = np.flatnonzero(said >= 0)
            if len(images):
                here = here.copy()
                here[images] = FIXED / np.float32(self.logit_scale)
                here[images, said[images]] = 0
            return here

        return sure

    def hubness(self, logits: Floats, chances: Floats, counts: Doubles, anchor: float) -> Doubles:
        """How much nearer a class is to the images of all classes than others are: h, (K,), by a sample.

        logits, chances  (S, K) ℓ and z of the sample
        counts           (K,) n of all images
        """
        present = counts / (counts + anchor)
        of_class = chances.sum(axis=0, dtype=np.float64)
        weights = present / np.maximum(of_class, 1e-9)
        weights[of_class < 1e-6] = 0
        total = float(present[of_class >= 1e-6].sum())
        if total <= 0:
            return np.zeros(len(counts))
        near = (chances.astype(np.float64) @ weights) @ logits / total
        return np.asarray(present * (near - present @ near / present.sum()))
