"""Which images to ask about: ten ways to choose, each an order of images by how much an answer is worth.

No image of a batch is nearly another one of it, or an answered one. A tenth of a batch is drawn at random from all
that is not answered: how right the labels are on these is how right they are everywhere.

N images, K classes, D dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annotate.kernels.blocks import BLOCK, across, products, single, slices
from annotate.kernels.coverage import clusters, cover, k_center, typical
from annotate.kernels.herding import FIRST_WIDTH, herd, width
from annotate.kernels.vectors import Doubles, Floats, Ints, Rows, unit

AT_RANDOM = 0.10  # of a batch
ALIKE = 0.97  # cosine, from the images' mean, at which two images are nearly one
SPARE = 3  # times the budget that a strategy names, so that enough are left without near-duplicates
AUTO, RANDOM = "auto", "random"


@dataclass(frozen=True)
class Pool:
    """What is known of the images before a batch is chosen.

    images    (N, D) float32 unit rows, from their mean
    labels    (N,) the refined label of each
    first     (N,) probability of the label, before any answer of its own
    second    (N,) of the class that comes next
    spread    (N,) entropy of all classes
    answered  (N,) whether somebody has said what it is
    """

    images: Floats
    labels: Ints
    first: Doubles
    second: Doubles
    spread: Doubles
    answered: np.ndarray

    @property
    def free(self) -> Ints:
        return np.flatnonzero(~self.answered)

    @property
    def known(self) -> Ints:
        return np.flatnonzero(self.answered)

    @property
    def margin(self) -> Doubles:
        return self.first - self.second


@dataclass(frozen=True)
class Batch:
    """Images to ask about.

    rows    (B,) in the order in which they are asked
    random  (B,) whether each was drawn at random from all that is not answered
    """

    rows: Ints
    random: np.ndarray


def centred(embeddings: Rows) -> Floats:
    """Images from their mean, (N, D) float32 unit rows."""
    n = len(embeddings)

    def total(rows: slice) -> Doubles:
        return np.asarray(single(embeddings[rows]).sum(axis=0, dtype=np.float64))

    mean = (sum(across(total, slices(n, BLOCK)), np.zeros(embeddings.shape[1])) / n).astype(np.float32)
    return np.concatenate([*across(lambda rows: unit(single(embeddings[rows]) - mean), slices(n, BLOCK))])


def choose(pool: Pool, strategy: str, count: int, seed: int = 0, at_random: float = AT_RANDOM) -> Batch:
    """A batch of `count` images, or of all that are not answered where these are fewer."""
    rng = np.random.default_rng(seed)
    count = min(count, len(pool.free))
    drawn = rng.permutation(pool.free)[: round(at_random * count)] if strategy != RANDOM else pool.free[:0]
    most = min(SPARE * count + len(drawn), len(pool.free))
    named = STRATEGIES[strategy](pool, most, rng)[:most]
    named = named[~np.isin(named, drawn)]
    rows = np.concatenate([drawn, apart(pool, drawn, named, count - len(drawn))])
    random = np.isin(rows, drawn) if strategy != RANDOM else np.ones(len(rows), np.bool_)
    order = rng.permutation(len(rows))  # so that nobody can tell by the place which were drawn
    return Batch(rows[order], random[order])


def apart(pool: Pool, drawn: Ints, named: Ints, count: int) -> Ints:
    """The first of the named that are nearly none of those before, of the drawn or of the answered.

    Where too few are left, the others follow in their order.
    """
    beside = pool.images[np.concatenate([pool.known, drawn])]
    near = np.zeros(len(named), np.bool_)
    for rows in slices(len(beside), 4096):
        near |= (products(pool.images[named], beside[rows]) > ALIKE).any(axis=1)
    taken: list[int] = []
    for place in np.flatnonzero(~near).tolist():
        if len(taken) == count:
            break
        mine = pool.images[named[place]]
        if not taken or float((pool.images[named[taken]] @ mine).max()) <= ALIKE:
            taken.append(place)
    left = np.setdiff1d(np.arange(len(named)), taken)[: count - len(taken)]
    chosen = named[np.array([*taken, *left.tolist()], np.int64)]
    if len(chosen) < count:  # the strategy named no more
        others = np.setdiff1d(pool.free, np.concatenate([chosen, drawn]))
        chosen = np.concatenate([chosen, others[: count - len(chosen)]])
    return chosen


# -- the strategies: at least `count` images, the most worth asking first --------------------------------

Strategy = Callable[[Pool, int, np.random.Generator], Ints]


def by_chance(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    return rng.permutation(pool.free)


def by_entropy(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """The largest entropy of the refined probabilities first."""
    return pool.free[np.argsort(-pool.spread[pool.free], kind="stable")]


def by_margin(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """The smallest gap between the likeliest two classes first."""
    return pool.free[np.argsort(pool.margin[pool.free], kind="stable")]


def by_distance(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    return k_center(pool.images, pool.known, count)


def by_clusters(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    return clusters(pool.images, pool.known, count)


def by_typicality(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    return typical(pool.images, pool.known, count)


def by_cover(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    return cover(pool.images, pool.labels, pool.known, count)


def by_gradient(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """BADGE (Ash et al. 2020): k-means++ on what an answer could teach the last layer, (p - y) ⊗ x.

    Of a gradient the two largest parts count: 1 - p of the label, and p of the class that comes next.
    """
    free = pool.free
    size = np.sqrt((1 - pool.first[free]) ** 2 + pool.second[free] ** 2)
    x = pool.images[free] * size[:, None].astype(np.float32)
    labels, lengths = pool.labels[free], size**2
    share = (1 - pool.first[free]) / np.maximum(size, 1e-12)  # of a gradient that is its own label's
    chosen = [int(lengths.argmax())]
    nearest = np.full(len(free), np.inf)
    while len(chosen) < min(count, len(free)):
        last = chosen[-1]
        alike = np.where(labels == labels[last], share * share[last], 0)
        nearest = np.minimum(nearest, np.maximum(lengths + lengths[last] - 2 * alike * (x @ x[last]), 0))
        nearest[chosen] = 0
        total = nearest.sum()
        if not total > 0:
            break
        chosen.append(
            int(np.searchsorted(np.cumsum(nearest), rng.random() * total, side="right").clip(0, len(free) - 1))
        )
    return free[np.array(chosen, np.int64)]


def by_herding(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """MaxHerding: all images count alike, and σ is 1."""
    return herd(pool.images, np.ones(len(pool.images)), pool.known, pool.free, count, sigma=FIRST_WIDTH)


def by_herding_the_unsure(pool: Pool, count: int, rng: np.random.Generator) -> Ints:
    """UHerding on the refined posterior, with σ by the answers."""
    sigma = width(pool.images[pool.known])
    return herd(pool.images, 1 - pool.margin, pool.known, pool.free, count, sigma=sigma)


STRATEGIES: dict[str, Strategy] = {
    AUTO: by_herding_the_unsure,
    RANDOM: by_chance,
    "entropy": by_entropy,
    "margin": by_margin,
    "max-distance": by_distance,
    "clusters": by_clusters,
    "typical": by_typicality,
    "cover": by_cover,
    "badge": by_gradient,
    "herding": by_herding,
}


def share_right(right: int, of: int, deviations: float = 1.96) -> tuple[float, float, float]:
    """The share of right labels among some drawn at random, and Wilson's interval of 95 %."""
    if not of:
        return float("nan"), 0.0, 1.0
    p, z = right / of, deviations
    middle, scale = p + z**2 / (2 * of), 1 + z**2 / of
    half = z * float(np.sqrt(p * (1 - p) / of + z**2 / (4 * of**2)))
    return p, max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
