"""A feature view: what is known of an entity at a moment, said once in SQL over the rows of a source.

The value of a feature for an entity at a moment T is its expression at the newest source row of the entity with
``time + delay <= T``, and missing when there is none or its `time` is longer than `ttl` ago. An expression sees its row
and the rows of the same entity before it, through named windows only, so it cannot see the future. This module holds
the words and their rules; `compiled` turns them into the one query that training and serving both use.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from mainspring.domain.moments import parse_duration
from mainspring.errors import Corrupt, Invalid

__all__ = ["HISTORY", "FeatureView"]

#: The window every view has: the row and all rows of its entity before it, in order of time.
HISTORY = "history"
#: What the words mean. A change of meaning gets a new number, so that no version names two meanings.
_MEANING = 1
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True, init=False)
class FeatureView:
    """Features of an entity over time.

    >>> stats = FeatureView(
    ...     "driver_stats",
    ...     source="trips.parquet",
    ...     keys="driver_id",
    ...     time="ended_at",
    ...     delay="1h",
    ...     windows={"week": "7d"},
    ...     features={"last_fare": "fare", "trips_week": "count(*) OVER week"},
    ... )
    >>> stats.names
    ('last_fare', 'trips_week')
    """

    name: str
    source: str | Path
    keys: tuple[str, ...]
    time: str
    features: Mapping[str, str]
    windows: Mapping[str, timedelta | int]
    delay: timedelta
    ttl: timedelta | None

    def __init__(
        self,
        name: str,
        *,
        source: str | Path,
        keys: str | Sequence[str],
        time: str,
        features: Mapping[str, str],
        windows: Mapping[str, str | timedelta | int] | None = None,
        delay: str | timedelta = "0",
        ttl: str | timedelta | None = None,
    ) -> None:
        """Declare a view.

        `source` is a file of rows, or a dataset: ``trips`` (the newest version), ``trips/3``, ``trips@gold``. `keys`
        are the columns that name the entity (whole numbers or text), `time` the column that says when a row happened.
        `features` maps names to DuckDB expressions over the source's columns. `windows` maps names to how far back a
        window looks: ``"7d"`` is the time from seven days before the row up to it, both ends included, and ``20`` the
        row and the 19 before it; ``history``, all rows so far, is there anyway. `delay` is how long after its time a
        row is known, `ttl` how old a row may be and still be believed.

        Raises:
            Invalid: a name is unfit or stands twice, there is no key or no feature, or a duration is out of range.
        """
        where = f"FeatureView({name!r})"
        _check_name(name, where, "a view")
        listed = (keys,) if isinstance(keys, str) else tuple(keys)
        if not listed or len(set(listed)) < len(listed):
            raise Invalid(f"A view needs keys, each once, not {listed}", where=where, next_step='such as keys="id"')
        if not features:
            raise Invalid("A view needs a feature", where=where, next_step='such as features={"fare": "fare"}')
        taken = {each.lower() for each in (*listed, time)}
        for each in features:
            _check_name(each, f"{where} features", "a feature")
            if each.lower() in taken:
                raise Invalid(
                    f"`{each}` names a key, the time, or another feature already",
                    where=f"{where} features",
                    next_step="choose another name",
                )
            taken.add(each.lower())
        values: dict[str, Any] = {
            "name": name,
            "source": source,
            "keys": listed,
            "time": time,
            "features": {each: text.strip() for each, text in features.items()},
            "windows": {each: _reach(each, wanted, where) for each, wanted in (windows or {}).items()},
            "delay": _duration(delay, f"{where} delay", least=timedelta(0)),
            "ttl": None if ttl is None else _duration(ttl, f"{where} ttl", least=timedelta(microseconds=1)),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    @property
    def names(self) -> tuple[str, ...]:
        """The features, in the order of their declaration."""
        return tuple(self.features)

    @property
    def version(self) -> str:
        """The hash of everything that decides a value, 32 hex digits; where the rows lie does not belong to it."""
        said = self.to_json()
        del said["source"], said["name"]
        return hashlib.sha256(json.dumps([_MEANING, said]).encode()).hexdigest()[:32]

    @property
    def source_file(self) -> Path | None:
        """The file of the source; None where it is a dataset, which has no ending."""
        path = Path(self.source)
        return path if isinstance(self.source, Path) or path.suffix else None

    @property
    def reference(self) -> str:
        """How people write it: the name and the start of the version."""
        return f"{self.name}/{self.version[:12]}"

    def to_json(self) -> dict[str, Any]:
        """Return the definition as JSON holds it; durations are in microseconds."""
        return {
            "name": self.name,
            "source": str(self.source),
            "keys": list(self.keys),
            "time": self.time,
            "features": dict(self.features),
            "windows": {
                each: {"rows": wanted} if isinstance(wanted, int) else {"microseconds": _microseconds(wanted)}
                for each, wanted in self.windows.items()
            },
            "delay_microseconds": _microseconds(self.delay),
            "ttl_microseconds": None if self.ttl is None else _microseconds(self.ttl),
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> "FeatureView":
        """Return the view that `to_json` told of.

        Raises:
            Corrupt: it is no such definition.
        """
        try:
            ttl = said["ttl_microseconds"]
            return cls(
                said["name"],
                source=said["source"],
                keys=said["keys"],
                time=said["time"],
                features=said["features"],
                windows={
                    each: wanted["rows"] if "rows" in wanted else timedelta(microseconds=wanted["microseconds"])
                    for each, wanted in said["windows"].items()
                },
                delay=timedelta(microseconds=said["delay_microseconds"]),
                ttl=None if ttl is None else timedelta(microseconds=ttl),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"This is no definition of a feature view: {error!r}") from error


def _check_name(name: str, where: str, what: str) -> None:
    if not _NAME.fullmatch(name):
        raise Invalid(
            f"`{name}` cannot name {what}", where=where, next_step="use up to 63 letters, digits and _, a letter first"
        )


def _reach(name: str, wanted: str | timedelta | int, where: str) -> timedelta | int:
    _check_name(name, f"{where} windows", "a window")
    if name.lower() == HISTORY:
        raise Invalid(f"The window `{HISTORY}` is there anyway", where=f"{where} windows", next_step="leave it out")
    if isinstance(wanted, int):
        if isinstance(wanted, bool) or wanted < 1:
            raise Invalid(f"A window of {wanted} rows is none", where=f"{where} windows", next_step="give 1 or more")
        return wanted
    return _duration(wanted, f"{where} windows[{name!r}]", least=timedelta(microseconds=1))


def _duration(wanted: str | timedelta, where: str, *, least: timedelta) -> timedelta:
    found = wanted
    if isinstance(found, str):
        found = timedelta(0) if re.fullmatch(r"0+(ms|s|m|h|d|w)?", found) else parse_duration(found)
    if found < least:
        raise Invalid(f"{found} is too short, or sees the future", where=where, next_step="give more")
    return found


def _microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
