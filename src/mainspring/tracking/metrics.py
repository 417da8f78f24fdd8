"""Metric points: written in batches, read in pages. Owner of the tables `metric_names`, `*_metrics`, `metric_points`.

Points of one run and metric lie together in order of time. A metric's latest value is kept beside them, with its lowest
and highest, so that neither listing nor ordering runs ever reads a history.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mainspring.errors import Invalid
from mainspring.store.protocol import Row, Store, Transaction, Value

__all__ = ["Point", "histories", "history", "metric_ids", "put_points", "sampled_history"]

#: How many names one statement asks for; SQLite binds at most 32,766 parameters.
_NAMES = 500
#: MLflow's servers keep the largest double in place of an infinity, and clients expect to read it back.
_LARGEST = 1.7976931348623157e308
#: How many points one statement writes: a statement for each costs as much as the writing.
_ROWS = 50
_COLUMNS = 6
_ONE_ROW = "(?, ?, ?, ?, ?, ?)"
_PUT_POINT = (
    f"INSERT INTO metric_points (run, metric, at_ms, step, value, is_nan) VALUES {_ONE_ROW} ON CONFLICT DO NOTHING"
)
_PUT_MANY = _PUT_POINT.replace(_ONE_ROW, ", ".join([_ONE_ROW] * _ROWS))


class Point(NamedTuple):
    """One value of a metric: of which step, and when, in Unix milliseconds. NaN is a value."""

    key: str
    value: float
    at_ms: int
    step: int


def put_points(
    transaction: Transaction, run: int, experiment_id: int, points: Sequence[tuple[str, float, int, int]]
) -> None:
    """Add points to the run with this number; one that is there already stays once.

    They are what `Point` is. A thousand may come in one request, so no call is made for each that could be left out.
    """
    # in the order of what is later: the largest step, of one step the newest, of one moment the largest value
    rows: dict[str, list[tuple[int, int, float, int]]] = {key: [] for key, *_ in points}
    for key, value, at_ms, step in points:
        if value != value:  # NaN alone is unequal to itself
            rows[key].append((step, at_ms, 0.0, 1))
        elif -_LARGEST <= value <= _LARGEST:
            # plus 0.0, since SQLite keeps no zero that is negative, and Postgres would
            rows[key].append((step, at_ms, value + 0.0, 0))
        else:
            rows[key].append((step, at_ms, math.copysign(_LARGEST, value), 0))
    ids = metric_ids(transaction, rows)
    flat: list[Value] = []
    latest: list[Sequence[Value]] = []
    for key, of_metric in rows.items():
        metric = ids[key]
        of_metric.sort()  # neighbours in the table, and the last one is the latest
        for step, at_ms, value, is_nan in of_metric:
            flat += (run, metric, at_ms, step, value, is_nan)
        values = [value for _, _, value, is_nan in of_metric if not is_nan]
        span = (min(values), max(values)) if values else (None, None)
        step, at_ms, value, is_nan = of_metric[-1]
        latest.append((run, metric, experiment_id, value, is_nan, step, at_ms, *span))
    whole = len(points) // _ROWS * _ROWS * _COLUMNS
    for start in range(0, whole, _ROWS * _COLUMNS):
        transaction.execute(_PUT_MANY, flat[start : start + _ROWS * _COLUMNS])
    transaction.execute_many(
        _PUT_POINT, [flat[start : start + _COLUMNS] for start in range(whole, len(flat), _COLUMNS)]
    )
    transaction.execute_many(_PUT_LATEST, latest)


_IS_LATER = (
    "(excluded.step, excluded.at_ms, excluded.value) > "
    "(latest_metrics.step, latest_metrics.at_ms, latest_metrics.value)"
)
_PUT_LATEST = (
    "INSERT INTO latest_metrics (run, metric, experiment_id, value, is_nan, step, at_ms, low, high)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (run, metric) DO UPDATE SET "
    + ", ".join(
        f"{name} = CASE WHEN {_IS_LATER} THEN excluded.{name} ELSE latest_metrics.{name} END"
        for name in ("value", "is_nan", "step", "at_ms")
    )
    + ", low = CASE WHEN latest_metrics.low IS NULL OR excluded.low < latest_metrics.low"
    " THEN excluded.low ELSE latest_metrics.low END"
    ", high = CASE WHEN latest_metrics.high IS NULL OR excluded.high > latest_metrics.high"
    " THEN excluded.high ELSE latest_metrics.high END"
)


def metric_ids(transaction: Transaction, keys: Iterable[str]) -> dict[str, int]:
    """Return the number of each metric name; new names get one."""
    wanted = list(keys)
    found = _known(transaction, wanted)
    missing = [(key,) for key in wanted if key not in found]
    if missing:
        transaction.execute_many("INSERT INTO metric_names (key) VALUES (?) ON CONFLICT DO NOTHING", missing)
        found |= _known(transaction, [key for (key,) in missing])
    return found


def _known(transaction: Transaction, keys: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for start in range(0, len(keys), _NAMES):
        some = keys[start : start + _NAMES]
        marks = ",".join("?" * len(some))
        found.update(transaction.execute(f"SELECT key, metric FROM metric_names WHERE key IN ({marks})", some))
    return found


def history(
    store: Store, run_id: str, key: str, *, limit: int | None = None, after: Sequence[Value] = ()
) -> list[Point]:
    """Return points of one metric by time, step and value, at most `limit`, behind the point `after` if given.

    `after` is (at_ms, step, value, is_nan) of the last point of the page before: a page costs what it holds, wherever
    in the history it lies.

    Raises:
        Invalid: `after` is no place in a history.
    """
    if after and len(after) != 4:
        raise Invalid("The place in the history cannot be read", where="page_token", next_step="begin at the start")
    behind = " AND (p.at_ms, p.step, p.value, p.is_nan) > (?, ?, ?, ?)" if after else ""
    most = "" if limit is None else " LIMIT ?"
    rows = store.read(
        "SELECT p.at_ms, p.step, p.value, p.is_nan FROM metric_points p WHERE p.run ="
        " (SELECT number FROM runs WHERE run_id = ?) AND p.metric = (SELECT metric FROM metric_names WHERE key = ?)"
        f"{behind} ORDER BY p.at_ms, p.step, p.value, p.is_nan{most}",
        (run_id, key, *after, *(() if limit is None else (limit,))),
    )
    return _points(key, rows)


def histories(store: Store, run_ids: Sequence[str], key: str, *, limit: int) -> dict[str, list[Point]]:
    """Return points of one metric in several runs, at most `limit` in all, run by run in the order given."""
    found: dict[str, list[Point]] = {}
    for run_id in run_ids:
        if limit <= 0:
            break
        found[run_id] = history(store, run_id, key, limit=limit)
        limit -= len(found[run_id])
    return found


def sampled_history(
    store: Store, run_id: str, key: str, *, most: int, steps: tuple[int, int] | None = None
) -> list[Point]:
    """Return at most `most` points spread evenly over a metric's points by step; the last one is always there.

    `steps` bounds them, both ends included. The database deals the points into `most` heaps of equal size and gives
    the first of each, as MLflow does.
    """
    between = "" if steps is None else " AND p.step BETWEEN ? AND ?"
    of_run = (
        "FROM metric_points p WHERE p.run = (SELECT number FROM runs WHERE run_id = ?)"
        f" AND p.metric = (SELECT metric FROM metric_names WHERE key = ?){between}"
    )
    values: tuple[Value, ...] = (run_id, key, *(steps or ()))
    order = "step, at_ms, value, is_nan"
    # `most` stands in the statement: as a parameter it has 64 bits, and Postgres knows no `ntile` of those
    rows = store.read(
        f"SELECT at_ms, step, value, is_nan FROM (SELECT {order}, heap, row_number() OVER (PARTITION BY heap ORDER BY"
        f" {order}) AS place FROM (SELECT {order}, ntile({most:d}) OVER (ORDER BY {order}) AS heap {of_run}) AS dealt)"
        f" AS ranked WHERE place = 1 ORDER BY {order}",
        values,
    )
    last = store.read(
        f"SELECT at_ms, step, value, is_nan {of_run} ORDER BY step DESC, at_ms DESC, value DESC, is_nan DESC LIMIT 1",
        values,
    )
    if last and rows[-1] != last[0]:
        rows = [*(rows[:-1] if len(rows) >= most else rows), last[0]]
    return _points(key, rows)


def _points(key: str, rows: Sequence[Row]) -> list[Point]:
    return [Point(key, math.nan if is_nan else value, at_ms, step) for at_ms, step, value, is_nan in rows]
