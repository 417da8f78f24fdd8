"""Runs in groups: the same configuration under several seeds or folds, with count, mean and deviation, in the database.

A group is what its runs have in common in the terms they are grouped by; a run that lacks one has an empty text there.
The deviation is that of a sample (n - 1), summed around the mean that was found first, which loses no digits.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mainspring.errors import Invalid
from mainspring.store.protocol import Store
from mainspring.tracking.clauses import Clause, among
from mainspring.tracking.conditions import RUN_COLUMN_OF, RUN_VOCABULARY, runs_that
from mainspring.tracking.experiments import Stage
from mainspring.tracking.filters import Term, parse_filter, parse_order

__all__ = ["Measure", "RunGroup", "Summary", "group_runs"]

#: Which value of a metric stands for a run: its latest, its lowest or its highest.
Measure = Literal["last", "min", "max"]
_COLUMNS: dict[str, str] = {"last": "value", "min": "low", "max": "high"}


class Summary(NamedTuple):
    """What some runs came to in one metric; one run has no deviation."""

    runs: int
    mean: float
    deviation: float | None
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True)
class RunGroup:
    """Runs that agree in `key`, how many they are, and each metric over those that have it."""

    key: dict[str, str]
    runs: int
    metrics: dict[str, Summary]


def group_runs(
    store: Store,
    experiment_ids: Sequence[int],
    by: Sequence[str],
    *,
    filter: str = "",  # noqa: A002  # the word that searches use
    order_by: str = "",
    measure: Measure = "last",
    stages: Sequence[Stage] = ("active",),
    limit: int = 1000,
) -> list[RunGroup]:
    """Return the groups of the runs that match, by their names, or by the mean of the metric in `order_by`.

    `by` holds parameters, tags and attributes, such as ``params.model``. NaN counts in no mean.

    Raises:
        Invalid: a term, the filter or the order cannot be read, or is no term that runs can be grouped by.
    """
    if not by:
        raise Invalid("There is nothing to group by", where="group_by", next_step="name a parameter: params.model")
    terms = [RUN_VOCABULARY.term(each.strip()) for each in by]
    ordered = parse_order(order_by, RUN_VOCABULARY) if order_by else None
    if ordered and ordered.term.entity != "metric":
        raise Invalid("Groups are ordered by the mean of a metric", where="order_by", next_step="name metrics.NAME")
    if not experiment_ids:
        return []
    names = [f"g{number}" for number in range(len(terms))]
    keys = [_key(term) for term in terms]
    where = among("r.experiment_id", experiment_ids).and_(among("r.stage", stages))
    where = where.and_(runs_that(parse_filter(filter, RUN_VOCABULARY)))
    chosen = ", ".join(f"{key.sql} AS {name}" for key, name in zip(keys, names, strict=True))
    matching = Clause(
        f"SELECT r.number AS run, {chosen} FROM runs r WHERE {where.sql}",
        (*(value for key in keys for value in key.values), *where.values),
    )
    listed = ", ".join(names)
    counts = store.read(
        f"WITH matching AS ({matching.sql}) SELECT {listed}, count(*) FROM matching"
        f" GROUP BY {listed} ORDER BY {listed}",
        matching.values,
    )
    metrics = _summaries(store, matching, names, _COLUMNS[measure])
    groups = [
        RunGroup(dict(zip(by, row[:-1], strict=True)), row[-1], metrics.get(tuple(row[:-1]), {})) for row in counts
    ]
    if ordered:
        name, ascending = ordered.term.key, ordered.ascending
        groups.sort(key=lambda group: _rank(group, name, ascending))
    return groups[:limit]


def _summaries(
    store: Store, matching: Clause, names: Sequence[str], column: str
) -> dict[tuple[str, ...], dict[str, Summary]]:
    listed = ", ".join(names)
    same = " AND ".join(f"p.{name} = a.{name}" for name in names)
    of_group = ", ".join(f"a.{name}" for name in names)
    rows = store.read(
        f"WITH matching AS ({matching.sql}),"
        f" points AS (SELECT {listed}, l.metric AS metric, l.{column} AS value FROM matching m"
        f" JOIN latest_metrics l ON l.run = m.run WHERE l.{column} IS NOT NULL"
        f"{' AND l.is_nan = 0' if column == 'value' else ''}),"
        f" means AS (SELECT {listed}, metric, count(*) AS n, avg(value) AS mean, min(value) AS lowest,"
        f" max(value) AS highest FROM points GROUP BY {listed}, metric)"
        f" SELECT {of_group}, k.key, a.n, a.mean, a.lowest, a.highest,"
        " sum((p.value - a.mean) * (p.value - a.mean)) FROM means a"
        f" JOIN points p ON {same} AND p.metric = a.metric JOIN metric_names k ON k.metric = a.metric"
        f" GROUP BY {of_group}, k.key, a.n, a.mean, a.lowest, a.highest ORDER BY k.key",
        matching.values,
    )
    found: dict[tuple[str, ...], dict[str, Summary]] = {}
    for *key, metric, count, mean, lowest, highest, squares in rows:
        deviation = math.sqrt(squares / (count - 1)) if count > 1 else None
        found.setdefault(tuple(key), {})[metric] = Summary(count, mean, deviation, lowest, highest)
    return found


def _key(term: Term) -> Clause:
    if term.entity == "attribute":
        return Clause(f"coalesce(CAST({RUN_COLUMN_OF[term.key]} AS TEXT), '')")
    if term.entity not in ("parameter", "tag"):
        raise Invalid(
            f"Runs cannot be grouped by a {term.entity}", where="group_by", next_step="name a parameter or a tag"
        )
    table = "run_tags" if term.entity == "tag" else "run_parameters"
    return Clause(f"coalesce((SELECT t.value FROM {table} t WHERE t.run = r.number AND t.key = ?), '')", (term.key,))


def _rank(group: RunGroup, name: str, ascending: bool) -> tuple[bool, float]:
    summary = group.metrics.get(name)
    if summary is None:
        return (True, 0.0)
    return (False, summary.mean if ascending else -summary.mean)
