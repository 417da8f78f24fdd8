"""Questions to the sealed prediction log: one prediction by its id, and predictions joined with labels that came late.

Everything is read from Parquet by DuckDB, pruned by the spans of times and ids that the segments' table keeps; nothing
is loaded that is not asked. Segments may be merged while a question is put together: then it is put once more.

Answers of a shadow, which nobody was given, are left out of everything but a question for the route ``shadow``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import duckdb
import numpy as np
from numpy.typing import NDArray

from mainspring.data.profile import Counts, Profile, merge
from mainspring.data.table import Columns, connect, fetch_columns, n_rows
from mainspring.domain.ids import PredictionId
from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import Corrupt, NotFound
from mainspring.predictions._files import scan_of
from mainspring.predictions.counts import HOUR, count_hours, hourly_of, merge_hourly
from mainspring.predictions.records import FeatureLookup, decode_lookups
from mainspring.predictions.segments import FEATURE, Segment, features_of, segments
from mainspring.store.protocol import Store

__all__ = ["LoggedPrediction", "PredictionLog", "features_of", "once", "scores_of"]

T = TypeVar("T")
#: How often a question is put anew because its segments were merged meanwhile; merging twice within one is rare.
_TRIES = 4
#: No labels, as a table.
_NONE = "(SELECT '' AS id, '' AS label, '' AS \"at\", '' AS sealed, '' AS source WHERE false)"
#: Labels that say something of all predictions. Those of a review say it where the prediction was in its sample; where
#: it was chosen for its doubt they would make every estimate worse than the truth.
_FAIR = "(source IS NULL OR NOT starts_with(source, 'review:') OR starts_with(source, 'review:sampled:'))"


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """One answered row: what was asked, what was answered, by which version, and the label if it came.

    `lookups` says by the names of views which of the features were not sent but looked up.
    """

    prediction_id: PredictionId
    model: str
    version: int
    route: str
    at: str
    received_at: str
    request_id: str | None
    features: dict[str, object]
    score: float | list[float]
    latency_ms: float
    label: str | None
    labelled_at: str | None
    lookups: dict[str, FeatureLookup]


class PredictionLog:
    """The sealed log of one workspace; `folder` holds the segments that `store` lists."""

    def __init__(self, store: Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def find(self, prediction_id: str) -> LoggedPrediction:
        """Return one prediction with everything that is known of it.

        Raises:
            NotFound: no sealed prediction has this id.
        """
        found = self._steady(lambda: self._find(prediction_id))
        if found is None:
            raise NotFound(
                f"The log holds no prediction `{prediction_id}`",
                next_step="check the id in the answer; a prediction of the last seconds is sealed at the next look",
            )
        return found

    def newest(self) -> PredictionId:
        """Return the id of the newest sealed prediction.

        Raises:
            NotFound: nothing was predicted yet.
        """
        rows = self._store.read("SELECT max(last_id) FROM log_segments WHERE kind = 'predictions'")
        if not rows or rows[0][0] is None:
            raise NotFound("The log holds no predictions yet", next_step="serve a model: mainspring serve NAME")
        return PredictionId(rows[0][0])

    def labelled(
        self,
        model: str,
        *,
        labelled_from: datetime,
        labelled_until: datetime,
        version: int | None = None,
        route: str | None = None,
        chosen: bool = False,
    ) -> Columns:
        """Return the predictions whose first label arrived in [labelled_from, labelled_until), oldest first.

        Labels of predictions that people chose for their doubt are left out, unless the `chosen` are wanted too: to
        train on, never to measure by.

        Columns: id, at, labelled_at (moments), label (text), version, route, request_id, score or score_0...,
        and the features under their ``x_`` names. `label` is the newest that came before `labelled_until`, and
        `labelled_at` when the first one came: so in spans laid end to end each prediction is counted once.
        """
        since, until = to_iso(labelled_from), to_iso(labelled_until)

        def look() -> Columns:
            new = segments(self._store, model, "labels", since=since, until=until)
            if not new:
                return {}
            # ids, and not times, say where a label's prediction can be: it may have been made at any time before
            ids = min(each.first_id for each in new), max(each.last_id for each in new)
            labels = segments(self._store, model, "labels", until=until, ids=ids)
            asked = segments(self._store, model, "predictions", ids=ids, version=version)
            if not asked:
                return {}
            where, bound = _of("p", version, route)
            query = f"""
                SELECT p.* EXCLUDE ("at", received_at), CAST(p."at" AS TIMESTAMPTZ) AS "at", l.label,
                       CAST(l."at" AS TIMESTAMPTZ) AS labelled_at
                FROM (SELECT id, {_last_label("label")}, min("at") AS "at" FROM {self._scan(labels)}
                      WHERE "at" < ? AND {"true" if chosen else _FAIR} GROUP BY id HAVING min("at") >= ?) l
                JOIN {self._scan(asked)} p USING (id)
                WHERE {where} ORDER BY labelled_at, "at", id"""
            return self._query(query, [until, since, *bound])

        return once(self._steady(look))

    def newly_labelled(self, model: str, *, version: int, after: str) -> Columns:
        """Return the predictions of a version whose label was told, or corrected, behind `after`, in order of sealing.

        Columns as of `labelled`; `was`, the label that counted up to `after`, None where there was none; and `sealed`,
        whose last value is the `after` of the next call: so each label is given once, however late it was told.
        `labelled_at` is the moment that the first label bears, or that of the prediction, before which none is known.
        """

        def look() -> Columns:
            labels = segments(self._store, model, "labels")
            if not labels:
                return {}
            ids = min(each.first_id for each in labels), max(each.last_id for each in labels)
            asked = segments(self._store, model, "predictions", ids=ids, version=version)
            if not asked:
                return {}
            where, bound = _of("p", version, None)
            query = f"""
                SELECT p.* EXCLUDE ("at", received_at), CAST(p."at" AS TIMESTAMPTZ) AS "at", l.label, l.was,
                       CAST(greatest(l."at", p."at") AS TIMESTAMPTZ) AS labelled_at, l.sealed
                FROM (SELECT id, {_last_label("label")}, {_last_label("was", "sealed <= ?")},
                             min_by("at", sealed) AS "at", max(sealed) AS sealed
                      FROM {self._scan(labels)} WHERE {_FAIR} GROUP BY id HAVING max(sealed) > ?) l
                JOIN {self._scan(asked)} p USING (id)
                WHERE {where} AND l.was IS DISTINCT FROM l.label ORDER BY l.sealed, id"""
            return self._query(query, [after, after, *bound])

        return self._steady(look)

    def recent(
        self, model: str, *, until: datetime, most: int, since: datetime | None = None, with_features: bool = True
    ) -> Columns:
        """Return the newest `most` predictions made before `until`, with `label` where it has come, oldest first.

        Without features there are scores only, at a fraction of the reading.
        """
        limit, earliest = to_iso(until), "" if since is None else to_iso(since)

        def look() -> Columns:
            every = segments(self._store, model, "predictions", since=earliest, until=limit)
            newest = _newest(every, most, limit)
            found = self._recent(model, newest, most, limit, earliest, with_features)
            if n_rows(found) < most and len(newest) < len(every):  # shadows were among the rows that were counted on
                return self._recent(model, every, most, limit, earliest, with_features)
            return found

        return once(self._steady(look))

    def window(self, model: str, *, since: datetime, until: datetime, version: int | None = None) -> Columns:
        """Return all predictions made in [since, until), without labels, oldest first."""
        span = to_iso(since), to_iso(until)

        def look() -> Columns:
            asked = segments(self._store, model, "predictions", since=span[0], until=span[1], version=version)
            if not asked:
                return {}
            where, bound = _of("p", version, None)
            query = f"""
                SELECT * EXCLUDE ("at", received_at), CAST("at" AS TIMESTAMPTZ) AS "at" FROM {self._scan(asked)} p
                WHERE p."at" >= ? AND p."at" < ? AND {where} ORDER BY "at", id"""
            return self._query(query, [*span, *bound])

        return self._steady(look)

    def looked_up(self, model: str, *, since: datetime, until: datetime, most: int) -> Columns:
        """Return the newest `most` answered rows of [since, until) for which features were looked up.

        `lookups` is JSON: by the names of views, a `FeatureLookup`. The features are under their ``x_`` names.
        """
        span = to_iso(since), to_iso(until)

        def look() -> Columns:
            asked = segments(self._store, model, "predictions", since=span[0], until=span[1])
            if not asked:
                return {}
            source = self._scan(asked)
            if "lookups" not in self._query(f"SELECT * FROM {source} LIMIT 0", []):
                return {}
            query = f"""
                SELECT * FROM {source} WHERE "at" >= ? AND "at" < ? AND lookups IS NOT NULL AND route != 'shadow'
                ORDER BY "at" DESC, id DESC LIMIT {int(most)}"""
            return self._query(query, list(span))

        return self._steady(look)

    def counted(
        self, model: str, reference: Profile, *, since: datetime, until: datetime, version: int | None = None
    ) -> Counts:
        """Return all predictions made in [since, until), counted into the bins of `reference`.

        It is the sum of what sealing counted, by whole hours; rows are read only where the window cuts an hour, and of
        segments that were sealed without a profile. Columns that were left out of the log are not among the counts.
        `reference` must be the profile of `version`, whose bins sealing used.
        """
        parts = _hours_of(since, until)

        def look() -> Counts:
            found: list[dict[str, Counts]] = []
            for each in segments(self._store, model, "predictions", since=to_iso(since), until=to_iso(until)):
                if version is not None and each.model_version not in (0, version):
                    continue
                hourly = hourly_of(self._store.read, each.path, *parts.whole)
                found += [] if hourly is None else [hourly]
                for span in [(to_iso(since), to_iso(until))] if hourly is None else parts.cut:
                    if each.first_at < span[1] and each.last_at >= span[0]:
                        found.append(self._count_rows(each, reference, span, version))
            return reduce(merge, merge_hourly(found).values(), Counts(0, {}))

        return self._steady(look)

    def _count_rows(
        self, segment: Segment, reference: Profile, span: tuple[str, str], version: int | None
    ) -> dict[str, Counts]:
        where, bound = _of("p", version, None)
        query = f"""SELECT * FROM {self._scan([segment])} p WHERE p."at" >= ? AND p."at" < ? AND {where}"""
        rows = self._query(query, [*span, *bound])
        if not n_rows(rows):
            return {}
        return count_hours(reference, features_of(rows), rows["at"], np.ones(n_rows(rows), dtype=np.bool_))

    def answered(self, model: str, *, since: datetime, until: datetime) -> dict[str, list[str]]:
        """Return for each client's request id in the span the prediction ids of its rows, in row order."""
        span = to_iso(since), to_iso(until)

        def look() -> list[dict[str, Any]]:
            asked = segments(self._store, model, "predictions", since=span[0], until=span[1])
            clause = """WHERE "at" >= ? AND "at" < ? AND request_id IS NOT NULL AND route != 'shadow' ORDER BY id"""
            return self._rows(asked, clause, span, shown="id, request_id")

        answers: dict[str, list[str]] = {}
        for row in self._steady(look):
            answers.setdefault(row["request_id"], []).append(row["id"])
        return answers

    def repeats(self, model: str, *, since: datetime, until: datetime) -> tuple[int, int]:
        """Return how many rows were answered in [since, until), and how many of them came again under their id."""
        span = to_iso(since), to_iso(until)

        def look() -> Columns:
            asked = segments(self._store, model, "predictions", since=span[0], until=span[1])
            if not asked:
                return {}
            query = f"""
                SELECT COLUMNS(lambda name: NOT starts_with(name, '{FEATURE}')) FROM {self._scan(asked)}
                WHERE "at" >= ? AND "at" < ? AND route != 'shadow' ORDER BY id"""
            return self._query(query, list(span))

        rows = self._steady(look)
        return n_rows(rows), n_rows(rows) - n_rows(once(rows))

    def counts(self, model: str) -> tuple[int, int]:
        """Return how many predictions are sealed, and for how many of them a label has come."""
        rows = self._store.read(
            "SELECT coalesce(sum(n_rows), 0) FROM log_segments WHERE model = ? AND kind = 'predictions'", (model,)
        )
        return int(rows[0][0]), self.labels_since(model, from_iso("1970-01-01T00:00:00Z"))

    def answered_by(self, model: str, *, since: datetime, until: datetime) -> dict[tuple[int, str], int]:
        """Return how many rows each version answered by each route in [since, until); a shadow's are among them."""
        span = to_iso(since), to_iso(until)

        def look() -> list[dict[str, Any]]:
            asked = segments(self._store, model, "predictions", since=span[0], until=span[1])
            clause = 'WHERE "at" >= ? AND "at" < ? GROUP BY version, route'
            return self._rows(asked, clause, span, shown="version, route, count(*) AS n_rows")

        return {(int(row["version"]), str(row["route"])): int(row["n_rows"]) for row in self._steady(look)}

    def answered_among(self, model: str, version: int, ids: Sequence[str]) -> int:
        """Return how many of these predictions a version answered, or computed as a shadow."""
        if not ids:
            return 0

        def look() -> list[dict[str, Any]]:
            asked = segments(self._store, model, "predictions", ids=(min(ids), max(ids)), version=version)
            clause = "WHERE version = ? AND id IN (SELECT unnest(?))"
            return self._rows(asked, clause, [version, list(ids)], shown="count(DISTINCT id) AS answered")

        return sum(int(row["answered"]) for row in self._steady(look))

    def labels_since(self, model: str, moment: datetime) -> int:
        """Return for how many predictions a label has come at or after `moment`."""
        found = segments(self._store, model, "labels", since=to_iso(moment))
        rows = self._rows(found, 'WHERE "at" >= ?', [to_iso(moment)])
        return len({row["id"] for row in rows})

    def last_at(self, model: str) -> datetime | None:
        """Return the newest event time of a sealed prediction; None when there is none."""
        rows = self._store.read(
            "SELECT max(last_at) FROM log_segments WHERE model = ? AND kind = 'predictions'", (model,)
        )
        return from_iso(rows[0][0]) if rows and rows[0][0] else None

    def _find(self, prediction_id: str) -> LoggedPrediction | None:
        for (model,) in self._store.read("SELECT DISTINCT model FROM log_segments"):
            # one by one: segments of other versions would add their columns to the row
            for each in segments(self._store, model, "predictions", ids=(prediction_id, prediction_id)):
                rows = self._rows([each], "WHERE id = ? AND route != 'shadow'", [prediction_id])
                if rows:
                    return self._logged(model, rows[0])
        return None

    def _recent(
        self, model: str, asked: list[Segment], most: int, limit: str, earliest: str, with_features: bool
    ) -> Columns:
        if not asked:
            return {}
        ids = min(each.first_id for each in asked), max(each.last_id for each in asked)
        labels = segments(self._store, model, "labels", until=limit, ids=ids)
        shown = "*" if with_features else f"COLUMNS(lambda name: NOT starts_with(name, '{FEATURE}'))"
        query = f"""
            SELECT * FROM (
                SELECT p.* EXCLUDE ("at", received_at), CAST(p."at" AS TIMESTAMPTZ) AS "at", l.label
                FROM (SELECT {shown} FROM {self._scan(asked)}) p
                LEFT JOIN (SELECT id, {_last_label("label")} FROM {self._scan(labels) if labels else _NONE}
                           WHERE "at" < ? AND {_FAIR} GROUP BY id) l USING (id)
                WHERE p."at" < ? AND p."at" >= ? AND p.route != 'shadow' ORDER BY "at" DESC, id DESC LIMIT {int(most)})
            ORDER BY "at", id"""
        return self._query(query, [limit, limit, earliest])

    def _steady(self, look: Callable[[], T]) -> T:
        for attempt in range(_TRIES):
            try:
                return look()
            except duckdb.IOException as error:  # a segment was merged into another after its name was read
                if attempt == _TRIES - 1:
                    raise Corrupt(
                        f"A segment of the prediction log cannot be read: {str(error).splitlines()[0]}",
                        where=str(self._folder),
                        next_step="restore the folder from a backup; the database names the files it must hold",
                    ) from error
        raise AssertionError("the last try returns or raises")

    def _scan(self, found: Sequence[Segment]) -> str:
        return scan_of(self._folder, (each.path for each in found))

    def _query(self, query: str, bound: Sequence[object]) -> Columns:
        with connect() as connection:
            return fetch_columns(connection, query, bound)

    def _rows(
        self, found: Sequence[Segment], clause: str, bound: Sequence[object], *, shown: str = "*"
    ) -> list[dict[str, Any]]:
        if not found:
            return []
        with connect() as connection:
            cursor = connection.execute(f"SELECT {shown} FROM {self._scan(found)} {clause}", list(bound))
            names = [each[0] for each in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _logged(self, model: str, row: dict[str, Any]) -> LoggedPrediction:
        identifier = row["id"]
        labels = self._rows(
            segments(self._store, model, "labels", ids=(identifier, identifier)),
            'WHERE id = ? ORDER BY "at" DESC, sealed DESC LIMIT 1',
            [identifier],
        )
        split = [row[name] for name in sorted((n for n in row if n.startswith("score_")), key=lambda n: int(n[6:]))]
        return LoggedPrediction(
            PredictionId(identifier),
            model,
            int(row["version"]),
            row["route"],
            row["at"],
            row["received_at"],
            row["request_id"],
            {name.removeprefix(FEATURE): _plain(value) for name, value in row.items() if name.startswith(FEATURE)},
            row.get("score", split),
            float(row["latency_ms"]),
            str(labels[0]["label"]) if labels else None,
            str(labels[0]["at"]) if labels else None,
            decode_lookups(row.get("lookups")),
        )


class _Hours(NamedTuple):
    """A span of time as whole hours, from the first to before the second, and the pieces of hours beside them."""

    whole: tuple[str, str]
    cut: list[tuple[str, str]]


def _hours_of(since: datetime, until: datetime) -> _Hours:
    since, until = since.astimezone(UTC), until.astimezone(UTC)
    first, last = (each.replace(minute=0, second=0, microsecond=0) for each in (since, until))
    if first < since:
        first += timedelta(hours=1)
    if first > last:  # the span lies within one hour
        return _Hours(("~", "~"), [(to_iso(since), to_iso(until))])
    pieces = [(to_iso(a), to_iso(b)) for a, b in ((since, first), (last, until)) if a < b]
    return _Hours((to_iso(first)[:HOUR], to_iso(last)[:HOUR]), pieces)


def scores_of(logged: Columns) -> NDArray[np.float64]:
    """Return the logged scores, (n,) or (n, n_classes)."""
    if "score" in logged:
        return logged["score"]
    names = sorted((n for n in logged if n.startswith("score_")), key=lambda name: int(name[6:]))
    return np.column_stack([logged[name] for name in names])


def _last_label(name: str, condition: str = "true") -> str:
    """Of several labels of one prediction the newest counts; of the same moment, the one that was sealed last."""
    return f'max_by(label, {{"at": "at", sealed: sealed}}) FILTER (WHERE {condition}) AS {name}'


def once(logged: Columns) -> Columns:
    """Return logged rows without those that came again: of one request id and place in it, the oldest answer stays.

    A client that got no answer in time sends its request again, and gets another answer; that is no second event. An id
    whose rows got different scores of one version named different requests, so it names none, and all its rows stay; so
    do rows without an id, and those of before places were kept.
    """
    if "place" not in logged:
        return logged
    keys = list(zip(logged["request_id"].tolist(), logged["place"].tolist(), strict=True))
    if len(set(keys)) == len(keys):
        return logged
    groups: dict[tuple[str, float], list[int]] = {}
    for row, key in enumerate(keys):
        if key[0] is not None and key[1] == key[1]:
            groups.setdefault(key, []).append(row)
    several = {key: rows for key, rows in groups.items() if len(rows) > 1}
    if not several:
        return logged
    ids, versions, scores = logged["id"], logged["version"], scores_of(logged)
    kept, shared = np.ones(n_rows(logged), dtype=np.bool_), set()
    for (request, _), rows in several.items():
        first = min(rows, key=lambda row: ids[row])
        if any(versions[row] == versions[first] and (scores[row] != scores[first]).any() for row in rows):
            shared.add(request)
    for (request, _), rows in several.items():
        if request not in shared:
            kept[rows] = False
            kept[min(rows, key=lambda row: ids[row])] = True
    return logged if kept.all() else {name: values[kept] for name, values in logged.items()}


def _of(table: str, version: int | None, route: str | None) -> tuple[str, list[object]]:
    """Return the condition for a version and a route, with its parameters."""
    where, bound = f"{table}.route != 'shadow'", list[object]()
    if route is not None:
        where, bound = f"{table}.route = ?", [route]
    if version is not None:
        where, bound = f"{where} AND {table}.version = ?", [*bound, version]
    return where, bound


def _newest(every: list[Segment], most: int, until: str) -> list[Segment]:
    """Return the segments that can hold any of the newest `most` rows before `until`.

    The segments that begin latest hold enough rows from some moment on; what ends before that moment is too old.
    """
    counted, border = 0, ""
    for each in sorted(every, key=lambda segment: segment.first_at, reverse=True):
        if each.last_at < until:
            counted += each.n_rows
        if counted >= most:
            border = each.first_at
            break
    return [each for each in every if each.last_at >= border]


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return to_iso(value.replace(tzinfo=UTC))
    return None if isinstance(value, float) and value != value else value
