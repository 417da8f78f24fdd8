"""Searching experiments: by name, tags and times."""

from collections.abc import Sequence
from typing import NamedTuple

from mainspring.errors import Invalid
from mainspring.store.protocol import Store
from mainspring.tracking.clauses import Clause, Key, Walk, among, clause_of, compared, place_of, token_of, visit
from mainspring.tracking.experiments import Experiment, Stage, experiment_number, experiments_numbered
from mainspring.tracking.filters import Comparison, Vocabulary, parse_filter, parse_order

__all__ = ["ExperimentPage", "search_experiments"]

_VOCABULARY = Vocabulary(
    entities={"attribute": "attribute", "tag": "tag", "tags": "tag"},
    numbers=frozenset({"creation_time", "last_update_time"}),
    texts=frozenset({"name", "experiment_id"}),
    aliases={},
    lists=frozenset({"experiment_id"}),
)
_COLUMN_OF = {
    "name": "e.name",
    "experiment_id": "e.experiment_id",
    "creation_time": "e.created_ms",
    "last_update_time": "e.updated_ms",
}


class ExperimentPage(NamedTuple):
    """Some experiments in order, and the token of what follows; None at the end."""

    experiments: list[Experiment]
    token: str | None


def search_experiments(
    store: Store,
    *,
    filter: str = "",  # noqa: A002  # the word that MLflow's clients use
    order_by: Sequence[str] = (),
    stages: Sequence[Stage] = ("active",),
    limit: int = 1000,
    token: str | None = None,
) -> ExperimentPage:
    """Return a page of experiments; newest first where no order is given.

    Raises:
        Invalid: the filter, the order or the token cannot be read.
    """
    orders = [parse_order(each, _VOCABULARY) for each in order_by or ("creation_time DESC", "experiment_id ASC")]
    if any(each.term.entity != "attribute" for each in orders):
        raise Invalid(f"Invalid order_by entity: {[each.term.entity for each in orders]}", where="order_by")
    keys = [Key(_COLUMN_OF[each.term.key], each.ascending) for each in orders]
    if all(key.sql != "e.experiment_id" for key in keys):
        keys.append(Key("e.experiment_id", ascending=False))
    where = among("e.stage", stages).and_(clause_of(parse_filter(filter, _VOCABULARY), _of_comparison))
    walk = Walk("e.experiment_id", Clause("experiments e"), where, tuple(keys))
    rows = visit(store, walk, place_of(token) if token else None, limit + 1)
    found = experiments_numbered(store, [row[0] for row in rows[:limit]])
    return ExperimentPage(found, token_of(rows[limit - 1][1:]) if len(rows) > limit else None)


def _of_comparison(comparison: Comparison) -> Clause:
    term, operator, value = comparison
    if term.entity == "tag":
        exists = "EXISTS (SELECT 1 FROM experiment_tags t WHERE t.experiment_id = e.experiment_id AND t.key = ?"
        if value is None:
            return Clause(f"{'NOT ' if operator == 'IS NULL' else ''}{exists})", (term.key,))
        compares = compared("t.value", operator, value)
        return Clause(f"{exists} AND {compares.sql})", (term.key, *compares.values))
    if term.key != "experiment_id":
        return compared(_COLUMN_OF[term.key], operator, value)
    if operator not in ("=", "!=", "IN", "NOT IN"):
        raise Invalid(f"Invalid comparator for experiment_id: {operator}", where="filter")
    if isinstance(value, tuple):
        return compared(_COLUMN_OF[term.key], operator, tuple(experiment_number(each) for each in value))
    return compared(_COLUMN_OF[term.key], operator, experiment_number(str(value)))
