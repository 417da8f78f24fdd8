"""One question to a table, as `probes` and `distributions` write it and `checks` asks it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mainspring.data.schema import Severity

__all__ = ["Probe", "number_sql"]

_NUMBERS = {
    "string": "TRY_CAST({0} AS DOUBLE)",
    "written": "CASE lower({0}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 ELSE TRY_CAST({0} AS DOUBLE) END",
}


def number_sql(value: str, kind: str) -> str:
    """Return the SQL of a value of `kind` as a number; a text that is none is missing."""
    return _NUMBERS.get(kind, "{0}").format(value)


@dataclass(frozen=True, slots=True)
class Probe:
    """One question to a table.

    `figure` is an SQL aggregate and `judge` turns its value into (count, message), or None when all is well. A rule
    about rows has in `broken` the SQL condition that they meet, and in `shown` the columns to show of them. One about a
    distribution has in `surplus` what makes such a condition of the figure: of the rows there are too many of.
    """

    column: str
    rule: str
    severity: Severity
    figure: str
    judge: Callable[[Any], tuple[int, str] | None]
    broken: str | None = None
    shown: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    surplus: Callable[[Any], str] | None = None

    @property
    def name(self) -> str:
        """What a broken row's reason says: the column and the word of its rule, or the name of a rule over more."""
        return f"{self.column} {self.rule}".strip()

    def condition(self, figure: Any) -> str | None:  # what the engine gave for the figure
        """Return the SQL condition of the rows to look at once the rule is broken, if there are any."""
        return self.surplus(figure) if self.surplus is not None else self.broken
