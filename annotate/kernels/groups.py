"""Which images belong together, from all that says so: a group is whatever any chain of such sayings joins."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from annotate.kernels.vectors import Ints


def joined(groupings: Sequence[Ints]) -> Ints:
    """The group of each row, (N,), numbered by their first rows: rows that share a number in any grouping are in one.

    groupings  (N,) each; -1 where one says nothing of a row
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n, heads, tails, size = len(groupings[0]), [], [], len(groupings[0])
    for grouping in groupings:  # a node for every row, then one for every group
        said = np.flatnonzero(grouping >= 0)
        _, numbers = np.unique(grouping[said], return_inverse=True)
        heads.append(said)
        tails.append(size + numbers)
        size += len(numbers) and int(numbers.max()) + 1
    edges = np.concatenate(heads), np.concatenate(tails)
    graph = coo_array((np.ones(len(edges[0]), np.int8), edges), shape=(size, size))
    return by_first_row(connected_components(graph, directed=False)[1][:n])


def by_first_row(groups: Ints) -> Ints:
    """The same groups, numbered from 0 in the order in which they first occur."""
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    number = np.empty(len(first), np.int64)
    number[np.argsort(first)] = np.arange(len(first))
    found: Ints = number[group]
    return found


def numbers_of(names: Sequence[str | None]) -> Ints:
    """A number for each name, the same for equal ones, (N,); -1 for None."""
    known: dict[str, int] = {}
    return np.array([-1 if name is None else known.setdefault(name, len(known)) for name in names], np.int64)
