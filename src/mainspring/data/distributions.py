"""Rules about distributions: how far a table lies from the one of the rule, and of which rows it has too many.

Texts and other few values are compared by total variation distance, half the sum of the differences of the shares;
numbers by Kolmogorov's distance at the numbers of the rule, the largest difference of the shares at most there.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from mainspring.data.probe import Probe, number_sql
from mainspring.data.schema import Rule
from mainspring.data.table import quoted_text
from mainspring.errors import Invalid

__all__ = ["distribution_probe"]


def distribution_probe(rule: Rule, value: str, kind: str) -> Probe:
    """Return what a rule of kind `shares` or `spread` asks of a column, which is `value` as SQL and of `kind`.

    Raises:
        Invalid: a spread is asked of a column that holds no numbers.
    """
    if rule.kind == "spread":
        return _spread(rule, value, kind)
    text = f"CASE WHEN {value} = floor({value}) THEN format('{{:.0f}}', {value}) ELSE CAST({value} AS VARCHAR) END"
    key = text if kind == "number" else f"CAST({value} AS VARCHAR)"

    def surplus(counts: Any) -> str:  # the engine's map of values to counts
        gaps = _gaps(_shares(counts), rule.shares)
        return f"{key} = {quoted_text(max(sorted(gaps), key=lambda name: gaps[name]))}"

    return Probe(
        "", rule.name, rule.severity, f"histogram({key})", lambda counts: _differs(_shares(counts), rule),
        shown=rule.columns, surplus=surplus,
    )  # fmt: skip


def _shares(counts: Mapping[str, int] | None) -> dict[str, float]:
    total = sum((counts or {}).values())
    return {name: count / total for name, count in (counts or {}).items()}


def _gaps(seen: Mapping[str, float], told: Mapping[str, float]) -> dict[str, float]:
    return {name: seen.get(name, 0.0) - told.get(name, 0.0) for name in {*seen, *told}}


def _differs(seen: Mapping[str, float], rule: Rule) -> tuple[int, str] | None:
    gaps = _gaps(seen, rule.shares)
    distance = sum(abs(gap) for gap in gaps.values()) / 2
    if distance <= rule.most:
        return None
    widest = max(sorted(gaps), key=lambda name: abs(gaps[name]))
    said = f"`{widest}` has {seen.get(widest, 0):.1%} where {rule.shares.get(widest, 0):.1%} were"
    return 1, f"{rule.columns[0]} is distributed otherwise: distance {distance:.3f}, at most {rule.most:g}; {said}"


def _spread(rule: Rule, value: str, kind: str) -> Probe:
    name = rule.columns[0]
    if kind == "timestamp":
        said = f"`{name}` is a {kind} where a spread wants numbers"
        raise Invalid(said, where=f"rules.{rule.name}", next_step="use a table rule over moments")
    written, value = value, number_sql(value, kind)
    points = sorted((float(number), share) for number, share in rule.shares.items())
    bounds = [f"CAST('{number!r}' AS DOUBLE)" for number, _ in points]
    counted = ", ".join(f"count_if({value} <= {bound})" for bound in bounds)

    def at_most(counts: list[int]) -> list[float]:
        *below, total, _ = counts
        return [(count or 0) / total for count in below] if total else [share for _, share in points]

    def judge(counts: Any) -> tuple[int, str] | None:  # the engine's list of counts
        if counts[-1] and not counts[-2]:
            return counts[-1], f"{name} holds no numbers where a spread wants them"
        seen = at_most(counts)
        gaps = [abs(one - share) for one, (_, share) in zip(seen, points, strict=True)]
        widest = max(range(len(gaps)), key=gaps.__getitem__)
        if gaps[widest] <= rule.most:
            return None
        number, share = points[widest]
        said = f"{seen[widest]:.1%} are at most {number:g} where {share:.1%} were"
        return 1, f"{name} is distributed otherwise: distance {gaps[widest]:.3f}, at most {rule.most:g}; {said}"

    def surplus(counts: Any) -> str:  # of the stretches between the numbers the one that has most too many
        seen = pairwise([0.0, *at_most(counts), 1.0])
        told = pairwise([0.0, *(share for _, share in points), 1.0])
        gaps = [b - a - (d - c) for (a, b), (c, d) in zip(seen, told, strict=True)]
        most = max(range(len(gaps)), key=gaps.__getitem__)
        ends = ([f"{value} > {bounds[most - 1]}"] if most else []) + (
            [f"{value} <= {bounds[most]}"] if most < len(bounds) else []
        )
        return " AND ".join(ends)

    return Probe(
        "",
        rule.name,
        rule.severity,
        f"[{counted}, count({value}), count({written})]",
        judge,
        shown=rule.columns,
        surplus=surplus,
    )
