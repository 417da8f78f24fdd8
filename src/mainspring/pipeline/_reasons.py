"""Why a step runs: the difference between what its result would be made of now and what earlier ones were made of."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mainspring.domain.ids import RunId
from mainspring.pipeline._preview import Span, first_difference, lines_of
from mainspring.pipeline.fingerprint import Part

__all__ = ["FIRST_RUN", "REBOUND", "Change", "differences", "said", "why_it_runs", "with_lines"]

FIRST_RUN = "first run"
REBOUND = "the names in its code are bound to other things"

_MOST = 3


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: of which kind of thing (see `Part`), which, where it stands, and what it was and is.

    `old` and `new` are short values, versions or lines of code; both are empty where there is nothing short to show.
    """

    kind: str
    name: str
    what: Literal["changed", "new", "gone"]
    where: str = ""
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        words = {"code": "code of", "value": "value of", "wrapper": "wrapper", "python": "version of"}
        named = f"{words.get(self.kind, self.kind)} `{self.name}`"
        if self.what != "changed":
            return f"{named} is new" if self.what == "new" else f"{named} is no longer used"
        if self.kind in ("package", "python"):
            return f"{named} changed from {self.old} to {self.new}"
        place = f" ({self.where})" if self.where else ""
        return f"{named} changed{place}{self._shown()}"

    def _shown(self) -> str:
        if not self.old and not self.new:
            return ""
        if self.kind == "code":
            return f": `{self.old}` -> `{self.new}`" if self.old and self.new else f": `{self.new or self.old}`"
        return f": {self.old or '...'} -> {self.new or '...'}"


def why_it_runs(parts: Sequence[Part], earlier: Iterable[tuple[RunId, Sequence[Part]]]) -> str:
    """Say in words how `parts` differ from the nearest of the earlier results' parts.

    >>> why_it_runs([Part("argument", "c", "1")], [(RunId("r"), [Part("argument", "c", "2")])])
    'argument `c` changed'
    """
    found = [differences(parts, former) for _, former in earlier]
    return said(min(found, key=len)) if found else FIRST_RUN


def said(changes: Sequence[Change]) -> str:
    """Return the first changes as one line."""
    if not changes:
        return REBOUND
    more = f" and {len(changes) - _MOST} more" if len(changes) > _MOST else ""
    return "; ".join(str(each) for each in changes[:_MOST]) + more


def differences(parts: Sequence[Part], former: Sequence[Part]) -> list[Change]:
    """Return what is another, new or gone in `parts` against `former`."""
    now = {(part.kind, part.name): part for part in parts}
    then = {(part.kind, part.name): part for part in former}
    found = [_changed(part, then[key]) for key, part in now.items() if key in then and then[key].digest != part.digest]
    found += [Change(part.kind, part.name, "new", part.where) for key, part in now.items() if key not in then]
    found += [Change(part.kind, part.name, "gone", part.where) for key, part in then.items() if key not in now]
    return found


def with_lines(
    change: Change,
    parts: Sequence[Part],
    former: Sequence[Part],
    spans: Mapping[str, Span],
    text_of: Callable[[str], str],
) -> Change:
    """Show a change of code by the line it begins on; `text_of` gives the text a function had, by its digest."""
    if change.kind != "code" or change.what != "changed":
        return change
    new = next(each.digest for each in parts if (each.kind, each.name) == ("code", change.name))
    old = next(each.digest for each in former if (each.kind, each.name) == ("code", change.name))
    span, text = spans.get(new), text_of(old)
    if span is None or not text:
        return change
    found = first_difference(text, lines_of(span))
    if found is None:
        return change
    place = f"{change.where.rpartition(':')[0]}:{span.first + found.line - 1}"
    return replace(change, where=place, old=found.old, new=found.new)


def _changed(part: Part, former: Part) -> Change:
    if part.kind in ("package", "python"):
        return Change(part.kind, part.name, "changed", "", former.where, part.where)
    return Change(part.kind, part.name, "changed", part.where, former.preview, part.preview)
