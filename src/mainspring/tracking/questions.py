"""SQL of a person's own over runs, metrics and models: read-only, bounded in time and rows, over these tables alone."""

from mainspring.store.protocol import Examined, Store

__all__ = ["TABLES", "ask_sql"]

#: What may be read; `docs/tracking.md` says what is in them. Users, tokens and webhooks are not among them.
TABLES = (
    "experiments",
    "experiment_tags",
    "input_datasets",
    "latest_metrics",
    "logged_files",
    "logged_model_metrics",
    "logged_model_parameters",
    "logged_model_tags",
    "logged_models",
    "metric_names",
    "metric_points",
    "run_inputs",
    "run_models",
    "run_parameters",
    "run_tags",
    "runs",
)


def ask_sql(
    store: Store, sql: str, *, seconds: float = 10.0, limit: int = 10_000, by_stranger: bool = False
) -> Examined:
    """Return the rows of a query, at most `limit`, or say that it took more than `seconds`.

    Raises:
        Invalid: the database cannot read the query, or it asks for another table, or would write.
        Unavailable: it took too long.
    """
    return store.examine(sql, TABLES, seconds=seconds, limit=limit, by_stranger=by_stranger)
