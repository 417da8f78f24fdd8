"""Two ways through the trees of a plan, equal to the bit; which is faster depends on the trees and on how many rows.

`Steps` moves all rows through all trees at once, one level at a time. `Masks` never walks: each state of a column rules
out some leaves of every tree, known beforehand as bits; what all columns leave over, its first bit, is the leaf. Both
add the leaves tree after tree, as the originals do, because floating-point sums depend on their order.

Source for the masks: Lucchese et al. 2015, "QuickScorer: a fast algorithm to rank documents with additive ensembles
of regression trees"; here the comparisons are gone too, since a state has made them all.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.tree_plan import Arithmetic, Trees

__all__ = ["Masks", "Steps", "Walk", "leaf_sums"]

_States = NDArray[np.intp]
_Floats = NDArray[np.float64]
#: Rows times trees that are moved at once: the arrays of a step stay in the processor's cache.
_AT_ONCE = 16_384
#: Bits of a mask, and the most cells (states times trees) that masks may fill: 8 bytes each.
_MOST_LEAVES = 63
_MOST_CELLS = 4_000_000


class Walk(Protocol):
    """A way from states to leaves."""

    def leaves(self, states: _States) -> _Floats:
        """Return the leaf of each tree for each row, (n, n_trees, width), of the states (n, n_columns)."""

    def leaves_of_one(self, states: Sequence[int]) -> _Floats:
        """Return the leaf of each tree, (n_trees, width), for the states of one row."""


def leaf_sums(leaves: _Floats, outputs: int, by: Arithmetic = "numpy") -> _Floats:
    """Add the leaves (n, n_trees, width) tree after tree to the sums (n, outputs), in float32 where the original does.

    `cumsum` adds in order where `sum` adds by halves, and the last bit of a sum depends on it.
    """
    rows, trees, width = leaves.shape
    ordered = leaves.reshape(rows, trees * width // outputs, outputs)
    if by == "float32":
        return np.cumsum(ordered.astype(np.float32), axis=1)[:, -1].astype(np.float64)
    sums: _Floats = np.cumsum(ordered, axis=1)[:, -1]
    return sums


class Steps:
    """Level by level: for each row and tree the node it has reached."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        places = np.arange(len(trees.lefts))
        inner = trees.lefts != 0
        # a leaf leads to itself: whatever its rank, no state has a higher one than its cut
        self._next = np.where(inner, trees.lefts, places)
        self._cuts = np.where(inner, trees.cuts, np.iinfo(np.intp).max)
        self._lenses = np.where(inner, trees.lenses, 0)
        self._values = trees.leaves[np.where(inner, 0, trees.cuts)]
        self._roots = np.arange(trees.n_trees)

    def leaves(self, states: _States) -> _Floats:
        """See `Walk.leaves`."""
        rows, trees = len(states), self._trees.n_trees
        found = np.empty((rows, trees, self._values.shape[1]))
        at_once = max(1, _AT_ONCE // trees)
        for at in range(0, rows, at_once):
            found[at : at + at_once] = self._values.take(self._reached(states[at : at + at_once]), axis=0)
        return found

    def leaves_of_one(self, states: Sequence[int]) -> _Floats:
        """See `Walk.leaves_of_one`."""
        row = np.array(states, dtype=np.intp)
        trees = self._trees
        node = self._roots
        if len(trees.owners):
            ranks = trees.ranks.take(trees.starts + row.take(trees.owners))
            for _ in range(trees.depth):
                goes_right = ranks.take(self._lenses.take(node)) > self._cuts.take(node)
                node = self._next.take(node)
                node += goes_right
        return self._values.take(node, axis=0)

    def _reached(self, states: _States) -> _States:
        trees = self._trees
        rows, lenses = len(states), len(trees.owners)
        node = np.tile(self._roots, rows)
        if lenses:
            ranks = trees.ranks.take(states.take(trees.owners, axis=1) + trees.starts).ravel()
            first = np.repeat(np.arange(rows) * lenses, trees.n_trees)
            for _ in range(trees.depth):
                lens = self._lenses.take(node)
                lens += first
                goes_right = ranks.take(lens) > self._cuts.take(node)
                node = self._next.take(node)
                node += goes_right
        return node.reshape(rows, trees.n_trees)


class Masks:
    """Bits of leaves: for each column and state, which leaves of each tree it leaves possible."""

    def __init__(self, trees: Trees, n_states: Sequence[int]) -> None:
        """`n_states` are the states of each column. Use `fit` first."""
        order, spans = _leaf_order(trees)
        most = max(len(each) for each in order)
        # bits of a leaf as the exponent of a float: the one instruction NumPy has for the place of a bit
        self._small = most <= 31
        integer: Any = np.int32 if self._small else np.int64
        self._float: Any = np.float32 if self._small else np.float64
        self._integer = integer
        self._shift, bias = (23, 127) if self._small else (52, 1023)
        self._first = (np.arange(trees.n_trees) * most - bias).astype(integer)
        self._values = np.zeros((trees.n_trees * most, trees.leaves.shape[1]))
        full = np.empty(trees.n_trees, dtype=integer)
        for tree, leaves in enumerate(order):
            self._values[tree * most : tree * most + len(leaves)] = trees.leaves[trees.cuts[leaves]]
            full[tree] = (1 << len(leaves)) - 1
        self._full = full
        self._used = sorted(set(trees.owners[trees.lenses[trees.lefts != 0]].tolist()))
        tables = {column: np.full((n_states[column], trees.n_trees), -1, dtype=integer) for column in self._used}
        for node, (tree, first, last) in spans.items():
            lens = trees.lenses[node]
            column, start = trees.owners[lens], trees.starts[lens]
            right = trees.ranks[start : start + n_states[column]] > trees.cuts[node]
            tables[column][right, tree] &= integer(~(((1 << last) - 1) ^ ((1 << first) - 1)))
        self._tables = [(column, tables[column]) for column in self._used]

    @staticmethod
    def fit(trees: Trees, n_states: Sequence[int]) -> bool:
        """Tell whether these trees have few enough leaves, and columns few enough states, for masks."""
        used = set(trees.owners[trees.lenses[trees.lefts != 0]].tolist())
        if sum(n_states[column] for column in used) * trees.n_trees > _MOST_CELLS:
            return False
        return _most_leaves(trees) <= _MOST_LEAVES

    def leaves(self, states: _States) -> _Floats:
        """See `Walk.leaves`."""
        left: Any = self._full
        for column, table in self._tables:
            left = left & table.take(states[:, column], axis=0)
        if not self._tables:
            left = np.tile(left, (len(states), 1))
        return self._at(left)

    def leaves_of_one(self, states: Sequence[int]) -> _Floats:
        """See `Walk.leaves_of_one`."""
        left = self._full.copy()
        for column, table in self._tables:
            left &= table[states[column]]
        return self._at(left)

    def _at(self, left: NDArray[Any]) -> _Floats:
        left &= -left  # the first bit alone
        place = left.astype(self._float).view(self._integer)
        place >>= self._shift
        place += self._first
        found: _Floats = self._values.take(place, axis=0)
        return found


def _most_leaves(trees: Trees) -> int:
    """Return how many leaves the largest tree has."""
    found = np.zeros(trees.n_trees, dtype=np.intp)
    node = tree = np.arange(trees.n_trees)
    while node.size:
        inner = trees.lefts[node] != 0
        found += np.bincount(tree[~inner], minlength=trees.n_trees)
        left = trees.lefts[node[inner]]
        node, tree = np.concatenate([left, left + 1]), np.tile(tree[inner], 2)
    return int(found.max())


def _leaf_order(trees: Trees) -> tuple[list[list[int]], dict[int, tuple[int, int, int]]]:
    """Return the leaves of each tree from left to right, and for each inner node its tree and its left leaves' span."""
    order: list[list[int]] = []
    spans: dict[int, tuple[int, int, int]] = {}
    lefts = trees.lefts.tolist()
    for root in range(trees.n_trees):
        leaves: list[int] = []
        waiting: list[tuple[int, int]] = [(root, -1)]  # a node; or one whose left part, begun at a leaf, is done
        while waiting:
            node, begun = waiting.pop()
            if begun >= 0:
                spans[node] = (root, begun, len(leaves))
            elif lefts[node]:
                waiting += [(lefts[node] + 1, -1), (node, len(leaves)), (lefts[node], -1)]
            else:
                leaves.append(node)
        order.append(leaves)
    return order, spans
