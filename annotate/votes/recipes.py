"""Ways to spend votes to compare with: raw votes, and the original labeler's recipe with its parts.

The original labeler gives half of the images random soft labels, lays all images out by UMAP, asks in batches of five
about the images whose neighbours disagree most, and takes the neighbours' word for an image where enough of them agree
surely enough. An image that was asked about keeps its votes as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from annotate.errors import ComponentMissing, Hint
from annotate.kernels.neighbours import nearest_neighbours
from annotate.kernels.vectors import Doubles, Floats, Ints
from annotate.kernels.votes import entropy
from annotate.votes.oracle import Oracle
from annotate.votes.spending import Material, Step

BATCH = 5  # images asked about at a time
NEIGHBOURS = 15
SURE = 0.90  # a neighbour's largest share from which it has a say in the consensus
CONSENSUS = 0.75  # of such neighbours' mean share, for their word to be taken
PLANE = 2  # dimensions of UMAP
TOLD_EVERY = 0.05  # votes an image
MUCH = 1e3  # more than any entropy


@dataclass(frozen=True)
class Recipe:
    """Which parts of the original a run has.

    random_half  half of the images begin with a random soft label
    umap         neighbours are those on UMAP's plane, else those of the embeddings
    by_entropy   images are asked about by the entropy of what their neighbours say, else at random
    consensus    neighbours are asked for the label of an image that has none, else it stays uniform
    """

    random_half: bool = True
    umap: bool = True
    by_entropy: bool = True
    consensus: bool = True


RECIPES = {
    "original": Recipe(),
    "norandom": Recipe(random_half=False),
    "noumap": Recipe(umap=False),
    "entropy": Recipe(random_half=False, umap=False, consensus=False),
    "consensus": Recipe(random_half=False, umap=False, by_entropy=False),
    "randomhalf": Recipe(umap=False, by_entropy=False, consensus=False),
    "votes": Recipe(random_half=False, umap=False, by_entropy=False, consensus=False),
}


def follow(recipe: Recipe, material: Material, oracle: Oracle, budget: int) -> Iterator[Step]:
    """Spend `budget` votes by a recipe; yield the labels now and then, and in the end."""
    n, k = len(material.embeddings), material.classes
    rng = np.random.default_rng(material.seed)
    near = neighbours(recipe, material) if recipe.by_entropy or recipe.consensus else np.empty((n, 0), np.int64)
    votes, shares, labelled = np.zeros((n, k)), np.full((n, k), 1 / k), np.zeros(n, np.bool_)
    if recipe.random_half:
        half = rng.permutation(n)[: n // 2]
        shares[half], labelled[half] = rng.dirichlet(np.ones(k), len(half)), True
    every, told, spent = max(1, int(TOLD_EVERY * n)), 0, 0
    order = rng.permutation(material.asked)
    doubt = Doubt(near, shares, labelled)
    while True:
        if spent >= told or spent >= budget:
            yield Step(finished(recipe, near, shares, labelled), votes.sum(axis=1).astype(np.int64))
            told += every
        if spent >= budget:
            return
        count = min(BATCH, budget - spent)
        if recipe.by_entropy:
            worth = doubt.entropies - MUCH * votes.sum(axis=1)  # each once before any twice
            chosen = material.asked[np.argsort(-worth[material.asked], kind="stable")[:count]]
        else:
            chosen = order[np.arange(spent, spent + count) % len(order)]
        np.add.at(votes, (chosen, oracle.ask(chosen)), 1)
        shares[chosen] = votes[chosen] / votes[chosen].sum(axis=1, keepdims=True)
        labelled[chosen] = True
        spent += count
        changed = [chosen]
        if recipe.consensus:
            agreed = agreeing(near[chosen], shares, labelled)
            taken = np.unique(near[chosen][agreed])
            taken = taken[~labelled[taken]]
            said = around(near[taken], shares, labelled)
            sure = said.max(axis=1) >= CONSENSUS
            shares[taken[sure]], labelled[taken[sure]] = said[sure], True
            changed.append(taken[sure])
        if recipe.by_entropy:
            doubt.look_again(np.concatenate(changed), shares, labelled)


class Doubt:
    """How far the neighbours of each image disagree, kept up to date where a label has changed.

    entropies  (N,)
    """

    def __init__(self, near: Ints, shares: Doubles, labelled: np.ndarray) -> None:
        from scipy.sparse import csr_matrix

        n, m = near.shape
        self.near = near
        beside = (np.ones(n * m, np.bool_), (near.ravel(), np.repeat(np.arange(n), m)))
        self.beside = csr_matrix(beside, shape=(n, n))
        self.entropies = entropy(around(near, shares, labelled)) if m else np.zeros(n)

    def look_again(self, changed: Ints, shares: Doubles, labelled: np.ndarray) -> None:
        rows = np.unique(self.beside[changed].indices)
        self.entropies[rows] = entropy(around(self.near[rows], shares, labelled))


def neighbours(recipe: Recipe, material: Material) -> Ints:
    """The nearest images of each, (N, M)."""
    places = material.embeddings
    if recipe.umap:
        from sklearn.neighbors import NearestNeighbors

        plane = umap_plane(material.embeddings, material.seed)
        found = NearestNeighbors(n_neighbors=min(NEIGHBOURS + 1, len(plane))).fit(plane).kneighbors(plane)[1]
        return np.asarray(found[:, 1:], np.int64)
    return nearest_neighbours(places, NEIGHBOURS)[0].astype(np.int64)


def umap_plane(embeddings: Floats, seed: int) -> Floats:
    """Places on UMAP's plane, (N, 2).

    raises  ComponentMissing where the extra `umap` is not installed
    """
    import warnings

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its compiler
            from umap import UMAP
    except ImportError as error:
        raise ComponentMissing(
            "the original recipe needs UMAP, which is not installed",
            hint=Hint(
                "install annotate-images[umap], or choose another method",
                "run `pip install 'annotate-images[umap]'`, or choose another method",
            ),
        ) from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one seed means one thread, and it says so
        count = min(NEIGHBOURS, len(embeddings) - 1)
        model = UMAP(n_components=PLANE, n_neighbors=count, metric="cosine", random_state=seed)
        return np.asarray(model.fit_transform(embeddings), np.float32)


def around(near: Ints, shares: Doubles, labelled: np.ndarray) -> Doubles:
    """The mean label of each image's labelled neighbours, (n, K); uniform where none of them is."""
    counted = labelled[near]
    total = counted.sum(axis=1, keepdims=True)
    mean = np.einsum("nm,nmk->nk", counted, shares[near]) / np.maximum(total, 1)
    return np.asarray(np.where(total > 0, mean, 1 / shares.shape[1]))


def agreeing(near: Ints, shares: Doubles, labelled: np.ndarray) -> np.ndarray:
    """Which neighbours are without a label beside one that is sure, (n, M)."""
    sure = labelled[near] & (shares[near].max(axis=2) >= SURE)
    return np.asarray(~labelled[near] & sure.any(axis=1, keepdims=True))


def finished(recipe: Recipe, near: Ints, shares: Doubles, labelled: np.ndarray) -> Doubles:
    """A label for every image: its own, else what its neighbours say, else all classes alike."""
    if not recipe.consensus:
        return shares.copy()
    return np.where(labelled[:, None], shares, around(near, shares, labelled))
