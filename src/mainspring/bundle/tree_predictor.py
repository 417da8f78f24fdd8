"""Scoring by a tree plan: a row becomes states, states become leaves, leaves become sums, sums become scores.

Which of the two walks goes from states to leaves is measured for one row and for many when the plan is loaded, on the
machine that serves. They are equal to the bit, so the choice shows in nothing but time, and is not part of the bundle.
"""

import bisect
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.tree_plan import NumberStates, Sums, TextStates, TreeLink, TreePlan, Trees, cuts_of, n_states
from mainspring.bundle.tree_walk import Masks, Steps, Walk, leaf_sums
from mainspring.domain.signature import Signature
from mainspring.errors import Corrupt, Invalid

__all__ = ["TreePredictor"]

_Floats = NDArray[np.float64]
_States = NDArray[np.intp]
#: Rows that are taken through the trees together, so that the memory of a large batch stays small.
_MOST_ROWS = 4096
_FEW_ROWS, _MANY_ROWS = 1, 64
_TRIALS = 3


class TreePredictor:
    """A `Predictor` that scores by a tree plan."""

    def __init__(self, manifest: BundleManifest, plan: TreePlan, trees: Trees) -> None:
        """`plan` and `trees` are what `tree_plan_from_bytes` returned.

        Raises:
            Corrupt: the plan is for other columns.
        """
        self.manifest = manifest
        self.signature: Signature = manifest.signature
        if len(plan.columns) != len(self.signature.columns):
            raise Corrupt("The plan has not the states of each column", where=manifest.name)
        for column, states in zip(self.signature.columns, plan.columns, strict=True):
            if isinstance(states, TextStates) != (column.type == "string") or column.type == "timestamp":
                raise Corrupt(f"The plan's states do not fit `{column.name}`", where=manifest.name)
        self._columns = [
            _column(column.name, states) for column, states in zip(self.signature.columns, plan.columns, strict=True)
        ]
        self._sums = trees.sums
        counts = [n_states(states) for states in plan.columns]
        walks: list[Walk] = [Steps(trees)]
        if Masks.fit(trees, counts):
            walks.append(Masks(trees, counts))
        self._for_one = min(walks, key=lambda walk: _seconds(walk, counts, _FEW_ROWS)) if walks[1:] else walks[0]
        self._for_many = min(walks, key=lambda walk: _seconds(walk, counts, _MANY_ROWS)) if walks[1:] else walks[0]
        self.walks = tuple(walks)

    def predict(self, columns: Mapping[str, NDArray[Any]]) -> _Floats:  # as in `predictor.Columns`
        """Score every row; see `predictor.Predictor.predict`.

        Raises:
            Invalid: a column is missing, or holds a missing value and may not, or a number beyond what the original
                takes.
        """
        try:
            given = [columns[column.name] for column in self._columns]
        except KeyError as error:
            raise Invalid(
                f"The column `{error.args[0]}` is missing", where=str(error.args[0]), next_step="hand in every column"
            ) from None
        rows = len(given[0])
        if rows == 1:
            states = [column.one(values[0]) for column, values in zip(self._columns, given, strict=True)]
            return self._scored(leaf_sums(self._for_one.leaves_of_one(states)[None], self._sums.outputs, self._sums.by))
        table = self._table(given)
        sums = np.empty((rows, self._sums.outputs))
        for at in range(0, rows, _MOST_ROWS):
            part = table[at : at + _MOST_ROWS]
            sums[at : at + _MOST_ROWS] = leaf_sums(self._for_many.leaves(part), self._sums.outputs, self._sums.by)
        return self._scored(sums)

    def states(self, columns: Mapping[str, NDArray[Any]]) -> _States:  # as in `predictor.Columns`
        """Return the state of each column in each row, (n, n_columns)."""
        return self._table([columns[column.name] for column in self._columns])

    def _table(self, given: Sequence[NDArray[Any]]) -> _States:
        table = np.empty((len(given[0]), len(given)), dtype=np.intp)
        for at, (column, values) in enumerate(zip(self._columns, given, strict=True)):
            table[:, at] = column.many(values)
        return table

    def _scored(self, sums: _Floats) -> _Floats:
        if self._sums.divisor != 1.0:
            sums /= self._sums.divisor
        scores = _linked(sums, self._sums)
        return scores if self.signature.task == "multiclass" else np.ascontiguousarray(scores[:, 0])


def _seconds(walk: Walk, counts: list[int], rows: int) -> float:
    """Return the least time in which a walk takes so many rows, of whatever states."""
    rng = np.random.default_rng(0)
    states = np.stack([rng.integers(0, count, rows) for count in counts], axis=1)
    best = math.inf
    for _ in range(_TRIALS):
        started = time.perf_counter()
        if rows == 1:
            walk.leaves_of_one(states[0].tolist())
        else:
            walk.leaves(states)
        best = min(best, time.perf_counter() - started)
    return best


class _NumberColumn:
    """The states of a number."""

    def __init__(self, name: str, states: NumberStates) -> None:
        self.name = name
        self._cuts = cuts_of(states)
        self._list: list[float] = self._cuts.tolist()
        self._low, self._high, self._missing = states.low, states.high, states.missing

    def one(self, value: float) -> int:
        """Return the state of one value."""
        if value != value:
            if not self._missing:
                raise _no_value(self.name, 0)
            return len(self._list) + 1
        if not self._low <= value <= self._high:
            raise _too_large(self.name, 0, value)
        return bisect.bisect_right(self._list, value)

    def many(self, given: NDArray[Any]) -> _States:
        """Return the state of each value."""
        values = np.asarray(given, dtype=np.float64)
        states = np.searchsorted(self._cuts, values, side="right")
        missing = np.isnan(values)
        if missing.any():
            if not self._missing:
                raise _no_value(self.name, int(missing.argmax()))
            states[missing] = len(self._list) + 1
        beyond = (values < self._low) | (values > self._high)
        if beyond.any():
            row = int(beyond.argmax())
            raise _too_large(self.name, row, float(values[row]))
        return states


class _TextColumn:
    """The states of a text."""

    def __init__(self, name: str, states: TextStates) -> None:
        self.name = name
        self._states = {text: at for at, text in enumerate(states.texts)}
        self._unseen, self._missing = len(states.texts), states.missing

    def one(self, value: str | None) -> int:
        """Return the state of one value."""
        if value is None or value != value:
            if not self._missing:
                raise _no_value(self.name, 0)
            return self._unseen + 1
        return self._states.get(value, self._unseen)

    def many(self, values: NDArray[Any]) -> _States:
        """Return the state of each value."""
        find, unseen = self._states.get, self._unseen
        states = np.fromiter(
            (unseen + 1 if text is None or text != text else find(text, unseen) for text in values),
            np.intp,
            len(values),
        )
        if not self._missing and (missing := states > unseen).any():
            raise _no_value(self.name, int(missing.argmax()))
        return states


def _column(name: str, states: NumberStates | TextStates) -> _NumberColumn | _TextColumn:
    return _TextColumn(name, states) if isinstance(states, TextStates) else _NumberColumn(name, states)


def _linked(sums: _Floats, how: Sums) -> _Floats:
    """Return the scores of sums (n, outputs).

    The exponentials of NumPy and of the C library differ in their last bit. Originals written in C are followed with
    the C library's, one value at a time; so is scikit-learn's logistic function, which is SciPy's.
    """
    if how.link == "identity":
        return sums
    if how.by == "float32":
        return _linked_single(sums.astype(np.float32), how.link).astype(np.float64)
    if how.link == "logistic":
        return np.array([_logistic(how.slope * each) for each in sums.ravel().tolist()]).reshape(sums.shape)
    if how.link == "exponential":
        if how.by == "numpy":
            return np.exp(sums)
        return np.array([_exponential(each) for each in sums.ravel().tolist()]).reshape(sums.shape)
    if how.by == "c":
        return np.array([_softmax(row) for row in sums.tolist()]).reshape(sums.shape)
    raised = np.exp(sums - sums.max(axis=1, keepdims=True)) if len(sums) else sums
    scores: _Floats = raised / raised.sum(axis=1, keepdims=True)
    return scores


def _linked_single(sums: NDArray[np.float32], link: TreeLink) -> NDArray[np.float32]:
    """Return scores as C makes them of float32; its exponential is the exact one, rounded."""
    one = np.float32(1)
    with np.errstate(over="ignore"):
        if link == "logistic":
            scores: NDArray[np.float32] = one / (np.exp(-sums.astype(np.float64)).astype(np.float32) + one)
            return scores
        if link == "exponential":
            return np.exp(sums.astype(np.float64)).astype(np.float32)
    raised = np.exp((sums - sums.max(axis=1, keepdims=True)).astype(np.float64)).astype(np.float32)
    totals: NDArray[np.float64] = np.cumsum(raised.astype(np.float64), axis=1)[:, -1:]
    shares: NDArray[np.float32] = raised / totals.astype(np.float32)
    return shares


def _exponential(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf


def _logistic(value: float) -> float:
    return 1.0 / (1.0 + _exponential(-value))


def _softmax(sums: list[float]) -> list[float]:
    most, total = max(sums), 0.0
    raised = [math.exp(each - most) for each in sums]
    for each in raised:
        total += each
    return [each / total for each in raised]


def _no_value(name: str, row: int) -> Invalid:
    return Invalid(f"`{name}` has a missing value and may not", where=f"{name}[{row}]")


def _too_large(name: str, row: int, value: float) -> Invalid:
    return Invalid(
        f"`{name}` is {value:g}, which is beyond what the model takes",
        where=f"{name}[{row}]",
        next_step="the model's numbers are float32; look at the units of the column",
    )
