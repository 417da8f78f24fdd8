"""What a filter over runs means in SQL.

Each comparison is a question about one run, answered by an index that begins with the run. `few_runs` turns it around:
where an index knows the runs that meet a comparison, and they are few, a search begins with them.
"""

from collections.abc import Iterator, Sequence

from mainspring.store.protocol import Store
from mainspring.tracking.clauses import Clause, among, clause_of, compared
from mainspring.tracking.filters import All, Comparison, Condition, Term, Vocabulary

__all__ = ["RUN_COLUMN_OF", "RUN_VOCABULARY", "few_runs", "runs_that"]

RUN_VOCABULARY = Vocabulary(
    entities={
        "metric": "metric", "metrics": "metric", "param": "parameter", "params": "parameter",
        "parameter": "parameter", "parameters": "parameter", "tag": "tag", "tags": "tag", "attribute": "attribute",
        "attributes": "attribute", "attr": "attribute", "run": "attribute", "dataset": "dataset", "datasets": "dataset",
    },
    numbers=frozenset({"start_time", "end_time"}),
    texts=frozenset({"run_id", "run_name", "user_id", "status", "artifact_uri"}),
    aliases={
        "created": "start_time", "Created": "start_time",
        "run name": "run_name", "Run name": "run_name", "Run Name": "run_name",
    },
    lists=frozenset({"run_id"}),
    dataset_keys=frozenset({"name", "digest", "context"}),
)  # fmt: skip

#: Where each attribute is kept; the table is `runs r`.
RUN_COLUMN_OF = {
    "start_time": "r.started_ms",
    "end_time": "r.ended_ms",
    "run_id": "r.run_id",
    "run_name": "r.name",
    "user_id": "r.author",
    "status": "upper(r.status)",
    "artifact_uri": "r.artifact_uri",
}
#: How much of a value is in the indexes of parameters and tags; Postgres cannot index long ones whole.
PREFIX = 64


def runs_that(condition: Condition) -> Clause:
    """Return a filter as a question about the run `r`."""
    return clause_of(condition, _of_comparison)


def few_runs(store: Store, condition: Condition, experiments: Sequence[int], *, most: int) -> Clause | None:
    """Return a query for the runs that meet one comparison which must hold, when an index shows that they are few."""
    for comparison in _must_hold(condition):
        driver = _driver(comparison, experiments)
        if driver is None:
            continue
        counted = store.read(f"SELECT count(*) FROM ({driver.sql} LIMIT {most + 1}) AS found", driver.values)
        if counted[0][0] <= most:
            return driver
    return None


def _must_hold(condition: Condition) -> Iterator[Comparison]:
    if isinstance(condition, Comparison):
        yield condition
    elif isinstance(condition, All):
        for part in condition.parts:
            yield from _must_hold(part)


def _driver(comparison: Comparison, experiments: Sequence[int]) -> Clause | None:
    term, operator, value = comparison
    if term.entity == "metric" and term.measure in ("", "last") and operator != "!=":
        wanted = among("experiment_id", experiments).and_(Clause(f"metric = {_METRIC} AND is_nan = 0", (term.key,)))
        wanted = wanted.and_(compared("value", operator, value))
        return Clause(f"SELECT run FROM latest_metrics WHERE {wanted.sql}", wanted.values)
    if term.entity in ("parameter", "tag") and operator == "=":
        # the comparison itself is asked too: here SQLite would put the value into `substr`, and miss the index
        return Clause(
            f"SELECT run FROM {_TABLES[term.entity]} WHERE key = ? AND substr(value, 1, {PREFIX}) = ?",
            (term.key, str(value)[:PREFIX]),
        )
    if term == Term("attribute", "run_id") and operator in ("=", "IN"):
        compares = compared("run_id", operator, value)
        return Clause(f"SELECT number AS run FROM runs WHERE {compares.sql}", compares.values)
    return None


_METRIC = "(SELECT metric FROM metric_names WHERE key = ?)"
_TABLES = {"parameter": "run_parameters", "tag": "run_tags"}


def _of_comparison(comparison: Comparison) -> Clause:
    term, operator, value = comparison
    if term.entity == "attribute":
        return compared(RUN_COLUMN_OF[term.key], operator, value)
    if term.entity == "metric":
        return _of_metric(comparison)
    if term.entity == "dataset":
        return _of_dataset(comparison)
    exists = f"EXISTS (SELECT 1 FROM {_TABLES[term.entity]} t WHERE t.run = r.number AND t.key = ?"
    if value is None:
        return Clause(f"{'NOT ' if operator == 'IS NULL' else ''}{exists})", (term.key,))
    compares = compared("t.value", operator, value)
    return Clause(f"{exists} AND {compares.sql})", (term.key, *compares.values))


def _of_metric(comparison: Comparison) -> Clause:
    term, operator, value = comparison
    column = {"min": "m.low", "max": "m.high"}.get(term.measure, "m.value")
    compares = compared(column, operator, value)
    # NaN is unequal to every number, and neither below nor above one
    nan = f"({compares.sql} OR m.is_nan = 1)" if operator == "!=" else f"({compares.sql} AND m.is_nan = 0)"
    if term.measure in ("min", "max"):
        nan = compares.sql
    if term.measure == "at":
        return Clause(
            f"EXISTS (SELECT 1 FROM metric_points m WHERE m.run = r.number AND m.metric = {_METRIC} AND m.step = ?"
            f" AND {nan})",
            (term.key, term.step, *compares.values),
        )
    return Clause(
        f"EXISTS (SELECT 1 FROM latest_metrics m WHERE m.run = r.number AND m.metric = {_METRIC} AND {nan})",
        (term.key, *compares.values),
    )


def _of_dataset(comparison: Comparison) -> Clause:
    term, operator, value = comparison
    column = {"name": "d.name", "digest": "d.digest", "context": "i.context"}[term.key]
    compares = compared(column, operator, value)
    return Clause(
        "EXISTS (SELECT 1 FROM run_inputs i JOIN input_datasets d ON d.number = i.dataset WHERE i.run = r.number"
        f" AND {compares.sql})",
        compares.values,
    )
