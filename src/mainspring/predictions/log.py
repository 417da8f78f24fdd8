"""Questions to the sealed prediction log: one prediction by its id, and predictions joined with labels that came late.

Everything is read from Parquet by DuckDB, pruned by the spans in `log_segments`; nothing is loaded that is not asked.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, fetch_columns
from mainspring.domain.ids import PredictionId
from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import NotFound
from mainspring.predictions.segments import FEATURE, Segment, segments
from mainspring.store.protocol import Store

__all__ = ["LoggedPrediction", "PredictionLog", "features_of", "scores_of"]

#: How long before its label a prediction may have been made and still be found by the join.
_LABEL_HORIZON = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class LoggedPrediction:
    """One answered row: what was asked, what was answered, by which version, and the label if it came."""

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
        for (model,) in self._store.read("SELECT DISTINCT model FROM log_segments"):
            found = segments(self._store, model, "predictions", containing=prediction_id)
            rows = self._rows(found, "WHERE id = ?", [prediction_id])
            if rows:
                return self._logged(model, rows[0])
        raise NotFound(
            f"The log holds no prediction `{prediction_id}`",
            next_step="check the id in the answer; a prediction of the last seconds is sealed at the next look",
        )

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
    ) -> Columns:
        """Return the predictions whose label arrived in [labelled_from, labelled_until), oldest label first.

        Columns: id, at, labelled_at (moments), label (text), version, route, request_id, score or score_0...,
        and the features under their ``x_`` names. A prediction labelled twice counts once, with the later label.
        """
        since, until = to_iso(labelled_from), to_iso(labelled_until)
        labels = segments(self._store, model, "labels", since=since, until=until)
        asked = segments(self._store, model, "predictions", since=to_iso(labelled_from - _LABEL_HORIZON), until=until)
        if not labels or not asked:
            return {}
        where, bound = ['l."at" >= ?', 'l."at" < ?'], [since, until]
        if version is not None:
            where.append(f"p.version = {int(version)}")
        if route is not None:
            where.append("p.route = ?")
            bound.append(route)
        query = f"""
            SELECT p.* EXCLUDE ("at", received_at), CAST(p."at" AS TIMESTAMPTZ) AS "at", l.label,
                   CAST(l."at" AS TIMESTAMPTZ) AS labelled_at
            FROM (SELECT id, max_by(label, "at") AS label, max("at") AS "at" FROM {self._scan(labels)} GROUP BY id) l
            JOIN {self._scan(asked)} p USING (id)
            WHERE {" AND ".join(where)} ORDER BY labelled_at, "at", id"""
        return self._query(query, bound)

    def recent(self, model: str, *, until: datetime, most: int, since: datetime | None = None) -> Columns:
        """Return the newest `most` predictions made before `until`, with `label` where it has come, oldest first."""
        limit = to_iso(until)
        asked = segments(self._store, model, "predictions", since="" if since is None else to_iso(since), until=limit)
        if not asked:
            return {}
        labels = segments(self._store, model, "labels", until=limit)
        known = self._scan(labels) if labels else '(SELECT NULL AS id, NULL AS label, NULL AS "at" WHERE false)'
        query = f"""
            SELECT * FROM (
                SELECT p.* EXCLUDE ("at", received_at), CAST(p."at" AS TIMESTAMPTZ) AS "at", l.label
                FROM {self._scan(asked)} p
                LEFT JOIN (SELECT id, max_by(label, "at") AS label FROM {known} WHERE "at" < ? GROUP BY id) l USING (id)
                WHERE p."at" < ? AND p."at" >= ? ORDER BY "at" DESC, id DESC LIMIT {int(most)})
            ORDER BY "at", id"""
        return self._query(query, [limit, limit, "" if since is None else to_iso(since)])

    def window(self, model: str, *, since: datetime, until: datetime, version: int | None = None) -> Columns:
        """Return all predictions made in [since, until), without labels, oldest first."""
        asked = segments(self._store, model, "predictions", since=to_iso(since), until=to_iso(until))
        if not asked:
            return {}
        only = "" if version is None else f" AND version = {int(version)}"
        query = f"""
            SELECT * EXCLUDE ("at", received_at), CAST("at" AS TIMESTAMPTZ) AS "at" FROM {self._scan(asked)}
            WHERE "at" >= ? AND "at" < ?{only} ORDER BY "at", id"""
        return self._query(query, [to_iso(since), to_iso(until)])

    def answered(self, model: str, *, since: datetime, until: datetime) -> dict[str, list[str]]:
        """Return for each client's request id in the span the prediction ids of its rows, in row order."""
        found = segments(self._store, model, "predictions", since=to_iso(since), until=to_iso(until))
        answers: dict[str, list[str]] = {}
        for row in self._rows(
            found,
            'WHERE "at" >= ? AND "at" < ? AND request_id IS NOT NULL ORDER BY id',
            [to_iso(since), to_iso(until)],
        ):
            answers.setdefault(str(row["request_id"]), []).append(str(row["id"]))
        return answers

    def counts(self, model: str) -> tuple[int, int]:
        """Return how many predictions and how many labels are sealed."""
        rows = self._store.read("SELECT kind, sum(n_rows) FROM log_segments WHERE model = ? GROUP BY kind", (model,))
        found = dict(rows)
        return int(found.get("predictions", 0)), int(found.get("labels", 0))

    def last_at(self, model: str) -> datetime | None:
        """Return the newest event time of a sealed prediction; None when there is none."""
        rows = self._store.read(
            "SELECT max(last_at) FROM log_segments WHERE model = ? AND kind = 'predictions'", (model,)
        )
        return from_iso(rows[0][0]) if rows and rows[0][0] else None

    def _scan(self, found: list[Segment]) -> str:
        listed = ", ".join("'" + str(self._folder / each.path).replace("'", "''") + "'" for each in found)
        return f"read_parquet([{listed}], union_by_name=true)"

    def _query(self, query: str, bound: list[str]) -> Columns:
        with duckdb.connect() as connection:
            return fetch_columns(connection, query, bound)

    def _rows(self, found: list[Segment], clause: str, bound: list[str]) -> list[dict[str, object]]:
        if not found:
            return []
        with duckdb.connect() as connection:
            cursor = connection.execute(f"SELECT * FROM {self._scan(found)} {clause}", bound)
            names = [each[0] for each in cursor.description or []]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def _logged(self, model: str, row: dict[str, Any]) -> LoggedPrediction:
        labels = self._rows(
            segments(self._store, model, "labels", containing=row["id"]),
            'WHERE id = ? ORDER BY "at" DESC LIMIT 1',
            [row["id"]],
        )
        split = [row[name] for name in sorted((n for n in row if n.startswith("score_")), key=lambda n: int(n[6:]))]
        return LoggedPrediction(
            PredictionId(row["id"]),
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
        )


def features_of(logged: Columns) -> Columns:
    """Return the feature columns of logged rows under their own names."""
    return {name.removeprefix(FEATURE): array for name, array in logged.items() if name.startswith(FEATURE)}


def scores_of(logged: Columns) -> NDArray[np.float64]:
    """Return the logged scores, (n,) or (n, n_classes)."""
    if "score" in logged:
        return logged["score"]
    names = sorted((n for n in logged if n.startswith("score_")), key=lambda name: int(name[6:]))
    return np.column_stack([logged[name] for name in names])


def _plain(value: object) -> object:
    return None if isinstance(value, float) and value != value else value
