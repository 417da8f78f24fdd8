"""Searching runs: a filter, an order and a page, answered by the database.

An order that begins with a metric walks the index of latest values (values, then NaN, then runs without the metric),
any other order the index of starts. A filter that few runs meet is asked first instead, and its runs are sorted.
"""

from collections.abc import Sequence
from typing import NamedTuple

from mainspring.errors import Invalid
from mainspring.store.protocol import Row, Store, Value
from mainspring.tracking.clauses import Clause, Key, Walk, among, place_of, token_of, visit
from mainspring.tracking.conditions import RUN_COLUMN_OF, RUN_VOCABULARY, few_runs, runs_that
from mainspring.tracking.experiments import Stage
from mainspring.tracking.filters import Condition, Order, Term, parse_filter, parse_order
from mainspring.tracking.runs import Run, runs_numbered

__all__ = ["RunPage", "search_runs"]

#: A filter that at most so many runs meet is asked first; they are sorted in no time.
_FEW = 3_000


class RunPage(NamedTuple):
    """Some runs in order, and the token of what follows; None at the end."""

    runs: list[Run]
    token: str | None


class _Leg(NamedTuple):
    """A walk, and what stands in the place of each of its rows for the keys that it holds fixed."""

    walk: Walk
    fixed: tuple[Value, ...] = ()


def search_runs(
    store: Store,
    experiment_ids: Sequence[int],
    *,
    filter: str = "",  # noqa: A002  # the word that MLflow's clients use
    order_by: Sequence[str] = (),
    stages: Sequence[Stage] = ("active",),
    limit: int = 1000,
    token: str | None = None,
) -> RunPage:
    """Return a page of the runs in some experiments; newest first where no order is given.

    Ties are broken by start, newest first, then by id. Where a run lacks what is ordered by, it comes last.

    Raises:
        Invalid: the filter, the order or the token cannot be read.
    """
    condition = parse_filter(filter, RUN_VOCABULARY)
    orders = [parse_order(each, RUN_VOCABULARY) for each in order_by]
    if len({each.term for each in orders}) < len(orders):
        raise Invalid(f"`order_by` contains duplicate fields: {list(order_by)}", where="order_by")
    after = place_of(token) if token else None
    if not experiment_ids:
        return RunPage([], None)
    rows: list[Row] = []
    for walk, fixed in _legs(store, list(dict.fromkeys(experiment_ids)), condition, orders, stages):
        rest: Sequence[Value] | None = after
        if after is not None and fixed:
            here = tuple(after[: len(fixed)])
            if here > fixed:  # the legs come in the order of what they hold fixed: this one is behind us
                continue
            rest = after[len(fixed) :] if here == fixed else None
        rows += [(row[0], *fixed, *row[1:]) for row in visit(store, walk, rest, limit + 1 - len(rows))]
        if len(rows) > limit:
            break
    runs = runs_numbered(store, [row[0] for row in rows[:limit]])
    return RunPage(runs, token_of(rows[limit - 1][1:]) if len(rows) > limit else None)


def _legs(
    store: Store, experiments: list[int], condition: Condition, orders: list[Order], stages: Sequence[Stage]
) -> list[_Leg]:
    """Return the walks that, one after the other, visit every run that matches in the wanted order."""
    wanted = among("r.stage", stages).and_(runs_that(condition))
    few = few_runs(store, condition, experiments, most=_FEW)
    if few is not None:
        # the plus keeps the planner from walking a whole experiment for the sake of a handful of runs
        where = Clause(f"r.number IN ({few.sql})", few.values).and_(among("+r.experiment_id", experiments))
        return [_Leg(_sorted(orders, where.and_(wanted)))]
    first = orders[0].term if orders else None
    if first is not None and first.entity == "metric" and first.measure in ("", "last") and len(experiments) == 1:
        return _by_metric(experiments[0], orders, wanted)
    return [_Leg(_sorted(orders, among("r.experiment_id", experiments).and_(wanted)))]


def _by_metric(experiment: int, orders: list[Order], wanted: Clause) -> list[_Leg]:
    """Return the walks over an experiment by a metric: its values by their index, NaN, runs without the metric."""
    joins, keys = _keys(orders[1:])
    keys = (*keys, *_last_keys(orders))
    first = orders[0]
    metric = "(SELECT metric FROM metric_names WHERE key = ?)"
    # a cross join fixes the order of the loops: the index first, then its runs
    source = Clause("latest_metrics o CROSS JOIN runs r").then(joins)
    legs = []
    for is_nan in (0, 1):
        where = Clause(
            f"r.number = o.run AND o.experiment_id = ? AND o.metric = {metric} AND o.is_nan = {is_nan}",
            (experiment, first.term.key),
        )
        by_value = () if is_nan else (Key("o.value", first.ascending),)
        walk = Walk("r.number", source, where.and_(wanted), (*by_value, *keys))
        legs.append(_Leg(walk, (1, 0) if is_nan else (0,)))
    without = Clause(
        "r.experiment_id = ? AND NOT EXISTS"
        f" (SELECT 1 FROM latest_metrics o WHERE o.run = r.number AND o.metric = {metric})",
        (experiment, first.term.key),
    )
    legs.append(_Leg(Walk("r.number", Clause("runs r").then(joins), without.and_(wanted), keys), (2, 0)))
    return legs


def _sorted(orders: list[Order], where: Clause) -> Walk:
    joins, keys = _keys(orders)
    return Walk("r.number", Clause("runs r").then(joins), where, (*keys, *_last_keys(orders)))


def _keys(orders: Sequence[Order]) -> tuple[Clause, tuple[Key, ...]]:
    """Return the joins and the keys of an order; what a run lacks is ranked behind what it has."""
    joins = Clause("")
    keys: list[Key] = []
    for number, order in enumerate(orders):
        join, value, missing = _ordered_by(order.term, f"k{number}")
        joins = joins.then(join)
        if missing.sql:
            keys.append(Key(missing.sql, ascending=True, values=missing.values))
        keys.append(Key(value.sql, order.ascending, value.values))
    return joins, tuple(keys)


def _ordered_by(term: Term, alias: str) -> tuple[Clause, Clause, Clause]:
    """Return the join that brings a term in, its value, and its rank where it can be missing."""
    if term.entity == "attribute":
        column = RUN_COLUMN_OF[term.key]
        if term.key != "end_time":
            return Clause(""), Clause(column), Clause("")
        return Clause(""), Clause(f"coalesce({column}, 0)"), Clause(f"CASE WHEN {column} IS NULL THEN 1 ELSE 0 END")
    if term.entity == "metric":
        name = "(SELECT metric FROM metric_names WHERE key = ?)"
        if term.measure == "at":
            point = Clause(
                f"(SELECT max(p.value) FROM metric_points p WHERE p.run = r.number AND p.metric = {name}"
                " AND p.step = ? AND p.is_nan = 0)",
                (term.key, term.step),
            )
            missing = Clause(f"CASE WHEN {point.sql} IS NULL THEN 2 ELSE 0 END", point.values)
            return Clause(""), Clause(f"coalesce({point.sql}, 0)", point.values), missing
        join = f" LEFT JOIN latest_metrics {alias} ON {alias}.run = r.number AND {alias}.metric = {name}"
        if term.measure in ("min", "max"):
            column = f"{alias}.{'low' if term.measure == 'min' else 'high'}"
            missing = Clause(f"CASE WHEN {column} IS NULL THEN 2 ELSE 0 END")
        else:
            column = f"{alias}.value"
            missing = Clause(f"CASE WHEN {column} IS NULL THEN 2 WHEN {alias}.is_nan = 1 THEN 1 ELSE 0 END")
        return Clause(join, (term.key,)), Clause(f"coalesce({column}, 0)"), missing
    if term.entity == "dataset":
        raise Invalid(f"Invalid identifier type '{term.entity}'", where="order_by")
    table = "run_tags" if term.entity == "tag" else "run_parameters"
    return (
        Clause(f" LEFT JOIN {table} {alias} ON {alias}.run = r.number AND {alias}.key = ?", (term.key,)),
        Clause(f"coalesce({alias}.value, '')"),
        Clause(f"CASE WHEN {alias}.value IS NULL THEN 1 ELSE 0 END"),
    )


def _last_keys(orders: Sequence[Order]) -> tuple[Key, ...]:
    """Return what breaks ties: the start, newest first, unless it was ordered by, and the id."""
    asked = {each.term for each in orders}
    start = () if Term("attribute", "start_time") in asked else (Key("r.started_ms", ascending=False),)
    return (*start, Key("r.run_id", ascending=True))
