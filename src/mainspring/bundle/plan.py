"""A folded plan: a linear pipeline as weights and look-up tables, which scores with no library but NumPy.

What a scaler, an encoder and a linear model do to a row comes to one number for each column: a weight times a number,
or an entry of a table for a text. The plan keeps these and adds them up. Few rows are added up value by value, since
one call into NumPy costs more than a row; many are added up column by column. `folding` makes plans, `certificate`
proves that they say the same as their original.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.manifest import BundleManifest
from mainspring.domain.signature import Signature
from mainspring.errors import Corrupt, Invalid

__all__ = [
    "PLAN_NAME",
    "FoldedPlan",
    "Link",
    "NumberTerm",
    "PlanPredictor",
    "TextTerm",
    "plan_from_json",
    "plan_to_json",
]

PLAN_NAME = "plan.json"
#: How sums become scores: as they are, by the logistic function, or by the softmax over classes.
Link = Literal["identity", "logistic", "softmax"]
#: Up to so many rows the sums are made value by value; measured, NumPy is faster behind it.
_FEW_ROWS = 12


class NumberTerm(msgspec.Struct, frozen=True, tag="number"):
    """What a number adds to each sum: weight times value plus offset, or `missing`. One entry a sum.

    `missing` is empty where a value may not be missing.
    """

    weights: tuple[float, ...]
    offsets: tuple[float, ...]
    missing: tuple[float, ...]


class TextTerm(msgspec.Struct, frozen=True, tag="text"):
    """What a text adds to each sum: its entry, `unseen` for a text without one, or `missing` (empty: may not be)."""

    table: dict[str, tuple[float, ...]]
    unseen: tuple[float, ...]
    missing: tuple[float, ...]


class FoldedPlan(msgspec.Struct, frozen=True):
    """One term a column, in the signature's order, the sums' starting values, and the link."""

    link: Link
    start: tuple[float, ...]
    terms: tuple[NumberTerm | TextTerm, ...]


def plan_to_json(plan: FoldedPlan) -> bytes:
    """Return a plan as JSON; equal plans give equal bytes."""
    return msgspec.json.encode(plan, order="sorted")


def plan_from_json(text: bytes, *, where: str) -> FoldedPlan:
    """Read what `plan_to_json` gave.

    Raises:
        Corrupt: it is not a plan, or its parts do not fit together.
    """
    try:
        plan = msgspec.json.decode(text, type=FoldedPlan)
    except msgspec.MsgspecError as error:
        raise Corrupt(f"The plan cannot be read: {error}", where=where, next_step="write the bundle anew") from error
    sums = len(plan.start)
    widths = {len(part) for term in plan.terms for part in _parts(term)}
    if not sums or widths - {sums} or (plan.link != "softmax" and sums != 1):
        raise Corrupt("The plan's terms do not fit together", where=where, next_step="write the bundle anew")
    return plan


def _parts(term: NumberTerm | TextTerm) -> list[tuple[float, ...]]:
    always = [term.weights, term.offsets] if isinstance(term, NumberTerm) else [term.unseen, *term.table.values()]
    return [*always, term.missing] if term.missing else always


class PlanPredictor:
    """A `Predictor` that scores by a plan."""

    def __init__(self, manifest: BundleManifest, plan: FoldedPlan) -> None:
        if len(plan.terms) != len(manifest.signature.columns):
            raise Corrupt("The plan has not one term for each column", where=manifest.name)
        self.manifest = manifest
        self.signature: Signature = manifest.signature
        self.plan = plan
        self._terms = list(zip(self.signature.names, plan.terms, strict=True))

    def predict(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:  # as in `predictor.Columns`
        """Score every row; see `predictor.Predictor.predict`.

        Raises:
            Invalid: a column is missing, or holds a missing value and may not.
        """
        for name, _ in self._terms:
            if name not in columns:
                raise Invalid(f"The column `{name}` is missing", where=name, next_step="hand in every column")
        first = columns[self.signature.columns[0].name]
        if len(first) <= _FEW_ROWS:
            return self._linked(self._few(columns, len(first)))
        sums = np.tile(np.array(self.plan.start), (len(first), 1))
        for (name, term), table in zip(self._terms, self._tables, strict=True):
            if isinstance(term, NumberTerm):
                _add_numbers(sums, name, term, columns[name])
            else:
                _add_texts(sums, name, term, table, columns[name])
        return self._linked(sums)

    def _few(self, columns: Mapping[str, NDArray[Any]], rows: int) -> NDArray[np.float64]:
        values = {name: columns[name].tolist() for name, _ in self._terms}
        width = len(self.plan.start)
        sums = [self._sum(values, row, index) for row in range(rows) for index in range(width)]
        return np.array(sums, dtype=np.float64).reshape(rows, width)

    def _sum(self, values: Mapping[str, Sequence[Any]], row: int, index: int) -> float:
        total = self.plan.start[index]
        for name, term in self._terms:
            value = values[name][row]
            if value is None or value != value:
                if not term.missing:
                    raise _missing(name, row)
                total += term.missing[index]
            elif isinstance(term, NumberTerm):
                total += term.weights[index] * value + term.offsets[index]
            else:
                total += term.table.get(value, term.unseen)[index]
        return total

    @cached_property
    def _tables(self) -> list[dict[str | None, int]]:
        """For each term the row of its table by text, behind those of missing (0) and unseen (1)."""
        return [
            {} if isinstance(term, NumberTerm) else {text: at for at, text in enumerate(term.table, start=2)}
            for _, term in self._terms
        ]

    def _linked(self, sums: NDArray[np.float64]) -> NDArray[np.float64]:
        # one function for few rows and many: the exponentials of Python and of NumPy differ in their last bit
        if self.plan.link == "softmax":
            raised = np.exp(sums - sums.max(1, keepdims=True)) if len(sums) else sums
            scores: NDArray[np.float64] = raised / raised.sum(1, keepdims=True)
            return scores
        total = np.ascontiguousarray(sums[:, 0])
        if self.plan.link == "identity":
            return total
        raised = np.exp(-np.abs(total))  # never above zero, so it cannot overflow
        return np.where(total >= 0, 1 / (1 + raised), raised / (1 + raised))


def _add_numbers(sums: NDArray[np.float64], name: str, term: NumberTerm, values: NDArray[Any]) -> None:
    numbers = np.asarray(values, dtype=np.float64)
    missing = np.isnan(numbers)
    some = bool(missing.any())
    if some and not term.missing:
        raise _missing(name, int(missing.argmax()))
    for index in range(sums.shape[1]):
        added = term.weights[index] * numbers + term.offsets[index]
        sums[:, index] += np.where(missing, term.missing[index], added) if some else added


def _add_texts(
    sums: NDArray[np.float64], name: str, term: TextTerm, table: Mapping[str | None, int], values: NDArray[Any]
) -> None:
    entries = np.array([term.missing or term.unseen, term.unseen, *term.table.values()])
    find = table.get
    places = np.fromiter(
        (0 if text is None or text != text else find(text, 1) for text in values), np.intp, len(values)
    )
    if not term.missing and not places.all():
        raise _missing(name, int((places == 0).argmax()))
    sums += entries[places]


def _missing(name: str, row: int) -> Invalid:
    return Invalid(f"`{name}` has a missing value and may not", where=f"{name}[{row}]")
