"""Is an input broken at its source? What the world does not do from one block to the next, and a fault does.

Drift asks whether inputs moved, and the world moves them all the time: so it is evidence, and raises nothing. This
asks for the marks of a fault, each beyond anything that the blocks before had: values of the wrong type, values gone
missing, categories never seen (and one gone: it was renamed), and numbers whose mean fits the past in other units.
Pure: summaries of blocks come in, faults go out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from mainspring.data.profile import ColumnCounts, Counts, Profile

__all__ = ["LEAST_BLOCKS", "MOST_BLOCKS", "BlockSummary", "ColumnSummary", "input_faults", "renamed_from", "summarize"]

#: So many blocks say what blocks are like, and more than so many are not remembered.
LEAST_BLOCKS, MOST_BLOCKS = 14, 28
#: Fewer rows are no block that could be judged.
_LEAST_ROWS = 30
#: By how much, in shares of the rows, a block must exceed every block before it.
_FLOORS = {"mistyped": 0.01, "unseen": 0.05, "missing": 0.20}
_SAID = {
    "mistyped": "has values of the wrong type in {:.1%} of rows",
    "unseen": "has never seen values in {:.1%} of rows",
    "missing": "is missing in {:.1%} of rows",
}
#: A mean is out of the ordinary beyond so many times the largest deviation of a block before.
_FAR = 2.0
#: A mean fits other units within so many times what blocks deviate by, and the two units must lie apart by as much.
_APART = 1.5


class Conversion(NamedTuple):
    """What a sender may have done to a number: ``factor * x + offset``, and how people say it."""

    said: str
    factor: float
    offset: float = 0.0


def _both(of: str, to: str, factor: float, offset: float = 0.0) -> tuple[Conversion, Conversion]:
    back = Conversion(f"{of} instead of {to}", 1 / factor, -offset / factor)
    return Conversion(f"{to} instead of {of}", factor, offset), back


#: Units that are confused in practice; factors by the NIST Guide to the SI, Special Publication 811, appendix B.
CONVERSIONS = (
    *_both("miles", "kilometres", 1.609344),
    *_both("feet", "metres", 0.3048),
    *_both("inches", "centimetres", 2.54),
    *_both("inches", "millimetres", 25.4),
    *_both("pounds", "kilograms", 0.45359237),
    *_both("gallons", "litres", 3.785411784),
    *_both("knots", "metres a second", 0.514444),
    *_both("miles an hour", "metres a second", 0.44704),
    *_both("miles an hour", "knots", 0.868976),
    *_both("millibars", "inches of mercury", 0.0295300),
    *_both("degrees Fahrenheit", "degrees Celsius", 5 / 9, -160 / 9),
    *_both("degrees Celsius", "kelvins", 1.0, 273.15),
    *_both("degrees", "radians", math.pi / 180),
    *_both("hours", "minutes", 60.0),
    *_both("days", "hours", 24.0),
    *_both("percent", "shares", 0.01),
    *_both("units", "thousandths", 1000.0),
    *_both("units", "millionths", 1e6),
)


@dataclass(frozen=True, slots=True)
class ColumnSummary:
    """One column of a block: shares of its rows, and the mean of its numbers (None without any)."""

    missing: float
    mistyped: float
    unseen: float
    mean: float | None


@dataclass(frozen=True, slots=True)
class BlockSummary:
    """What is remembered of a block of rows."""

    name: str
    rows: int
    columns: dict[str, ColumnSummary]

    def to_json(self) -> list[Any]:
        """Return JSON-able values."""
        columns = {name: [each.missing, each.mistyped, each.unseen, each.mean] for name, each in self.columns.items()}
        return [self.name, self.rows, columns]

    @classmethod
    def from_json(cls, fields: Sequence[Any]) -> "BlockSummary":
        """Read what `to_json` gave."""
        name, rows, columns = fields
        return cls(name, rows, {column: ColumnSummary(*each) for column, each in columns.items()})


def summarize(name: str, reference: Profile, counts: Counts) -> BlockSummary:
    """Reduce the counts of a block to what is remembered of it."""
    return BlockSummary(
        name, counts.rows, {column: _summary(reference, column, each) for column, each in counts.columns.items()}
    )


def _summary(reference: Profile, column: str, counts: ColumnCounts) -> ColumnSummary:
    rows, kind = max(1, counts.rows), reference.columns[column].kind
    unseen = counts.bins[-1] / rows if kind == "category" else 0.0
    mean = counts.total / counts.present if kind == "number" and counts.present else None
    return ColumnSummary(counts.missing / rows, counts.mistyped / rows, unseen, mean)


def input_faults(before: Sequence[BlockSummary], block: BlockSummary) -> dict[str, str]:
    """Say by column what a block has that none of the blocks `before` had; empty where there are too few to tell.

    >>> days = [BlockSummary(str(day), 900, {"km": ColumnSummary(0, 0, 0, 800 + day)}) for day in range(14)]
    >>> input_faults(days, BlockSummary("14", 900, {"km": ColumnSummary(0, 0, 0, 500.0)}))
    {'km': '`km` looks as if it came in miles instead of kilometres: its mean is 500, and was 806.5'}
    """
    past = [each for each in before if each.rows >= _LEAST_ROWS]
    if block.rows < _LEAST_ROWS or len(past) < LEAST_BLOCKS:
        return {}
    found = {}
    for column, now in block.columns.items():
        then = [each.columns[column] for each in past if column in each.columns]
        said = (_excess(then, now) or _other_units(then, now)) if len(then) >= LEAST_BLOCKS else ""
        if said:
            found[column] = f"`{column}` {said}"
    return found


def renamed_from(reference: Profile, before: Counts, block: Counts, column: str) -> str:
    """Return the category that is gone from a block in which about as many rows have never seen values; else nothing.

    `before` are the counts of blocks before it.
    """
    profile, then, now = reference.columns[column], before.columns.get(column), block.columns.get(column)
    if profile.kind != "category" or then is None or now is None or not then.rows or not now.rows:
        return ""
    unseen = now.bins[-1] / now.rows - then.bins[-1] / then.rows
    for name, old, new in zip(profile.categories, then.bins, now.bins, strict=False):
        if not new and unseen / 2 <= old / then.rows <= 2 * unseen:
            return name
    return ""


def _excess(then: Sequence[ColumnSummary], now: ColumnSummary) -> str:
    for kind, floor in _FLOORS.items():
        share: float = getattr(now, kind)
        most: float = max(getattr(each, kind) for each in then)
        if share >= most + floor:
            return _SAID[kind].format(share) + f", and in {most:.1%} at most in the {len(then)} blocks before"
    return ""


def _other_units(then: Sequence[ColumnSummary], now: ColumnSummary) -> str:
    means = [each.mean for each in then if each.mean is not None]
    if now.mean is None or len(means) < LEAST_BLOCKS:
        return ""
    middle = sum(means) / len(means)
    reach = max(abs(each - middle) for each in means)
    if abs(now.mean - middle) <= _FAR * reach:
        return ""
    fits = sorted(
        (abs(now.mean - each.factor * middle - each.offset) / abs(each.factor), each.said)
        for each in CONVERSIONS
        # where blocks before and after the conversion could overlap, the weather may have done it
        if abs(each.factor * middle + each.offset - middle) > _APART * reach * (1 + abs(each.factor))
    )
    likely = [said for off, said in fits if off <= max(_APART * reach, 0.01 * abs(middle))]
    if not likely:
        return ""
    return f"looks as if it came in {' or '.join(likely[:2])}: its mean is {now.mean:.4g}, and was {middle:.4g}"
