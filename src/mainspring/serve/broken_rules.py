"""What follows for a request with rows that break row rules of the model: it is refused, or answered and flagged.

`bundle.row_rules` says which rows break what; here that is told in the client's words. A rule that stops refuses the
whole request, as a value of the wrong type does; of a rule that sets aside or warns, the row is answered, and told.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from mainspring.bundle.row_rules import Broken, RowRule
from mainspring.errors import Invalid, nearest
from mainspring.serve._column import shown
from mainspring.serve.decode import MOST_PLACES
from mainspring.serve.problems import Place, RulesBroken
from mainspring.serve.wire import Warn

__all__ = ["BROKEN_RULE", "RowRulesUse", "check_use", "refusal", "rule_warnings"]

#: What a server does with row rules: what they say; let every row through, and flag it; or never ask them.
RowRulesUse = Literal["obey", "flag", "off"]
BROKEN_RULE: Literal["broken_rule"] = "broken_rule"

_Values = Sequence[Sequence[object]]  # column by column, in the order of the signature
_Where = Callable[[str, int], str]


def check_use(use: str) -> RowRulesUse:
    """Return `use` if it is one.

    Raises:
        Invalid: it is none.
    """
    for known in get_args(RowRulesUse):
        if use == known:
            return known  # type: ignore[no-any-return]  # one of its own words
    raise Invalid(f"`{use}` is nothing to do with rules", where="--row-rules", next_step=nearest(use, ["obey", "flag"]))


def refusal(broken: Broken, first: int, end: int, names: Sequence[str], values: _Values, where: _Where) -> RulesBroken:
    """Return the error for the request whose rows are `first` to `end` of the batch that `broken` and `values` tell."""
    found: list[tuple[int, Place]] = []
    counts: Counter[str] = Counter()
    for rule, mask in broken.found:
        if rule.severity == "stop":
            rows = np.flatnonzero(mask[first:end]).tolist()
            if rows:
                counts[rule.name] = len(rows)
            found += [
                (row, Place(where(rule.columns[0], row), _said(rule, first + row, names, values)))
                for row in rows[:MOST_PLACES]
            ]
    ordered = sorted(found, key=lambda each: each[0])[:MOST_PLACES]
    return RulesBroken(tuple(place for _, place in ordered), counts)


def rule_warnings(
    broken: Broken, names: Sequence[str], values: _Values, where: _Where, most: int = MOST_PLACES
) -> tuple[list[Warn], Counter[tuple[str, str]]]:
    """Return warnings for what the rows of one request break, and how many rows by the rule's name and severity."""
    listed: list[Warn] = []
    counts: Counter[tuple[str, str]] = Counter()
    for rule, mask in broken.found:
        rows = np.flatnonzero(mask).tolist()
        counts[rule.name, rule.severity] = len(rows)
        listed += [
            Warn(BROKEN_RULE, where(rule.columns[0], row), _said(rule, row, names, values))
            for row in rows[: most - len(listed)]
        ]
    return listed, counts


def _said(rule: RowRule, row: int, names: Sequence[str], values: _Values) -> str:
    found = ", ".join(f"`{name}` is {shown(values[names.index(name)][row])}" for name in rule.columns)
    return f"{found}: {rule.said} (rule `{rule.name}` of the model's schema)"
