"""Materializing: what is known of each entity at a moment goes into the online store, by the query that training uses.

Only entities with rows that became known since the last time are computed again. That is right as long as the past is
what it was, which is seen by a sum over it; where rows came late, were changed or taken away, everything is computed
anew. The order of rows of one entity and one time is no part of that sum.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import duckdb

from mainspring.data.table import connect, quoted_name
from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import Conflict, Invalid
from mainspring.features.compiled import Compiled, compile_view, moment_sql, uncomputable
from mainspring.features.forgetting import is_forgotten, marks_in
from mainspring.features.online import OnlineState, OnlineStore
from mainspring.features.packed import encode_key, encode_row
from mainspring.features.view import FeatureView

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["Materialized", "materialize"]

_BATCH = 10_000


class Materialized(NamedTuple):
    """What was done: `written` rows were computed, all anew where `anew` says why, and `state` is what is there now."""

    view: FeatureView
    written: int
    anew: str
    state: OnlineState


def materialize(
    view: FeatureView, source: Path, online: OnlineStore, *, until: datetime, now: datetime, anew: bool = False
) -> Materialized:
    """Bring the online rows of a view up to what was known at `until`.

    `anew` computes every entity again. The rows that are there, and readers of them, are left alone until all is done.
    Entities that were forgotten are left out.

    Raises:
        Invalid: `until` lies in the future, or before the last time and `anew` is not said; or as `compile_view`.
        Conflict: the source, or the online rows, were changed by somebody else meanwhile.
    """
    where = f"view {view.name}"
    if until > now:
        raise Invalid(f"{to_iso(until)} has not come yet", where=where, next_step="nobody knows what will be known")
    states = online.states()
    before = next((each for each in states if (each.view.name, each.version) == (view.name, view.version)), None)
    marks = marks_in(states)
    if before is not None and to_iso(until) < before.until and not anew:
        raise Invalid(
            f"The view is complete until {before.until} already", where=where, next_step="say --anew to go back"
        )
    stamp = _stamp(source)
    with connect() as connection:
        compiled = compile_view(view, connection, source)
        past, rows, digest = _sums(compiled, connection, before, until)
        why = "asked for" if anew else "first time" if before is None else past
        among = "" if why or before is None else compiled.keys_sql(since=from_iso(before.until), until=until)
        state = OnlineState(
            definition=view.to_json() | {"source": str(source.absolute() if view.source_file else view.source)},
            version=view.version,
            until=to_iso(until),
            written_at=to_iso(now),
            key_kinds=list(compiled.key_kinds),
            kinds=list(compiled.kinds),
            rows=rows,
            digest=digest,
            entities=0,
            forgotten=sorted(marks),
        )
        written = 0

        def packed() -> Iterator[tuple[bytes, bytes]]:
            nonlocal written
            for each in _packed(compiled, connection, among, until, marks):
                written += 1
                yield each
            if _stamp(source) != stamp:  # told before the store has taken the rows for good
                raise Conflict(f"`{source.name}` was changed while it was read", where=where, next_step="run it again")
            if marks_in(online.states()) != marks:
                raise Conflict("Others forgot an entity meanwhile", where=where, next_step="run it again")

        state = online.write(state, packed(), after=before, replace=bool(why))
    return Materialized(view, written, why, state)


def _sums(
    compiled: Compiled, connection: "DuckDBPyConnection", before: OnlineState | None, until: datetime
) -> tuple[str, int, str]:
    """Return why the past is not what it was (or nothing), and the number and the sum of the rows known by `until`."""
    view = compiled.view
    hashed = ", ".join(quoted_name(name) for name in compiled.columns)
    known = f"{moment_sql(until - view.delay)} >= t"
    then = "false" if before is None else f"{moment_sql(from_iso(before.until) - view.delay)} >= t"
    sql = (
        f"SELECT count(*) FILTER ({then}), sum(h) FILTER ({then}), count(*) FILTER ({known}), sum(h) FILTER ({known})"
        f" FROM (SELECT CAST(hash({hashed}) AS HUGEINT) AS h, CAST({quoted_name(view.time)} AS TIMESTAMP) AS t"
        f" FROM {compiled.scan})"
    )
    try:
        n_then, sum_then, n_now, sum_now = connection.execute(sql).fetchall()[0]
    except duckdb.Error as error:
        raise uncomputable(error, f"view {view.name}") from None
    if before is None:
        return "", n_now, str(sum_now)
    if before.kinds != list(compiled.kinds) or before.key_kinds != list(compiled.key_kinds):
        return "types changed", n_now, str(sum_now)
    changed = (n_then, str(sum_then)) != (before.rows, before.digest)
    return "the past was changed" if changed else "", n_now, str(sum_now)


def _packed(
    compiled: Compiled, connection: "DuckDBPyConnection", among: str, until: datetime, marks: Collection[str]
) -> Iterator[tuple[bytes, bytes]]:
    n_keys = len(compiled.keys)
    shown = [*compiled.keys, "epoch_us(t)"]
    shown += [f"epoch_us(f{at})" if kind == "timestamp" else f"f{at}" for at, kind in enumerate(compiled.kinds)]
    rows = compiled.newest_sql(until=until, among=among)
    try:
        answer = connection.execute(f"SELECT {', '.join(shown)} FROM ({rows})")
        while batch := answer.fetchmany(_BATCH):
            for row in batch:
                if marks and is_forgotten(compiled.view.keys, row[:n_keys], marks):
                    continue
                key = encode_key(row[:n_keys], compiled.key_kinds)
                yield key, encode_row(row[n_keys], row[n_keys + 1 :])
    except duckdb.Error as error:
        raise uncomputable(error, f"view {compiled.view.name}") from None


def _stamp(source: Path) -> tuple[int, ...]:
    try:
        seen = source.stat()
    except FileNotFoundError:
        return ()  # told by whoever reads it
    return seen.st_size, seen.st_mtime_ns, seen.st_ino
