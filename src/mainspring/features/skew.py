"""Skew: are the features that were served those that training would compute for the same moment?

Each logged look-up is computed again from the source, by the same version of the view, as of the moment it was made. A
value that was served and is not what comes out is told: as `stale` when it is right as of the moment until which the
online store was complete (materialize more often), as `skewed` when it is not right then either (rows that came late or
were changed, or a store that was written by other means).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, connect, fetch_columns, n_rows, quoted_name
from mainspring.domain.moments import from_iso
from mainspring.errors import NotFound
from mainspring.features.joining import join_sql
from mainspring.features.online import OnlineStore
from mainspring.features.view import FeatureView
from mainspring.predictions.log import PredictionLog
from mainspring.predictions.records import FeatureLookup, decode_lookups
from mainspring.predictions.segments import FEATURE

__all__ = ["Skew", "SkewReport", "check_skew", "logged_views"]

#: Sums of floating-point numbers hang on the order of adding; what differs by less is the same.
_RELATIVE = 1e-9
#: A name that no feature can have.
_MOMENT = "looked up at"
_ROW_TIME = "time_of_the_row"


@dataclass(frozen=True, slots=True)
class Skew:
    """One value that was served and is not what comes out now."""

    kind: Literal["stale", "skewed"]
    prediction_id: str
    view: str
    feature: str
    keys: Mapping[str, object]
    at: str
    until: str
    served: object
    computed: object


class SkewReport(NamedTuple):
    """`rows` predictions with `values` looked-up values; of the `unchecked` rows the log did not take the keys."""

    rows: int
    values: int
    unchecked: int
    found: list[Skew]

    @property
    def skewed(self) -> list[Skew]:
        """The values that are not merely stale."""
        return [each for each in self.found if each.kind == "skewed"]


class _Looked(NamedTuple):
    """One look-up of one prediction; `row` is its place in what was read from the log."""

    row: int
    lookup: FeatureLookup


def logged_views(logged: Columns, online: OnlineStore) -> dict[tuple[str, str], FeatureView]:
    """Return the views that were looked up, by name and version.

    Raises:
        NotFound: the online store does not know one any more, and with it nobody knows its definition.
    """
    views = {}
    for name, version in {(name, each.version) for row in _lookups(logged) for name, each in row.items()}:
        state = online.state(name, version)
        if state is None:
            raise NotFound(
                f"The view `{name}/{version[:12]}` is not in the online store any more",
                where="features skew",
                next_step="check predictions of newer versions, or materialize that definition anew",
            )
        views[name, version] = state.view
    return views


def check_skew(
    log: PredictionLog,
    model: str,
    online: OnlineStore,
    sources: Mapping[tuple[str, str], Path] | None = None,
    *,
    since: datetime,
    until: datetime,
    most: int = 100_000,
) -> SkewReport:
    """Compute the newest `most` predictions' looked-up features again and compare them with what was served.

    `sources` are files of views by name and version, where they are not the views' own.

    Raises:
        NotFound: no prediction of `model` in [since, until) had features looked up, or a view is gone.
    """
    logged = log.looked_up(model, since=since, until=until, most=most)
    if not n_rows(logged):
        raise NotFound(
            f"No prediction of `{model}` had features looked up",
            where="features skew",
            next_step=f"mainspring serve {model} --view NAME, or look further back with --since",
        )
    report = SkewReport(n_rows(logged), 0, 0, [])
    lookups = _lookups(logged)
    unchecked: set[int] = set()
    for (name, version), view in sorted(logged_views(logged, online).items()):
        every = [_Looked(at, row[name]) for at, row in enumerate(lookups) if name in row]
        every = [each for each in every if each.lookup.version == version]
        looked = [each for each in every if each.lookup.keys.keys() == set(view.keys)]
        unchecked |= {each.row for each in every} - {each.row for each in looked}
        source = (sources or {}).get((name, version))
        found, values = _compare(view, source, looked, logged)
        report = report._replace(values=report.values + values, found=report.found + found)
    return report._replace(unchecked=len(unchecked))


def _lookups(logged: Columns) -> list[dict[str, FeatureLookup]]:
    return [decode_lookups(text) for text in logged.get("lookups", ())]


def _compare(view: FeatureView, source: Path | None, looked: list[_Looked], logged: Columns) -> tuple[list[Skew], int]:
    names = [name for name in view.names if FEATURE + name in logged]
    if not looked or not names:
        return [], 0
    rows = np.array([each.row for each in looked], dtype=np.int64)
    served = {name: logged[FEATURE + name][rows] for name in names}
    computed = _computed(view, source, looked, as_of=lambda lookup: lookup.at)
    apart = {name: ~_same(served[name], computed[name]) for name in names}
    wrong = np.flatnonzero(np.any(list(apart.values()), axis=0))
    if not wrong.size:
        return [], len(looked) * len(names)
    before = _computed(view, source, [looked[at] for at in wrong], as_of=lambda lookup: lookup.until)
    found = []
    for place, at in enumerate(wrong):
        lookup = looked[at].lookup
        for name in names:
            if apart[name][at]:
                then = _same(served[name][at : at + 1], before[name][place : place + 1])[0]
                found.append(
                    Skew("stale" if then else "skewed", str(logged["id"][rows[at]]), view.reference, name, lookup.keys,
                         lookup.at, lookup.until, _plain(served[name][at]), _plain(computed[name][at]))
                )  # fmt: skip
    return found, len(looked) * len(names)


def _computed(view: FeatureView, source: Path | None, looked: list[_Looked], *, as_of: Any) -> Columns:
    """Return the features of each look-up as of a moment of it; what is believed is settled by when it was made."""
    said = view.to_json()
    said["features"] = {**said["features"], _ROW_TIME: quoted_name(view.time)}
    said["ttl_microseconds"] = None
    lasting = FeatureView.from_json(said)
    entities: dict[str, NDArray[Any]] = {}
    for key in view.keys:
        values = [each.lookup.keys[key] for each in looked]
        whole = all(isinstance(value, int | float) for value in values)
        entities[key] = np.array(values, dtype=np.int64 if whole else object)
    entities[_MOMENT] = _moments([as_of(each.lookup) for each in looked])
    types = {name: {"i": "BIGINT", "O": "VARCHAR", "M": "TIMESTAMP"}[a.dtype.kind] for name, a in entities.items()}
    with connect() as connection:
        connection.register("entities", entities)
        sources = {} if source is None else {view.name: source}
        found = fetch_columns(connection, join_sql(connection, "entities", types, [lasting], _MOMENT, sources))
    if view.ttl is None:
        return found
    oldest = _moments([each.lookup.at for each in looked]) - np.timedelta64(view.ttl // timedelta(microseconds=1), "us")
    believed = found[_ROW_TIME] >= oldest  # a comparison with a missing moment is false
    missing: dict[str, Any] = {"M": np.datetime64("NaT", "us"), "O": None}
    return {
        name: np.where(believed, array, missing.get(array.dtype.kind, np.nan)) if name in view.features else array
        for name, array in found.items()
    }


def _moments(texts: list[str]) -> NDArray[Any]:
    return np.array([from_iso(text).replace(tzinfo=None) for text in texts], dtype="datetime64[us]")


def _same(served: NDArray[Any], computed: NDArray[Any]) -> NDArray[np.bool_]:
    if served.dtype.kind == computed.dtype.kind == "f":
        return np.asarray(np.isclose(served, computed, rtol=_RELATIVE, atol=0.0, equal_nan=True))
    if served.dtype.kind == computed.dtype.kind == "M":
        return np.asarray((served == computed) | (np.isnat(served) & np.isnat(computed)))
    return np.array([_plain(one) == _plain(other) for one, other in zip(served, computed, strict=True)], dtype=bool)


def _plain(value: Any) -> object:  # a value of a column: a number, a text or a moment
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else f"{value}Z"
    if isinstance(value, float) and math.isnan(value):
        return None
    return value.item() if isinstance(value, np.generic) else value
