"""Find clusters in a tree of groups, where each point stands for many images: HDBSCAN's second half, with sizes.

A tree is condensed by ignoring every split that sheds fewer images than a cluster needs; among the clusters that are
left, those with the greatest excess of mass are taken (Campello et al. 2013; McInnes et al. 2017).

M points, C clusters of the condensed tree, of which the first is everything. A level is 1 / distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from annotate.kernels.vectors import Doubles, Ints

NEAREST = 1e-12  # shorter distances count as this, so that a level is finite


@dataclass(frozen=True)
class Condensed:
    """The condensed tree.

    home     (M,) the last cluster that each point belonged to
    leaves   (M,) level at which it left that
    parent   (C,) the cluster that each cluster split from, -1 for the first
    born     (C,) level at which it did
    images   (C,) its images then
    """

    home: Ints
    leaves: Doubles
    parent: Ints
    born: Doubles
    images: Doubles


def level(distance: float) -> float:
    return 1 / max(distance, NEAREST)


def condense(tree: Doubles, sizes: Doubles, apart: Doubles, min_cluster_size: float) -> Condensed:
    """Leave out of the tree the splits that shed fewer images than a cluster needs.

    tree     (M - 1, 4) single linkage as scipy makes it
    sizes    (M,) images that each point stands for
    apart    (M,) distance at which those come apart, for a point that is large enough to be a cluster alone
    """
    m = len(sizes)
    left, right = tree[:, 0].astype(int).tolist(), tree[:, 1].astype(int).tolist()
    held = sizes.tolist()
    for a, b in zip(left, right, strict=True):
        held.append(held[a] + held[b])
    nodes = len(held)
    home, fell = [0] * nodes, [0.0] * nodes  # fell: the level at which a branch left its home; 0 while it has not
    parent, born, images = [-1], [0.0], [held[-1]]
    for node in range(nodes - 1, m - 1, -1):
        a, b = left[node - m], right[node - m]
        if fell[node]:
            home[a] = home[b] = home[node]
            fell[a] = fell[b] = fell[node]
            continue
        splits = level(tree[node - m, 2])
        both = min(held[a], held[b]) >= min_cluster_size
        for branch in (a, b):
            home[branch] = home[node]
            if both:
                home[branch] = len(parent)
                parent.append(home[node])
                born.append(splits)
                images.append(held[branch])
            elif held[branch] < min_cluster_size:
                fell[branch] = splits
    leaves = [fell[i] or level(apart[i]) for i in range(m)]
    return Condensed(np.array(home[:m]), np.array(leaves), np.array(parent), np.array(born), np.array(images))


def most_stable(tree: Condensed, sizes: Doubles) -> Ints:
    """The cluster of each point, (M,), a number of the condensed tree; -1 is noise. Everything is never a cluster.

    stability = Σ over a cluster's images of (level at which it leaves - level at which the cluster was born)

    A cluster is taken where it is at least as stable as all that is taken below it.
    """
    count = len(tree.parent)
    stability = np.bincount(tree.home, sizes * (tree.leaves - tree.born[tree.home]), minlength=count)
    for c in range(1, count):
        stability[tree.parent[c]] += tree.images[c] * (tree.born[c] - tree.born[tree.parent[c]])
    below = np.zeros(count)
    stable = np.zeros(count, bool)
    for c in range(count - 1, 0, -1):
        stable[c] = stability[c] >= below[c]
        below[tree.parent[c]] += max(stability[c], below[c])
    taken = np.full(count, -1)
    for c in range(1, count):
        above = taken[tree.parent[c]]
        taken[c] = above if above >= 0 or not stable[c] else c
    return np.asarray(taken[tree.home], np.int64)


def densest(tree: Condensed) -> Doubles:
    """The highest level at which anything leaves each cluster, (C,)."""
    highest = np.zeros(len(tree.parent))
    np.maximum.at(highest, tree.home, tree.leaves)
    np.maximum.at(highest, tree.parent[1:], tree.born[1:])
    return highest
