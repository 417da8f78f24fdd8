"""What of the answers goes into the prediction log: all of it, unless it is told otherwise.

A share of the requests, chosen by their ids, so that a shadow and the answer beside it are kept together or not at all;
and every column but those that are redacted. The metrics count all traffic in any case.
"""

from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from mainspring.errors import Invalid, nearest
from mainspring.predictions.records import FeatureLookup
from mainspring.serve.asking import Ask

__all__ = ["Keeping"]

#: The last digits of an id are random (RFC 9562, section 5.7).
_DIGITS = 8


class Keeping:
    """Says which requests are written down, and which of their columns."""

    def __init__(self, share: float = 1.0, redacted: Collection[str] = ()) -> None:
        """`share` of the requests are kept, from 0 to 1; `redacted` are columns, of any model, that are not."""
        self._limit = round(share * 16**_DIGITS)
        self._redacted = frozenset(redacted)
        self.keeps_all = share == 1

    def check(self, known: Collection[str]) -> None:
        """Check that each redacted column is one of the `known` ones: a misspelt one would be written down.

        Raises:
            Invalid: one is not.
        """
        for name in sorted(self._redacted.difference(known)):
            raise Invalid(f"No model here has a column `{name}`", where="--redact", next_step=nearest(name, known))

    def keeps(self, ask: Ask) -> bool:
        """Whether a request is written down; its ids are there by now."""
        return self.keeps_all or int(ask.ids[0][-_DIGITS:], 16) < self._limit

    def columns(self, names: Collection[str], values: Collection[Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the columns that are written down, and the names of those that are not."""
        columns = dict(zip(names, values, strict=True))
        redacted = [name for name in columns if name in self._redacted]
        for name in redacted:
            del columns[name]
        return columns, redacted

    def lookups(self, lookups: Sequence[dict[str, FeatureLookup]]) -> list[dict[str, FeatureLookup]]:
        """Return what was looked up for rows without the keys that are not written down."""
        if not any(lookups):
            return []
        if not self._redacted:
            return list(lookups)
        return [{view: self._without(each) for view, each in row.items()} for row in lookups]

    def _without(self, lookup: FeatureLookup) -> FeatureLookup:
        kept = {name: value for name, value in lookup.keys.items() if name not in self._redacted}
        return msgspec.structs.replace(lookup, keys=kept)
