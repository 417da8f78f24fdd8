"""Folding trees: finds states and lenses by asking whatever lies between a row and its trees, without knowing it.

What an imputer, scaler or encoder makes of one column is asked for at probes: texts one by one, numbers at both ends
of their range, between and far outside. Between two probes whose ranks differ, the last number of the lower rank is
found by halving the numbers that lie between them, down to two that are neighbours. So the cuts of a plan are exact to
the last bit, behind a scaler and a cast to float32 too, and comparing at run time is comparing the raw value. A column
that acts together with another is no matter for a plan, nor one of which single numbers are told apart from all others,
as an encoder of numbers does: nobody could find them all by asking. They are refused here.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.folding import UNSEEN
from mainspring.bundle.tree_models import MOST_NODES, Ensemble, Node
from mainspring.bundle.tree_plan import NumberStates, TextStates, TreePlan
from mainspring.domain.signature import Column, Signature

__all__ = ["fold_trees"]

Columns = Mapping[str, NDArray[Any]]
_Floats = NDArray[np.float64]
_Ranks = NDArray[np.int64]
_Fed = Callable[[Columns], _Floats]
_MOST_CELLS = 8_000_000
_QUANTILES = 64
_MOST_WHOLE = 4000
#: Behind this a float64 no longer holds every whole number.
_WHOLE = 2.0**53
#: A whole part beyond this is no category: the sets of categories are written as bits of 32-bit words.
_MOST_CATEGORY = 1 << 20


@dataclass(slots=True)
class _Lens:
    """One way to look at a feature: where its value stands among the thresholds, or whether it is one of `chosen`."""

    feature: int
    node: Node
    thresholds: _Floats

    def ranks(self, values: _Floats) -> _Ranks:
        """Return the rank of each value; a row goes left where it is at most the place of the node's threshold."""
        missing = np.isnan(values)
        if self.node.chosen is not None:
            missing |= values <= -1
            whole = np.where(missing | (values >= _MOST_CATEGORY), -1, values).astype(np.int64)
            found = 1 - np.isin(whole, list(self.node.chosen)).astype(np.int64)
            return np.where(missing, 0 if self.node.missing_left else 1, found)
        if self.node.zero_is_missing:
            missing |= values == 0
        found = np.searchsorted(self.thresholds, values, side="left").astype(np.int64)
        return np.where(missing, -1 if self.node.missing_left else len(self.thresholds), found)

    def cut(self, node: Node) -> int:
        return 0 if node.chosen is not None else int(np.searchsorted(self.thresholds, node.threshold))


def fold_trees(signature: Signature, ensemble: Ensemble, fed: _Fed, sample: Columns) -> TreePlan | None:
    """Return the plan of a model with these trees, or None where a column acts together with another.

    `fed` returns what the trees see of rows, (n, n_features); infinite where the model refuses it. `sample` holds
    validation rows, which say where numbers usually are.
    """
    if any(
        each.type == "timestamp" or (each.type == "string" and each.categories is None) for each in signature.columns
    ):
        return None
    if sum(len(tree.nodes) for tree in ensemble.trees) > MOST_NODES:
        return None
    lenses = _lenses(ensemble)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # encoders warn of what they have not seen; that is the point of it
        asking = _Asking(signature, fed, sample)
        owners = asking.owners([lens.feature for lens in lenses.values()])
        if owners is None:
            return None
        by_column: list[list[_Lens]] = [[] for _ in signature.columns]
        for lens in lenses.values():
            by_column[owners[lens.feature]].append(lens)
        asking.look_at_categories(by_column)
        if asking.has_points(by_column):
            return None
        cuts = asking.cuts(by_column)
        found = asking.states(by_column, cuts)
    if found is None:
        return None
    states, tables = found
    ordered = [lens for column in by_column for lens in column]
    ranks = np.concatenate(tables) if tables else np.zeros(0)
    if ranks.size > _MOST_CELLS:
        return None
    places = {id(lens): at for at, lens in enumerate(ordered)}
    lens_of, cut_of, lefts, leaves = _laid_out(
        ensemble, {key: (places[id(lens)], lens) for key, lens in lenses.items()}
    )
    return TreePlan(
        columns=tuple(states),
        owners=_integers([owners[lens.feature] for lens in ordered]),
        ranks=_integers(ranks),
        n_trees=len(ensemble.trees),
        lenses=_integers(lens_of),
        cuts=_integers(cut_of),
        lefts=_integers(lefts),
        leaves=np.array(leaves, dtype="<f8").tobytes(),
        sums=ensemble.sums,
    )


def _key(node: Node) -> tuple[object, ...]:
    return node.feature, node.missing_left, node.zero_is_missing, node.chosen


def _lenses(ensemble: Ensemble) -> dict[tuple[object, ...], _Lens]:
    nodes: dict[tuple[object, ...], Node] = {}
    thresholds: dict[tuple[object, ...], list[float]] = {}
    for tree in ensemble.trees:
        for node in tree.nodes:
            if node is not None:
                key = _key(node)
                nodes.setdefault(key, node)
                thresholds.setdefault(key, []).append(node.threshold)
    return {key: _Lens(node.feature, node, np.unique(thresholds[key])) for key, node in nodes.items()}


def _laid_out(
    ensemble: Ensemble, lenses: Mapping[tuple[object, ...], tuple[int, _Lens]]
) -> tuple[list[int], list[int], list[int], list[tuple[float, ...]]]:
    """Return the nodes of all trees level by level, roots first, children side by side."""
    lens_of: list[int] = []
    cut_of: list[int] = []
    lefts: list[int] = []
    leaves: list[tuple[float, ...]] = []
    line = [(tree, 0) for tree in ensemble.trees]
    for tree, at in line:  # grows while it is gone through
        node = tree.nodes[at]
        if node is None:
            lens_of.append(0)
            cut_of.append(len(leaves))
            lefts.append(0)
            leaves.append(tree.values[at])
            continue
        place, lens = lenses[_key(node)]
        lens_of.append(place)
        cut_of.append(lens.cut(node))
        lefts.append(len(line))
        line += [(tree, tree.lefts[at]), (tree, tree.rights[at])]
    return lens_of, cut_of, lefts, leaves


class _Asking:
    """Asks what the trees see of rows in which columns take values of our choice, each on the same base row."""

    def __init__(self, signature: Signature, fed: _Fed, sample: Columns) -> None:
        self._columns = signature.columns
        self._fed = fed
        self._probes = [_probes(each, sample[each.name]) for each in self._columns]
        self._base = [probes[len(probes) // 2] for probes in self._probes]
        self._owned: list[NDArray[np.intp]] = []
        self._bounds = [(-np.inf, np.inf)] * len(self._columns)
        for at, column in enumerate(self._columns):
            if column.type == "number":
                self._bounds[at] = self._bound(at)

    def _ask(self, values: Sequence[Sequence[Any] | NDArray[Any]]) -> _Floats:
        """Return what is seen of rows with these values in each column; short columns are filled with the base."""
        rows = max(1, *map(len, values))
        table = {}
        for column, base, given in zip(self._columns, self._base, values, strict=True):
            array = np.empty(rows, dtype=object if column.type == "string" else np.float64)
            array[:] = base
            array[: len(given)] = given
            table[column.name] = array
        return self._fed(table)

    def _bound(self, at: int) -> tuple[float, float]:
        """Return the range that is answered, and end the probes with it; infinite where all numbers are answered."""
        probes = self._probes[at]
        ends = []
        for end in (0, -1):
            answered, refused = (_to_order(np.array([each]), False) for each in (self._base[at], probes[end]))
            if self._answers(at, probes[end]):
                ends.append(-np.inf if end == 0 else np.inf)
                continue
            while abs(int(refused[0]) - int(answered[0])) > 1:
                middle = _middle(np.minimum(answered, refused), np.maximum(answered, refused))
                if self._answers(at, float(_from_order(middle, False)[0])):
                    answered = middle
                else:
                    refused = middle
            ends.append(float(_from_order(answered, False)[0]))
        inside = [each for each in probes if ends[0] <= each <= ends[1]]
        self._probes[at] = sorted({*inside, *(each for each in ends if np.isfinite(each))})
        return ends[0], ends[1]

    def _answers(self, at: int, value: float) -> bool:
        try:
            self._ask([*[()] * at, [value], *[()] * (len(self._columns) - at - 1)])
        except Exception:  # what stands between a row and its trees may refuse in any way; that is the answer
            return False
        return True

    def owners(self, used: Sequence[int]) -> dict[int, int] | None:
        """Return the one column on which each feature depends; None where a used feature depends on two."""
        alone: list[Sequence[Any]] = [()] * len(self._columns)
        base = self._ask(alone)[0]
        moved = np.zeros((len(self._columns), len(base)), dtype=bool)
        for at, column in enumerate(self._columns):
            tries = [*self._probes[at], *_missing(column)]
            seen = self._ask([*alone[:at], tries, *alone[at + 1 :]])
            moved[at] = ((seen != base) & ~(np.isnan(seen) & np.isnan(base))).any(axis=0)
        if (moved.sum(axis=0)[list(used)] > 1).any():
            return None
        self._owned = [np.flatnonzero(each) for each in moved]
        first = moved.argmax(axis=0)  # a feature that never changes may belong to anyone
        return {feature: int(first[feature]) for feature in used}

    def look_at_categories(self, lenses: Sequence[Sequence[_Lens]]) -> None:
        """Add the ends of each category that trees of a number's whole part ask for to its probes."""
        for at, column in enumerate(self._columns):
            if column.type in ("number", "integer"):
                asked = {each for lens in lenses[at] for each in lens.node.chosen or ()}
                low, high = self._probes[at][0], self._probes[at][-1]
                ends = {float(each + by) for each in asked for by in (0, 1)}
                self._probes[at] = sorted({*self._probes[at], *(each for each in ends if low <= each <= high)})

    def has_points(self, lenses: Sequence[Sequence[_Lens]]) -> bool:
        """Tell whether a rank rises or falls at a single probe of a number and is back at once on either side."""
        sparse = [each.type == "number" or (each.type == "integer" and not _all_whole(each)) for each in self._columns]
        inner = [self._probes[at][1:-1] if sparse[at] else [] for at in range(len(self._columns))]
        sides = [
            self._ask(
                [
                    [_step(column, each, by) if by else each for each in probes]
                    for column, probes in zip(self._columns, inner, strict=True)
                ]
            )
            for by in (-1, 0, 1)
        ]
        for probes, looking in zip(inner, lenses, strict=True):
            for lens in looking:
                below, here, above = (lens.ranks(side[: len(probes), lens.feature]) for side in sides)
                if ((here - below) * (above - here) < 0).any():
                    return True
        return False

    def cuts(self, lenses: Sequence[Sequence[_Lens]]) -> list[_Floats]:
        """Return, for each column of numbers, where a rank changes: the lowest value of the upper side."""
        probes: list[Any] = [
            self._probes[at] if column.type != "string" else [] for at, column in enumerate(self._columns)
        ]
        halvings = [_Halving(column) for column in self._columns]
        seen = self._ask(probes)
        for at, halving in enumerate(halvings):
            block = seen[: len(probes[at])]
            for lens in lenses[at]:
                halving.begin(lens.feature, lens.ranks, probes[at], lens.ranks(block[:, lens.feature]))
            for feature in self._owned[at].tolist():
                halving.begin(feature, _refused, probes[at], _refused(block[:, feature]))
        while any(halving.is_open for halving in halvings):
            seen = self._ask([halving.middles() for halving in halvings])
            for halving in halvings:
                halving.learn(seen)
        return [halving.cuts() for halving in halvings]

    def states(
        self, lenses: Sequence[Sequence[_Lens]], cuts: Sequence[_Floats]
    ) -> tuple[list[NumberStates | TextStates], list[_Ranks]] | None:
        """Return the states of each column and the ranks of each lens; None where a state has no rank of its own."""
        firsts: list[Any] = []
        lasts: list[Any] = []
        for at, column in enumerate(self._columns):
            if column.type == "string":
                firsts.append([*(column.categories or ()), UNSEEN, *_missing(column)])
                lasts.append(firsts[-1])
            else:
                low, high = self._probes[at][0], self._probes[at][-1]
                firsts.append([low, *cuts[at].tolist(), *_missing(column)])
                below = [_step(column, each, -1) for each in cuts[at].tolist()]
                lasts.append([*below, high, *_missing(column)])
        seen, again = self._ask(firsts), self._ask(lasts)
        states: list[NumberStates | TextStates] = []
        tables: list[_Ranks] = []
        for at, column in enumerate(self._columns):
            count = len(firsts[at])
            missing = column.nullable
            for lens in lenses[at]:
                ranks = lens.ranks(seen[:count, lens.feature])
                if not np.array_equal(ranks, lens.ranks(again[:count, lens.feature])):
                    return None
                tables.append(ranks if missing else np.append(ranks, 0))  # a state that is refused has any rank
            if column.type == "string":
                states.append(TextStates(tuple(column.categories or ()), missing))
                continue
            bad = np.asarray(np.isinf(seen[:count, self._owned[at]]).any(axis=1))
            if missing and bad[-1]:
                return None
            bad = bad[: len(cuts[at]) + 1]
            good = np.flatnonzero(~bad)
            if not good.size or good[-1] - good[0] != len(good) - 1:
                return None
            low, high = self._bounds[at]
            low = low if good[0] == 0 else float(cuts[at][good[0] - 1])
            high = high if good[-1] == len(cuts[at]) else _step(column, float(cuts[at][good[-1]]), -1)
            states.append(NumberStates(cuts[at].astype("<f8").tobytes(), low, high, missing))
        return states, tables


def _refused(values: _Floats) -> _Ranks:
    return np.isinf(values).astype(np.int64)


def _missing(column: Column) -> list[Any]:
    return ([None] if column.type == "string" else [np.nan]) if column.nullable else []


def _probes(column: Column, sample: NDArray[Any]) -> list[Any]:
    if column.type == "string":
        return [*(column.categories or ()), UNSEEN]
    if column.type == "boolean":
        return [0.0, 1.0]
    known = sample[~np.isnan(sample)]
    usual = np.quantile(known, np.linspace(0, 1, _QUANTILES), method="nearest") if len(known) else np.zeros(0)
    usual = np.unique(usual)
    low, high = column.low or 0.0, column.high or 0.0
    span = max(high - low, 1.0)
    between = np.arange(low - 2, high + 3) if _all_whole(column) else usual[:-1] + np.diff(usual) / 2
    largest = _WHOLE if column.type == "integer" else float(np.finfo(np.float64).max)
    points = np.array([*usual, *between, low, high, low - span, high + span, 0.0, -largest, largest])
    points = np.unique(np.clip(np.rint(points) if column.type == "integer" else points, -largest, largest))
    return [float(each) for each in points]


def _all_whole(column: Column) -> bool:
    """Tell whether a column holds so few whole numbers that each is a probe."""
    return column.type == "integer" and (column.high or 0.0) - (column.low or 0.0) <= _MOST_WHOLE


def _step(column: Column, value: float, by: int) -> float:
    """Return the neighbour of a value that the column can hold."""
    return value + by if column.type != "number" else float(np.nextafter(value, by * np.inf))


class _Halving:
    """Halves what lies between two values of a column whose ranks differ, for many pairs at once."""

    def __init__(self, column: Column) -> None:
        self._whole = column.type != "number"
        self._low: list[_Ranks] = []
        self._high: list[_Ranks] = []
        self._sought: list[_Ranks] = []
        self._rises: list[NDArray[np.bool_]] = []
        self._views: list[tuple[int, Callable[[_Floats], _Ranks], int]] = []

    def begin(self, feature: int, rank_of: Callable[[_Floats], _Ranks], probes: Sequence[float], ranks: _Ranks) -> None:
        """Take on every rank between those of two probes that follow each other."""
        places = _to_order(np.array(probes), self._whole)
        change: _Ranks = np.subtract(ranks[1:], ranks[:-1])
        at = np.repeat(np.arange(len(change)), np.abs(change))
        if not at.size:
            return
        low = np.minimum(ranks[:-1], ranks[1:])[at]
        within = np.arange(len(at)) - np.searchsorted(at, at)
        self._low.append(places[at])
        self._high.append(places[at + 1])
        self._sought.append(low + within)
        self._rises.append(change[at] > 0)
        self._views.append((feature, rank_of, len(at)))

    @property
    def is_open(self) -> bool:
        """Whether a pair is left that are no neighbours."""
        return any((high - 1 > low).any() for low, high in zip(self._low, self._high, strict=True))

    def middles(self) -> _Floats:
        """Return the value in the middle of each pair."""
        if not self._low:
            return np.zeros(0)
        return _from_order(np.concatenate(list(map(_middle, self._low, self._high))), self._whole)

    def learn(self, seen: _Floats) -> None:
        """Take in what is seen of the middles."""
        at = 0
        for place, (feature, rank_of, count) in enumerate(self._views):
            above = rank_of(seen[at : at + count, feature]) > self._sought[place]
            at += count
            middle = _middle(self._low[place], self._high[place])
            is_high = above == self._rises[place]
            self._high[place] = np.where(is_high, middle, self._high[place])
            self._low[place] = np.where(is_high, self._low[place], middle)

    def cuts(self) -> _Floats:
        """Return the upper value of each pair, each once and in order."""
        if not self._high:
            return np.zeros(0)
        return _from_order(np.unique(np.concatenate(self._high)), self._whole)


def _middle(low: _Ranks, high: _Ranks) -> _Ranks:
    # the halves are added, not halved the sum: that would not fit; neighbours stay what they are
    middle = (low >> 1) + (high >> 1) + (low & high & 1)
    return np.where(high - 1 > low, middle, high)


def _to_order(values: _Floats, whole: bool) -> _Ranks:
    """Return integers in the order of the values, neighbours for neighbours."""
    if whole:
        return values.astype(np.int64)
    bits = (values + 0.0).view(np.int64)  # adding zero makes minus zero plain
    return np.where(bits < 0, np.iinfo(np.int64).min - bits, bits)


def _from_order(order: _Ranks, whole: bool) -> _Floats:
    if whole:
        return order.astype(np.float64)
    return np.where(order < 0, np.iinfo(np.int64).min - order, order).view(np.float64)


def _integers(values: Any) -> bytes:  # anything NumPy makes an array of
    return np.asarray(values, dtype="<i4").tobytes()
