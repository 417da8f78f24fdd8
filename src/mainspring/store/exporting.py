"""All facts as tables, to leave with: what `mainspring store export` writes, a page at a time and of one instant.

A table that a migration makes is either listed here with its key or named among those that stay; a test sees to it.
"""

from collections.abc import Callable, Iterator, Sequence

from mainspring.store.protocol import Row, Store, Transaction

__all__ = ["EXPORTED", "KEPT_BACK", "export_tables"]

#: Each table that is exported, and the columns that order it.
EXPORTED: dict[str, tuple[str, ...]] = {
    "alias_moves": ("number",),
    "alias_rules": ("model", "alias", "origin"),
    "approvals": ("model", "version", "approver"),
    "dataset_tags": ("name", "tag"),
    "dataset_terms": ("name", "version"),
    "dataset_versions": ("name", "version"),
    "deployments": ("deployment_id",),
    "events": ("number",),
    "experiment_tags": ("experiment_id", "key"),
    "experiments": ("experiment_id",),
    "gate_results": ("number",),
    "incident_entries": ("number",),
    "incidents": ("incident_id",),
    "ingestions": ("name", "number"),
    "input_datasets": ("number",),
    "latest_metrics": ("run", "metric"),
    "log_gaps": ("number",),
    "log_segments": ("number",),
    "logged_files": ("path",),
    "logged_model_metrics": ("model_id", "key", "at_ms", "step", "run_id"),
    "logged_model_parameters": ("model_id", "key"),
    "logged_model_tags": ("model_id", "key"),
    "logged_models": ("model_id",),
    "metric_names": ("metric",),
    "metric_points": ("run", "metric", "at_ms", "step", "value", "is_nan"),
    "model_tags": ("model", "key"),
    "model_versions": ("model", "version"),
    "models": ("name",),
    "monitors": ("model", "version", "rule"),
    "partition_runs": ("pipeline", "parameters", "partition"),
    "quarantine_releases": ("name", "number", "place"),
    "reviews": ("prediction_id",),
    "roles": ("name",),
    "run_inputs": ("run", "dataset"),
    "run_models": ("run", "role", "model_id"),
    "run_parameters": ("run", "key"),
    "run_provenance": ("run_id",),
    "run_steps": ("run_id", "number"),
    "run_tags": ("run", "key"),
    "runs": ("number",),
    "schedules": ("name",),
    "segment_counts": ("path", "hour"),
    "served_hours": ("model", "hour", "outcome", "latency_bin"),
    "silences": ("silence_id",),
    "version_comments": ("number",),
    "version_tags": ("model", "version", "key"),
}
#: Secrets and what signs with them; then what only this installation can use: marks, queues and the cache of steps.
KEPT_BACK = frozenset({
    "crossings", "deliveries", "tokens", "users", "webhooks",
    "file_stamps", "journal_offsets", "log_journals", "log_traffic", "migrations", "news", "news_cursors",
    "schedule_ticks", "step_code", "step_results", "upload_parts", "uploads",
})  # fmt: skip
_PAGE = 20_000

#: Is given a table's name, its columns, and its rows in pages.
Keep = Callable[[str, tuple[str, ...], Iterator[list[Row]]], None]


def export_tables(store: Store, keep: Keep) -> None:
    """Hand every exported table to `keep`, one after the other, as all of them are at one instant."""
    columns = {
        table: store.examine(f"SELECT * FROM {table}", [table], seconds=60, limit=0).columns for table in EXPORTED
    }

    def look(transaction: Transaction) -> None:
        for table, key in EXPORTED.items():
            keep(table, columns[table], _pages(transaction, table, columns[table], key))

    store.snapshot(look)


def _pages(transaction: Transaction, table: str, columns: tuple[str, ...], key: Sequence[str]) -> Iterator[list[Row]]:
    """Yield the rows of a table in the order of its key; a page begins behind the last row of the one before."""
    named = ", ".join(f'"{column}"' for column in columns)
    order, places = ", ".join(key), [columns.index(column) for column in key]
    behind, after = "", ()
    while rows := transaction.execute(f"SELECT {named} FROM {table}{behind} ORDER BY {order} LIMIT ?", (*after, _PAGE)):
        yield rows
        behind = f" WHERE ({order}) > ({', '.join('?' * len(key))})"
        after = tuple(rows[-1][place] for place in places)
