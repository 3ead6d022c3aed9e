"""Find images that fit none of the names: a background of common names explains them better.

    m_i = log Σ_w exp(s x_i·b_w) - log Σ_k exp(s x_i·t_k)       b the common names that are far from all of the user's
    q_i = σ( 0.8 m_i - 3.4 + log-odds(π) - log-odds(0.15) )      how likely the image is a stranger
    π   = Σ_i q_i / (N + 11)                                    share of strangers, by expectation-maximisation

Strangers are the largest set of the likeliest whose mean q is 0.85 or more, and of those only images with m of 5 or
more. 0.8 and 3.4 hold where about one image in seven is a stranger; where π is less, an image has to be stranger to be
called one, and where all fit none is called so. 11 are images that were seen to fit beforehand. What fits a name that
is a kind of the user's ("samoyed", asked for "dog") fits: such names count among t.

fit_i = σ(-m_i) is what a table shows: 1 for an image that a name explains, 0 for one that a common name explains.

N images, K classes, W common names, D dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from annotate.kernels.blocks import BLOCK, across, cached, products, single, slices
from annotate.kernels.vectors import Doubles, Floats, Ints, Rows

NEAREST = 0.85  # cosine; a common name that is nearer to one of the user's says the same, and is left out
SLOPE, OFFSET, FITTED_AT = 0.8, 3.4, 0.15  # of q, and the share of strangers where they were fitted
SEEN_TO_FIT = 11  # images, beforehand
SURE = 0.85  # mean q of those that are called strangers
LEAST = 5.0  # m of each of them
PASSES, SETTLED = 200, 1e-6  # of the search for π
TOLD = 5  # common names of an image, of which one may name its group
MOST_WORDS = 3  # that say what a group looks like


@dataclass(frozen=True)
class Explained:
    """How common names explain images.

    margins  m, (N,)
    likely   (N, 5) common names nearest to each image, the nearest first
    """

    margins: Floats
    likely: Ints

    @property
    def fit(self) -> Floats:
        """From 1 for an image that a name explains to 0 for one that a common name explains."""
        return (1 / (1 + np.exp(self.margins.astype(np.float64)))).astype(np.float32)


def other_than(common: Floats, texts: Floats) -> npt.NDArray[np.bool_]:
    """Which common names, (W,), mean something else than all of the user's names.

    common  (W, D) float32 unit rows
    texts   (K, D) float32 unit rows
    """
    other: npt.NDArray[np.bool_] = (common @ texts.T).max(axis=1) < NEAREST
    return other


def explained(embeddings: Rows, texts: Floats, common: Floats, *, logit_scale: float) -> Explained:
    """Whether the user's names or common ones explain each image better.

    embeddings   (N, D) float16 or float32 unit rows, in memory or mapped
    texts        (K, D) float32 unit rows, the user's names, and those that name a kind of these
    common       (W, D) float32 unit rows, of `other_than`
    logit_scale  s of the model
    """
    n, told, scale = len(embeddings), min(TOLD, len(common)), np.float32(logit_scale)

    def look(rows: slice) -> tuple[Floats, Ints]:
        images = single(embeddings[rows])
        others = scale * products(images, common)
        likely = np.argpartition(-others, told - 1, axis=1)[:, :told]
        order = np.argsort(-np.take_along_axis(others, likely, axis=1), axis=1, kind="stable")
        return (
            log_sum(others) - log_sum(scale * products(images, texts)),
            np.take_along_axis(likely, order, axis=1),
        )

    parts = [part for block in slices(n, BLOCK) for part in cached(block, len(common))]
    margins, likely = zip(*across(look, parts), strict=True)
    return Explained(np.concatenate(margins), np.concatenate(likely))


def log_sum(logits: Floats) -> Floats:
    """log Σ exp of each row."""
    most = logits.max(axis=1)
    summed: Floats = most + np.log(np.exp(logits - most[:, None]).sum(axis=1))
    return summed


def chance_strange(margins: Floats) -> tuple[Doubles, float]:
    """How likely each image is a stranger, q, (N,), and the share of strangers, π."""
    odds = SLOPE * margins.astype(np.float64) - OFFSET - log_odds(FITTED_AT)
    share, chances = 0.5, np.empty(0)
    for _ in range(PASSES):
        chances = 1 / (1 + np.exp(-np.clip(odds + log_odds(share), -500, 500)))
        before, share = share, max(float(chances.sum()) / (len(chances) + SEEN_TO_FIT), 1e-9)
        if abs(share - before) < SETTLED:
            break
    return chances, share


def log_odds(share: float) -> float:
    return float(np.log(share / (1 - share)))


def strange_rows(margins: Floats) -> Ints:
    """Images that fit none of the names, ascending."""
    chances, _ = chance_strange(margins)
    order = np.argsort(-chances, kind="stable")
    sure = np.cumsum(chances[order]) >= SURE * np.arange(1, len(order) + 1)
    count = int(np.flatnonzero(sure)[-1]) + 1 if sure.any() else 0
    called = order[:count]
    return np.sort(called[margins[called] >= LEAST])


def groups_by_look(likely: Ints) -> tuple[Ints, list[list[int]]]:
    """Strangers by what they look like: the group of each, (S,), and the common names of each group.

    A group is named by the common name that is the likeliest of most strangers that have no group yet; it takes in all
    of these that have the name among their likely ones. Groups are numbered from the largest; the other names of a
    group are those that its images share most.

    likely  (S, 5) common names, the likeliest first
    """
    groups = np.full(len(likely), -1, np.int64)
    first: list[int] = []
    while (groups < 0).any():
        free = np.flatnonzero(groups < 0)
        counts = np.bincount(likely[free].ravel())
        leading = np.bincount(likely[free, 0], minlength=len(counts))
        name = int(np.lexsort((-counts, -leading))[0])
        groups[free[(likely[free] == name).any(axis=1)]] = len(first)
        first.append(name)
    order = np.argsort(-np.bincount(groups, minlength=len(first)), kind="stable")
    groups = np.argsort(order)[groups]
    return groups, [words_of(likely[groups == g], first[old]) for g, old in enumerate(order.tolist())]


def words_of(likely: Ints, first: int) -> list[int]:
    """The name of a group, then those that at least half of its images share, the commonest first."""
    counts = np.bincount(likely.ravel())
    shared = [name for name in np.argsort(-counts, kind="stable").tolist() if 2 * counts[name] >= len(likely)]
    return [first, *(name for name in shared if name != first)][:MOST_WORDS]
