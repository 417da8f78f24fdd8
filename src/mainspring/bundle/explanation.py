"""Explanations: what each column added to a row's score, for any predictor and without knowing what is inside it.

A contribution is a Shapley value: the mean, over the orders in which columns can become known, of how much the score
moves when this one does; a column that is not known yet takes its value from a reference row. Few columns are
enumerated exactly, more are sampled within a time budget. Either way ``base + contributions`` is the score itself.
"""

import itertools
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.predictor import Columns, Predictor
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Invalid

__all__ = ["Explanation", "explain"]

_Floats = NDArray[np.float64]
_Masks = NDArray[np.bool_]
_MOST_REFERENCES = 32
#: Passes over the references; each asks every reference for one order of the columns and for its reverse.
_MOST_PASSES = 16
#: Rows handed to the model at once, so that an explanation of many rows needs no more memory than one of few.
_MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True)
class Explanation:
    """Contributions of the columns to each score.

    `base` is the mean score of the references, a number, or (n_classes,) for a multiclass model; `contributions` has
    the shape (n_rows, n_columns) or (n_rows, n_columns, n_classes), and `errors` holds their standard errors in the
    same shape: zero where enumerated, NaN where the time allowed one pass only. `passes` says how many were made for
    each row, 0 where all was enumerated.
    """

    columns: tuple[str, ...]
    base: _Floats
    contributions: _Floats
    errors: _Floats
    passes: tuple[int, ...]


def explain(
    predictor: Predictor,
    columns: Columns,
    *,
    references: Columns | None = None,
    seconds: float = 1.0,
    seed: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Explanation:
    """Return what each column added to the score of each row, in the units of the score.

    `references` are the rows to compare with, such as validation rows, of which at most 32 are used, evenly spread;
    without them the signature's example is the only one. `seconds` is the time for all rows together: each gets its
    share, and one pass in any case. `seed` deals the orders. A row costs 2^n_columns predictions for each reference
    where that is no more than sampling would cost (up to 8 columns), else 2 * (n_columns + 1) for each reference and
    pass, of which there are at most 16.

    Raises:
        Invalid: a column is missing, or there is nothing to compare with.

    Source: Castro, Gomez and Tejada 2009, "Polynomial calculation of the Shapley value based on sampling", for the
    orders; Strumbelj and Kononenko 2014, "Explaining prediction models and individual predictions with feature
    contributions", for reference rows; Mitchell et al. 2022, "Sampling permutations for Shapley value estimation",
    section 4.1, for taking each order with its reverse.
    """
    signature = predictor.signature
    references = _references(signature, references)
    for name in signature.names:
        if name not in columns:
            raise Invalid(f"The column `{name}` is missing", where=name, next_step="hand in every column")
    width, rows = len(signature.names), len(columns[signature.names[0]])
    count = len(references[signature.names[0]])
    base = predictor.predict(references).mean(axis=0)
    contributions = np.zeros((rows, width, *np.shape(base)))
    errors, passes = np.zeros_like(contributions), []
    rng, ends = np.random.default_rng(seed), clock()
    for row in range(rows):
        ends += seconds / rows
        asked = _Row(predictor, {name: columns[name][row : row + 1] for name in signature.names}, references, count)
        if 2**width <= _MOST_PASSES * 2 * (width + 1):
            contributions[row], made = _enumerated(asked, width), 0
        else:
            each = [_passed(asked, width, rng)]
            while len(each) < _MOST_PASSES and clock() < ends:
                each.append(_passed(asked, width, rng))
            made = len(each)
            contributions[row] = np.mean(each, axis=0)
            errors[row] = np.std(each, axis=0, ddof=1) / math.sqrt(made) if made > 1 else np.nan
        passes.append(made)
    return Explanation(signature.names, np.asarray(base), contributions, errors, tuple(passes))


@dataclass(frozen=True, slots=True)
class _Row:
    """One row beside its references, to be asked what the score is when only some columns are the row's own."""

    predictor: Predictor
    row: Columns
    references: Columns
    count: int

    def scores(self, own: _Masks, reference: NDArray[np.intp]) -> _Floats:
        """Return one score for each line of `own`, (n, n_columns), whose other columns are those of `reference`."""
        parts = [
            self.predictor.predict(
                {
                    name: np.where(own[at : at + _MOST_ROWS, place], values, self.references[name][chosen])
                    for place, (name, values) in enumerate(self.row.items())
                }
            )
            for at in range(0, len(own), _MOST_ROWS)
            for chosen in [reference[at : at + _MOST_ROWS]]
        ]
        return np.concatenate(parts)


def _enumerated(asked: _Row, width: int) -> _Floats:
    """Return the exact values: over every set of known columns, weighed by the share of orders that begin with it."""
    sets = np.array(list(itertools.product([False, True], repeat=width)), dtype=bool).reshape(-1, width)
    reference = np.tile(np.arange(asked.count), len(sets))
    scores = asked.scores(np.repeat(sets, asked.count, axis=0), reference)
    value = scores.reshape(len(sets), asked.count, *scores.shape[1:]).mean(axis=1)
    share = np.array([1 / (width * math.comb(width - 1, size)) for size in range(width)])
    made = []
    for column in range(width):
        without = np.flatnonzero(~sets[:, column])
        moved = value[without + 2 ** (width - 1 - column)] - value[without]
        made.append(np.tensordot(share[sets[without].sum(axis=1)], moved, axes=1))
    return np.array(made)


def _passed(asked: _Row, width: int, rng: np.random.Generator) -> _Floats:
    """Return the mean over every reference of one random order and its reverse."""
    orders = np.array([order for _ in range(asked.count) for order in _both_ways(rng.permutation(width))])
    rank = np.argsort(orders, axis=1)
    own = np.arange(width + 1)[None, :, None] > rank[:, None, :]  # (order, columns known so far, column)
    reference = np.repeat(np.arange(asked.count), 2 * (width + 1))
    scores = asked.scores(own.reshape(-1, width), reference)
    steps = np.diff(scores.reshape(len(orders), width + 1, *scores.shape[1:]), axis=1)
    return np.asarray(steps[np.arange(len(orders))[:, None], rank].mean(axis=0))


def _both_ways(order: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return order, order[::-1]


def _references(signature: Signature, given: Columns | None) -> Columns:
    if given is None:
        if signature.example.keys() < set(signature.names):
            raise Invalid(
                "There is no row to compare with: the signature's example is not whole",
                where="references",
                next_step="hand in rows that are usual, such as those of validation",
            )
        return {each.name: _one(signature.example[each.name], each) for each in signature.columns}
    rows = len(given[signature.names[0]])
    if not rows:
        raise Invalid("The references have no rows", where="references", next_step="hand in one row or more")
    chosen = np.unique(np.linspace(0, rows - 1, min(rows, _MOST_REFERENCES)).astype(np.intp))
    return {name: given[name][chosen] for name in signature.names}


def _one(value: object, column: Column) -> NDArray[np.generic]:
    """Return a value of the example as a column of one row, by the convention in `predictor`."""
    if column.type == "string":
        return np.array([value], dtype=object)
    if column.type == "timestamp":
        moment = None if value is None else datetime.fromisoformat(str(value))
        if moment is not None and moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
        return np.array([moment], dtype="datetime64[us]")
    return np.array([math.nan if value is None else value], dtype=np.float64)
