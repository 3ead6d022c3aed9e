"""Find groups of images that look alike and fit none of the class names: something that the user did not name.

A group fits its name when the words, moved to where the images lie, point to the group:

    fit_g  = cos(m_g, a_k) / typical        m_g the mean of the group's images, a_k the anchor of its label
                                            (transduction): both from the centre, in the metric of the images; |m_g|²
                                            without the noise of few images; typical is the median over the classes
    vote_g = max_c mean_i y_ic / typical    y the zero-shot probabilities: the share of the leading name
    pair_g = the same of the two leading names together

The candidates are the parts of each label: its images are cut in two (2-means on images averaged with their
neighbours, begun from those that fit the name worse and better) for as long as the graph hardly crosses the cut.
A part fits none of the names when fit and vote are both low, its neighbours are in it too, and another part of the same
label fits well; where no part of a label fits, its name is poor, and the images are not to blame. A part that two names
share between them as a typical class has one is torn between these two, and does not lack a name. Thresholds, PAIR and
INSIDE excepted, were chosen on 277 cases of real embeddings (docs/refinement.md says what they find and miss); false
alarms are rarer than misses by intent.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import products, single
from annotate.kernels.joint_images import image_metric
from annotate.kernels.transduction import anchors
from annotate.kernels.vectors import Floats, Ints, Rows, group_sums
from annotate.kernels.zeroshot import probabilities

SMALLEST_GROUP = 5  # images; fewer that look alike are a coincidence
ROUNDS = 3  # of averaging with neighbours, before a cut
CLEAN = 0.3  # of the smaller side's edges may cross a cut
FIT, VOTE = 0.4, 0.75  # of a typical class's; a group below both fits no name
PAIR = 0.9  # of a typical class's vote; a group of which two names together have more is torn between them
CORE = 0.6  # of a typical class's fit, reached by the part of a label that its name is for
ALONE_FIT, ALONE_VOTE = 0.12, 0.4  # below both, where no part of a label fits its name
INSIDE = 0.8  # of a group's edges that stay in it
TOUCHING = 0.15  # of the smaller group's edges; two groups joined by more are one
SHORTEST = 0.6  # of the median anchor; a shorter one points nowhere
LEAST_LENGTH = 0.02  # of the images' mean squared length, for |m_g|²


@dataclass(frozen=True)
class Unfit:
    """Images that look alike and fit none of the names.

    rows    images, ascending
    label   the class that most of them were given
    fit     to its name, in units of a typical class: 1 is typical, 0 unrelated
    vote    share of the leading name among the words' votes, in units of a typical class
    inside  share of their neighbours that are in the group
    """

    rows: Ints
    label: int
    fit: float
    vote: float
    inside: float


def unfit_groups(embeddings: Rows, texts: Floats, labels: Ints, graph: Any, *, logit_scale: float) -> list[Unfit]:
    """Groups of images that fit none of the names, the least fitting first.

    embeddings   (N, D) float16 or float32 unit rows
    texts        (K, D) float32 unit rows
    labels       (N,) of any method
    graph        (N, N) sparse, of `neighbour_graph`
    logit_scale  s of the model
    """
    view = LabelsAndNames(embeddings, texts, labels, logit_scale)
    softened = view.x
    for _ in range(ROUNDS):
        softened = (softened + graph @ softened) / 2
    groups = join_touching(
        graph, [rows for k in view.classes_with_direction() for rows in misfits(view, softened, graph, k)]
    )
    found = [view.describe(rows, graph) for rows in groups if not view.torn(rows)]
    return sorted((g for g in found if g.fit < FIT and g.vote < VOTE and g.inside >= INSIDE), key=lambda g: g.fit)


class LabelsAndNames:
    """Images and words in one metric, and how a typical class fits its name."""

    def __init__(self, embeddings: Rows, texts: Floats, labels: Ints, logit_scale: float) -> None:
        metric = image_metric(embeddings)
        k = len(texts)
        self.labels = labels
        self.x = metric.seen(embeddings)
        self.counts = np.bincount(labels, minlength=k)
        sums = group_sums(self.x, labels, k)
        moved = anchors(texts.astype(np.float64) @ metric.map, self.counts.astype(np.float64), sums)
        self.reach = np.linalg.norm(moved, axis=1)
        self.towards: Floats = (moved / np.maximum(self.reach, 1e-12)[:, None]).astype(np.float32)
        self.squares = np.einsum("ij,ij->i", self.x, self.x, dtype=np.float64)
        self.votes = probabilities(products(single(embeddings), texts), 1 / logit_scale)
        classes = [np.flatnonzero(labels == c) for c in np.flatnonzero(self.counts >= SMALLEST_GROUP)]
        self.typical_fit = max(float(np.median([self.cosine(r, int(labels[r[0]])) for r in classes] or [1.0])), 1e-6)
        self.typical_vote = float(np.median([self.lead(r) for r in classes] or [1.0]))

    def classes_with_direction(self) -> list[int]:
        """Classes with enough images, and with an anchor long enough to say where they should lie."""
        far = self.reach >= SHORTEST * np.median(self.reach)
        return np.flatnonzero(far & (self.counts >= SMALLEST_GROUP)).tolist()

    def cosine(self, rows: Ints, k: int) -> float:
        """How well images fit a name: cos(m_g, a_k), with |m_g|² as the mean product of two different images."""
        n = len(rows)
        total = self.x[rows].sum(axis=0, dtype=np.float64)
        length = (total @ total - self.squares[rows].sum()) / (n * (n - 1))
        return float(total @ self.towards[k] / n / np.sqrt(max(length, LEAST_LENGTH * self.squares.mean(), 1e-12)))

    def lead(self, rows: Ints, names: int = 1) -> float:
        """The share of the leading names together."""
        return float(np.sort(self.votes[rows].mean(axis=0, dtype=np.float64))[-names:].sum())

    def torn(self, rows: Ints) -> bool:
        """Whether two names share these images between them; of two names in all nobody can tell."""
        return len(self.counts) > 2 and self.lead(rows, 2) >= PAIR * self.typical_vote

    def measure(self, rows: Ints, k: int) -> tuple[float, float]:
        return self.cosine(rows, k) / self.typical_fit, self.lead(rows) / self.typical_vote

    def describe(self, rows: Ints, graph: Any) -> Unfit:
        k = int(np.bincount(self.labels[rows]).argmax())
        return Unfit(np.sort(rows), k, *self.measure(rows, k), float(graph[rows][:, rows].sum()) / len(rows))


def misfits(view: LabelsAndNames, softened: Floats, graph: Any, k: int) -> list[Ints]:
    """The parts of class k that its name does not describe."""
    own = np.flatnonzero(view.labels == k)
    fit = softened[own] @ view.towards[k] / np.maximum(np.linalg.norm(softened[own], axis=1), 1e-12)
    if (fit < FIT * view.typical_fit).sum() < SMALLEST_GROUP:  # a group fits no worse than its images do
        return []
    pieces = [rows for rows in parts(softened, fit, graph, own) if len(rows) >= SMALLEST_GROUP]
    measures = [view.measure(rows, k) for rows in pieces]
    if max(fit for fit, _ in measures) >= CORE:
        return [rows for rows, (fit, vote) in zip(pieces, measures, strict=True) if fit < FIT and vote < VOTE]
    fit_of_all, vote_of_all = view.measure(own, k)
    return [own] if fit_of_all < ALONE_FIT and vote_of_all < ALONE_VOTE else []


def parts(softened: Floats, fit: Floats, graph: Any, rows: Ints) -> list[Ints]:
    """Rows cut in two, and again, for as long as the graph hardly crosses the cut.

    fit  (n,) of these rows to their name: where a cut begins
    """
    first = fit < np.median(fit)
    side = halves(softened[rows], first)
    small = min(int(side.sum()), int((~side).sum()))
    if small < SMALLEST_GROUP or graph[rows[side]][:, rows[~side]].sum() > CLEAN * small:
        return [rows]
    return [piece for s in (side, ~side) for piece in parts(softened, fit[s], graph, rows[s])]


def halves(points: Floats, side: npt.NDArray[np.bool_], steps: int = 10) -> npt.NDArray[np.bool_]:
    """2-means from the sides given; the sides as they were once one is empty."""
    for _ in range(steps):
        if side.all() or not side.any():
            return side
        one, other = points[side].mean(axis=0), points[~side].mean(axis=0)
        moved = (points - (one + other) / 2) @ (one - other) > 0
        if (moved == side).all():
            break
        side = moved
    return side


def join_touching(graph: Any, groups: list[Ints]) -> list[Ints]:
    """The groups, those that touch as one."""
    if len(groups) < 2:
        return groups
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    sizes = np.array([len(rows) for rows in groups])
    shape = (len(groups), graph.shape[0])
    places = np.repeat(np.arange(len(groups)), sizes), np.concatenate(groups)
    member = csr_array((np.ones(sizes.sum()), places), shape)
    between = (member @ graph @ member.T).toarray()
    of = connected_components(between > TOUCHING * np.minimum.outer(sizes, sizes), directed=False)[1]
    return [np.concatenate([groups[g] for g in np.flatnonzero(of == j)]) for j in range(int(of.max()) + 1)]
