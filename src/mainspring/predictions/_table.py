"""The table `log_segments` and the files it names: what is sealed, and which of it can hold an answer.

The one place that reads and writes the tables `log_segments` and `log_traffic`; what is counted of a segment goes where
the segment goes (`counts`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mainspring.predictions.counts import hourly_of, keep_hourly, merge_hourly, remove_hourly
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "Kind", "Segment", "families", "hourly_traffic", "insert", "older", "remove", "replace", "segments", "traffic",
]  # fmt: skip

Kind = Literal["predictions", "labels"]
_ROW = "model, kind, path, n_rows, first_at, last_at, first_id, last_id, model_version"


@dataclass(frozen=True, slots=True)
class Segment:
    """One sealed file and what it spans; `first_at`/`last_at` are event times, ids compare as text.

    `model_version` is the one that made the predictions; 0 for labels, and where it is not known.
    """

    model: str
    kind: Kind
    path: str
    n_rows: int
    first_at: str
    last_at: str
    first_id: str
    last_id: str
    model_version: int = 0


def segments(
    store: Store,
    model: str,
    kind: Kind,
    *,
    since: str = "",
    until: str = "~",
    ids: tuple[str, str] | None = None,
    version: int | None = None,
) -> list[Segment]:
    """Return the segments of `model`, in order of birth, that may hold what is asked for.

    Asked for are event times in [since, until), ids from the first to the second of `ids`, predictions of `version`.
    """
    sql = f"SELECT {_ROW} FROM log_segments WHERE model = ? AND kind = ? AND last_at >= ? AND first_at < ?"
    bound: list[str | int] = [model, kind, since, until]
    if ids is not None:
        sql += " AND first_id <= ? AND last_id >= ?"
        bound += [ids[1], ids[0]]
    if version is not None:
        sql += " AND model_version IN (0, ?)"
        bound.append(version)
    return [Segment(*row) for row in store.read(sql + " ORDER BY first_id, number", bound)]


def traffic(store: Store, model: str | None = None) -> list[tuple[str, Kind, int]]:
    """Return (sealed at, kind, rows) of every sealing, oldest first; of one model when it is given."""
    clause, bound = ("WHERE model = ?", (model,)) if model is not None else ("", ())
    sql = f"SELECT sealed_at, kind, n_rows FROM log_traffic {clause} ORDER BY sealed_at, number"
    return [(row[0], row[1], row[2]) for row in store.read(sql, bound)]


def hourly_traffic(store: Store, model: str, *, since: str) -> list[tuple[str, Kind, int]]:
    """Return (hour, kind, rows) of what was sealed of a model in each hour from `since` on, oldest first."""
    sql = (
        "SELECT substr(sealed_at, 1, 13) || ':00:00.000000Z' AS hour, kind, sum(n_rows) FROM log_traffic"
        " WHERE model = ? AND sealed_at >= ? GROUP BY hour, kind ORDER BY hour, kind DESC"
    )
    return [(row[0], row[1], int(row[2])) for row in store.read(sql, (model, since))]


def families(store: Store) -> list[tuple[str, Kind, int]]:
    """Return each (model, kind, model version) that has segments; those of one family have the same columns."""
    rows = store.read("SELECT DISTINCT model, kind, model_version FROM log_segments ORDER BY 1, 2, 3")
    return [(row[0], row[1], row[2]) for row in rows]


def insert(transaction: Transaction, segment: Segment, sealed_at: str) -> None:
    """Write the row of a segment whose file is there."""
    s = segment
    transaction.execute(
        f"INSERT INTO log_segments ({_ROW}, sealed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (s.model, s.kind, s.path, s.n_rows, s.first_at, s.last_at, s.first_id, s.last_id, s.model_version, sealed_at),
    )


def replace(store: Store, old: Sequence[Segment], new: Segment) -> None:
    """Let `new` take the place of `old`, which hold the same rows: a reader finds the one or the others."""

    def write(transaction: Transaction) -> None:
        marks = ",".join("?" * len(old))
        paths = [each.path for each in old]
        sql = f"SELECT max(sealed_at) FROM log_segments WHERE path IN ({marks})"
        sealed_at = transaction.execute(sql, paths)[0][0]
        transaction.execute(f"DELETE FROM log_segments WHERE path IN ({marks})", paths)
        insert(transaction, new, sealed_at)
        counted = [hourly_of(transaction.execute, path) for path in paths]
        remove_hourly(transaction, paths)
        known = [hourly for hourly in counted if hourly is not None]
        if len(known) == len(paths):  # else rows are missing in the sum, and the log counts the file when asked
            keep_hourly(transaction, new.path, merge_hourly(known))

    store.record(write)


def older(store: Store, moment: str) -> list[Segment]:
    """Return the segments of all models whose newest row is older than `moment`."""
    return [Segment(*row) for row in store.read(f"SELECT {_ROW} FROM log_segments WHERE last_at < ?", (moment,))]


def remove(transaction: Transaction, old: Sequence[Segment]) -> None:
    """Remove the rows of segments; their files are nobody's then, and the next sealing sweeps them."""
    transaction.execute_many("DELETE FROM log_segments WHERE path = ?", [(each.path,) for each in old])
    remove_hourly(transaction, [each.path for each in old])
