"""Why a step runs: the difference between what its result would be made of now and what earlier ones were made of."""

from collections.abc import Iterable, Sequence

from mainspring.domain.ids import RunId
from mainspring.pipeline.fingerprint import Part

__all__ = ["why_it_runs"]

_MOST = 3


def why_it_runs(parts: Sequence[Part], earlier: Iterable[tuple[RunId, Sequence[Part]]]) -> str:
    """Say in words how `parts` differ from the nearest of the earlier results' parts.

    >>> why_it_runs([Part("argument", "c", "1")], [(RunId("r"), [Part("argument", "c", "2")])])
    'argument `c` changed'
    """
    nearest: list[str] | None = None
    for _, former in earlier:
        differences = _differences(parts, former)
        if nearest is None or len(differences) < len(nearest):
            nearest = differences
    if nearest is None:
        return "first run"
    if not nearest:
        return "the names in its code are bound to other things"
    more = f" and {len(nearest) - _MOST} more" if len(nearest) > _MOST else ""
    return "; ".join(nearest[:_MOST]) + more


def _differences(parts: Sequence[Part], former: Sequence[Part]) -> list[str]:
    now = {(part.kind, part.name): part for part in parts}
    then = {(part.kind, part.name): part for part in former}
    found = [_changed(part, then[key]) for key, part in now.items() if key in then and then[key].digest != part.digest]
    found += [f"{_named(part)} is new" for key, part in now.items() if key not in then]
    found += [f"{_named(part)} is no longer used" for key, part in then.items() if key not in now]
    return found


def _changed(part: Part, former: Part) -> str:
    if part.kind in ("package", "python"):
        return f"{_named(part)} changed from {former.where} to {part.where}"
    place = f" ({part.where})" if part.where else ""
    return f"{_named(part)} changed{place}"


def _named(part: Part) -> str:
    words = {"code": "code of", "value": "value of", "wrapper": "wrapper", "python": "version of"}
    return f"{words.get(part.kind, part.kind)} `{part.name}`"
