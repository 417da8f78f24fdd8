"""Rows beside every threshold of a tree plan: where a form that compares in another way first goes another way.

For each node a row that reaches it is looked for among validation rows, and its column is set to the last value that
goes one way, the first that goes the other, and the one behind that.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.tree_plan import NumberStates, TreePlan, Trees, cuts_of
from mainspring.domain.signature import Signature

__all__ = ["threshold_rows"]

Columns = Mapping[str, NDArray[Any]]
_MOST_NODES = 60_000
#: Rows times columns of what is returned.
_MOST_CELLS = 20_000_000
_MOST_ROWS = 2000


def threshold_rows(
    signature: Signature, plan: TreePlan, trees: Trees, states: NDArray[np.intp], sample: Columns
) -> dict[str, NDArray[Any]]:
    """Return three rows for each node that compares a number, of at most 60,000 nodes evenly spread, fewer if wide.

    `states` are those of the rows of `sample`, (n, n_columns); without rows there are none to return.
    """
    rows = len(states)
    if not rows:
        return {name: sample[name] for name in signature.names}
    reached = _reached(trees, states[:_MOST_ROWS])
    nodes, columns, values = _boundaries(plan, trees)
    most = min(len(nodes), _MOST_NODES, _MOST_CELLS // (3 * len(signature.columns)))
    chosen = np.unique(np.linspace(0, len(nodes) - 1, most).astype(np.intp))
    nodes, columns, values = nodes[chosen], columns[chosen], values[chosen]
    beneath = np.where(reached[nodes] >= 0, reached[nodes], nodes % rows)
    table = {name: np.repeat(sample[name][beneath], 3) for name in signature.names}
    for at, column in enumerate(signature.columns):
        mine = np.flatnonzero(columns == at)
        if not mine.size:
            continue
        first = values[mine]
        if column.type == "number":
            below, behind = np.nextafter(first, -np.inf), np.nextafter(first, np.inf)
        else:
            below, behind = first - 1, first + (1 if column.type == "integer" else 0)
        states_of = plan.columns[at]
        assert isinstance(states_of, NumberStates)  # only numbers have boundaries
        for place, each in enumerate((below, first, behind)):
            # what the original refuses is no row to compare
            table[column.name][3 * mine + place] = np.clip(each, states_of.low, states_of.high)
    return table


def _reached(trees: Trees, states: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return for each node a row that comes through it, or -1."""
    reached = np.full(len(trees.lefts), -1, dtype=np.intp)
    rows = np.repeat(np.arange(len(states)), trees.n_trees)
    node = np.tile(np.arange(trees.n_trees), len(states))
    while node.size:
        reached[node] = rows
        inner = trees.lefts[node] != 0
        node, rows = node[inner], rows[inner]
        lens = trees.lenses[node]
        ranks = trees.ranks[trees.starts[lens] + states[rows, trees.owners[lens]]]
        node = trees.lefts[node] + (ranks > trees.cuts[node])
    return reached


def _boundaries(plan: TreePlan, trees: Trees) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]:
    """Return the nodes that compare a number, its column, and the first value behind the threshold, each thrice."""
    nodes: list[NDArray[np.intp]] = []
    columns: list[NDArray[np.intp]] = []
    values: list[NDArray[np.float64]] = []
    inner = np.flatnonzero(trees.lefts)
    by_lens = inner[np.argsort(trees.lenses[inner], kind="stable")]
    ends = np.searchsorted(trees.lenses[by_lens], np.arange(len(trees.owners) + 1))
    for lens, owner in enumerate(trees.owners.tolist()):
        mine, states = by_lens[ends[lens] : ends[lens + 1]], plan.columns[owner]
        if not isinstance(states, NumberStates) or not mine.size:
            continue
        cuts = cuts_of(states)
        ranks = trees.ranks[trees.starts[lens] : trees.starts[lens] + len(cuts) + 1]
        for at in np.flatnonzero(np.diff(ranks)).tolist():
            low, high = sorted((ranks[at], ranks[at + 1]))
            here = mine[(trees.cuts[mine] >= low) & (trees.cuts[mine] < high)]
            nodes.append(here)
            columns.append(np.full(len(here), owner, dtype=np.intp))
            values.append(np.full(len(here), cuts[at]))
    if not nodes:
        return np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0)
    return np.concatenate(nodes), np.concatenate(columns), np.concatenate(values)
