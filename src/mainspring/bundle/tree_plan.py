"""A tree plan: the trees of a model as flat arrays over the states of its columns, which scores with NumPy alone.

A tree asks of a number only on which side of a threshold it lies, and of a text only which one it is. So a column has
finitely many *states*: the intervals between all thresholds that anything made of it is compared with, or its texts,
and missing. A *lens* is one way in which trees look at a column: it gives each state a rank, and a node sends a row to
the left where the rank is at most its cut. What lies between a row and its trees (imputing, scaling, encoding, a cast
to float32, the side on which a missing value goes) is folded into states and lenses when the plan is made;
`tree_folding` makes plans, `tree_walk` goes through the trees, `certificate` proves that nothing was lost.
"""

from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.errors import Corrupt

__all__ = [
    "TREES_NAME",
    "Arithmetic",
    "NumberStates",
    "Sums",
    "TextStates",
    "TreeLink",
    "TreePlan",
    "Trees",
    "tree_plan_from_bytes",
    "tree_plan_to_bytes",
]

TREES_NAME = "trees.msgpack"
#: How sums become scores.
TreeLink = Literal["identity", "logistic", "softmax", "exponential"]
#: Whose sums and exponentials are followed: NumPy's, the C library's value by value, or the C library's in float32.
Arithmetic = Literal["numpy", "c", "float32"]
_DEEPEST = 2000
_INTEGERS, _FLOATS = np.dtype("<i4"), np.dtype("<f8")


class NumberStates(msgspec.Struct, frozen=True, tag="number"):
    """The states of a number: how many of the sorted `cuts` it is not below; the last one is missing.

    The original refuses what lies outside `low` to `high` (it fits no float32), and missing values unless `missing`.
    """

    cuts: bytes
    low: float
    high: float
    missing: bool


class TextStates(msgspec.Struct, frozen=True, tag="text"):
    """The states of a text: its place in `texts`, then unseen, then missing, which is refused unless `missing`."""

    texts: tuple[str, ...]
    missing: bool


class Sums(msgspec.Struct, frozen=True):
    """How leaves become scores.

    A leaf holds `width` numbers: one, and then tree t adds to sum t modulo `outputs`, or one for each of the
    `outputs`. A sum is divided by `divisor`, multiplied by `slope`, and goes through the link. `by` is the arithmetic
    of the original, on which the last bit depends.
    """

    width: int
    outputs: int
    divisor: float
    slope: float
    link: TreeLink
    by: Arithmetic


class TreePlan(msgspec.Struct, frozen=True):
    """States for each column in the signature's order, the lenses, and the trees; arrays are little-endian bytes.

    `owners` holds the column of each lens (int32) and `ranks` the ranks of its states, lens after lens (int32). The
    first `n_trees` nodes are the roots. A node's `lefts` is the place of its left child, which the right one follows,
    or 0 in a leaf; `cuts` is the rank up to which a row goes left, and in a leaf its place in `leaves` (float64).
    """

    columns: tuple[NumberStates | TextStates, ...]
    owners: bytes
    ranks: bytes
    n_trees: int
    lenses: bytes
    cuts: bytes
    lefts: bytes
    leaves: bytes
    sums: Sums


@dataclass(frozen=True, slots=True, eq=False)
class Trees:
    """The arrays of a plan, checked. `starts` is where the ranks of each lens begin, `depth` the steps to any leaf."""

    n_trees: int
    owners: NDArray[np.intp]
    ranks: NDArray[np.intp]
    starts: NDArray[np.intp]
    lenses: NDArray[np.intp]
    cuts: NDArray[np.intp]
    lefts: NDArray[np.intp]
    leaves: NDArray[np.float64]
    depth: int
    sums: Sums


def tree_plan_to_bytes(plan: TreePlan) -> bytes:
    """Return a plan as MessagePack; equal plans give equal bytes."""
    return msgspec.msgpack.encode(plan, order="sorted")


def tree_plan_from_bytes(text: bytes, *, where: str) -> tuple[TreePlan, Trees]:
    """Read what `tree_plan_to_bytes` gave, and check that no walk through it leaves it or goes on for ever.

    Raises:
        Corrupt: it is not a plan, or its parts do not fit together.
    """
    try:
        plan = msgspec.msgpack.decode(text, type=TreePlan)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"The plan cannot be read: {error}", where=where, next_step="write the bundle anew") from error
    try:
        return plan, _checked(plan)
    except (ValueError, IndexError) as error:
        raise Corrupt(
            f"The plan's trees do not fit together: {error}", where=where, next_step="write the bundle anew"
        ) from error


def cuts_of(states: NumberStates) -> NDArray[np.float64]:
    """Return the cuts of a number's states."""
    return np.frombuffer(states.cuts, _FLOATS).astype(np.float64)


def n_states(states: NumberStates | TextStates) -> int:
    """Return how many states a column has, unseen and missing among them."""
    return len(states.texts) + 2 if isinstance(states, TextStates) else len(states.cuts) // 8 + 2


def _checked(plan: TreePlan) -> Trees:
    owners, ranks, lenses, cuts, lefts = (
        np.frombuffer(part, _INTEGERS).astype(np.intp)
        for part in (plan.owners, plan.ranks, plan.lenses, plan.cuts, plan.lefts)
    )
    sums = plan.sums
    _must(sums.outputs >= 1 and sums.width in (1, sums.outputs) and np.isfinite(sums.slope), "sums")
    _must(np.isfinite(sums.divisor) and sums.divisor != 0 and (sums.link != "softmax" or sums.outputs > 1), "sums")
    leaves = np.frombuffer(plan.leaves, _FLOATS).astype(np.float64).reshape(-1, sums.width)
    for states in plan.columns:
        if isinstance(states, NumberStates):
            values = cuts_of(states)
            _must(bool(np.isfinite(values).all() and (np.diff(values) > 0).all()), "a column's cuts")
    counts = np.array([n_states(states) for states in plan.columns], dtype=np.intp)
    _must(bool(((owners >= 0) & (owners < len(counts))).all()), "the columns of the lenses")
    starts = np.concatenate([[0], np.cumsum(counts[owners])]).astype(np.intp)
    _must(len(ranks) == starts[-1], "the ranks")
    nodes = len(lefts)
    _must(len(lenses) == nodes == len(cuts) and 1 <= plan.n_trees <= nodes, "the nodes")
    _must(plan.n_trees % (sums.outputs if sums.width == 1 else 1) == 0, "the number of trees")
    inner = lefts != 0
    _must(bool(((lefts > np.arange(nodes)) & (lefts + 1 < nodes))[inner].all()), "a node's children")
    _must(bool((np.diff(np.sort(lefts[inner])) >= 2).all()), "a node with two parents")
    _must(bool(((lenses >= 0) & (lenses < len(owners)))[inner].all()), "a node's lens")
    _must(bool(((cuts >= 0) & (cuts < len(leaves)))[~inner].all()), "a leaf's value")
    return Trees(
        plan.n_trees, owners, ranks, starts[:-1], lenses, cuts, lefts, leaves, _depth(lefts, plan.n_trees), sums
    )


def _depth(lefts: NDArray[np.intp], n_trees: int) -> int:
    depth, level = 0, np.arange(n_trees)
    while len(level := level[lefts[level] != 0]):
        depth += 1
        _must(depth <= _DEEPEST, "the depth")
        level = np.unique(np.concatenate([lefts[level], lefts[level] + 1]))
    return depth


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)
