"""Searching logged models: MLflow's filter, its orders as documents, and pages."""

from collections.abc import Sequence
from typing import NamedTuple

from mainspring.errors import Invalid
from mainspring.store.protocol import Store
from mainspring.tracking.clauses import Clause, Key, Walk, among, clause_of, compared, place_of, token_of, visit
from mainspring.tracking.filters import Comparison, Condition, Not, Vocabulary, parse_filter
from mainspring.tracking.logged_models import LoggedModel, logged_models_numbered

__all__ = ["DatasetName", "ModelOrder", "ModelPage", "search_logged_models"]

MODEL_VOCABULARY = Vocabulary(
    entities={
        "attributes": "attribute", "attribute": "attribute", "attr": "attribute", "metrics": "metric",
        "metric": "metric", "params": "parameter", "param": "parameter", "parameters": "parameter", "tags": "tag",
        "tag": "tag",
    },
    numbers=frozenset({"creation_timestamp", "last_updated_timestamp"}),
    texts=frozenset({"name", "model_id", "model_type", "status", "source_run_id", "experiment_id"}),
    aliases={
        "creation_time": "creation_timestamp", "creation_timestamp_ms": "creation_timestamp",
        "last_updated_time": "last_updated_timestamp", "last_updated_timestamp_ms": "last_updated_timestamp",
    },
    lists=frozenset({"name", "model_id", "model_type", "status", "source_run_id"}),
    pairs_in_lists=True,
)  # fmt: skip
_COLUMN_OF = {
    "name": "l.name",
    "model_id": "l.model_id",
    "model_type": "l.model_type",
    "status": "upper(l.status)",
    "source_run_id": "l.source_run",
    "experiment_id": "CAST(l.experiment_id AS TEXT)",
    "creation_timestamp": "l.created_ms",
    "last_updated_timestamp": "l.updated_ms",
}


class DatasetName(NamedTuple):
    """A dataset that a metric was measured on; without a digest, every version of it."""

    name: str
    digest: str | None = None


class ModelOrder(NamedTuple):
    """One key to order by: an attribute, or ``metrics.NAME`` on a dataset if one is named."""

    field: str
    ascending: bool = True
    dataset: DatasetName | None = None


class ModelPage(NamedTuple):
    """Some logged models in order, and the token of what follows; None at the end."""

    models: list[LoggedModel]
    token: str | None


def search_logged_models(
    store: Store,
    experiment_ids: Sequence[int],
    *,
    filter: str = "",  # noqa: A002  # the word that MLflow's clients use
    datasets: Sequence[DatasetName] = (),
    order_by: Sequence[ModelOrder] = (),
    limit: int = 100,
    token: str | None = None,
) -> ModelPage:
    """Return a page of logged models; newest first where no order is given.

    Raises:
        Invalid: the filter, the order or the token cannot be read.
    """
    condition = parse_filter(filter, MODEL_VOCABULARY)
    where = Clause("l.stage != 'deleted'").and_(among("l.experiment_id", experiment_ids))
    where = where.and_(clause_of(condition, lambda comparison: _of_comparison(comparison, datasets)))
    if datasets and not _asks_metric(condition):
        on = _on_datasets(datasets)
        where = where.and_(
            Clause(f"EXISTS (SELECT 1 FROM logged_model_metrics m WHERE m.model_id = l.model_id{on.sql})", on.values)
        )
    keys = [key for order in order_by for key in _keys_of(order)]
    asked = {key.sql for key in keys}
    keys += [] if "l.created_ms" in asked else [Key("l.created_ms", ascending=False)]
    keys += [] if "l.model_id" in asked else [Key("l.model_id", ascending=True)]
    walk = Walk("l.model_id", Clause("logged_models l"), where, tuple(keys))
    if not experiment_ids:
        return ModelPage([], None)
    rows = visit(store, walk, place_of(token) if token else None, limit + 1)
    models = logged_models_numbered(store, [row[0] for row in rows[:limit]])
    return ModelPage(models, token_of(rows[limit - 1][1:]) if len(rows) > limit else None)


def _of_comparison(comparison: Comparison, datasets: Sequence[DatasetName]) -> Clause:
    term, operator, value = comparison
    if term.measure:
        raise Invalid(f"`{term.measure}(...)` is asked of runs, not of logged models", where="filter")
    if term.entity == "attribute":
        return compared(_COLUMN_OF[term.key], operator, value)
    if term.entity == "metric":
        on = _on_datasets(datasets)
        compares = compared("m.value", operator, value)
        return Clause(
            "EXISTS (SELECT 1 FROM logged_model_metrics m WHERE m.model_id = l.model_id AND m.key = ? AND m.is_nan = 0"
            f" AND {compares.sql}{on.sql})",
            (term.key, *compares.values, *on.values),
        )
    table = "logged_model_tags" if term.entity == "tag" else "logged_model_parameters"
    exists = f"EXISTS (SELECT 1 FROM {table} t WHERE t.model_id = l.model_id AND t.key = ?"
    if value is None:
        return Clause(f"{'NOT ' if operator == 'IS NULL' else ''}{exists})", (term.key,))
    compares = compared("t.value", operator, value)
    return Clause(f"{exists} AND {compares.sql})", (term.key, *compares.values))


def _on_datasets(datasets: Sequence[DatasetName]) -> Clause:
    if not datasets:
        return Clause("")
    either = Clause("")
    for name, digest in datasets:
        one = Clause("m.dataset_name = ?", (name,))
        if digest:
            one = one.and_(Clause("m.dataset_digest = ?", (digest,)))
        one = Clause(f"({one.sql})", one.values)
        either = either.or_(one) if either.sql else one
    return Clause(f" AND {either.sql}", either.values)


def _asks_metric(condition: Condition) -> bool:
    if isinstance(condition, Comparison):
        return condition.term.entity == "metric"
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return any(_asks_metric(each) for each in parts)


def _keys_of(order: ModelOrder) -> list[Key]:
    entity, dot, name = order.field.partition(".")
    if not dot:
        attribute = MODEL_VOCABULARY.aliases.get(order.field.strip(), order.field.strip())
        if attribute not in _COLUMN_OF:
            raise Invalid(f"Invalid order by field name: {order.field}", where="order_by")
        return [Key(_COLUMN_OF[attribute], order.ascending)]
    if entity != "metrics":
        raise Invalid(f"Invalid order by field name: {order.field}. Only metrics are supported.", where="order_by")
    on = _on_datasets([order.dataset] if order.dataset else [])
    latest = (
        "(SELECT m.value FROM logged_model_metrics m WHERE m.model_id = l.model_id AND m.key = ? AND m.is_nan = 0"
        f"{on.sql} ORDER BY m.at_ms DESC, m.step DESC, m.run_id LIMIT 1)"
    )
    values = (name, *on.values)
    missing = Key(f"CASE WHEN {latest} IS NULL THEN 1 ELSE 0 END", ascending=True, values=values)
    return [missing, Key(f"coalesce({latest}, 0)", order.ascending, values)]
