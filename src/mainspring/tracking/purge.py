"""Erasing deleted runs and experiments for good, once nobody may want them back."""

from collections.abc import Callable
from datetime import datetime

from mainspring.domain.ids import RunId
from mainspring.domain.moments import to_milliseconds
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction
from mainspring.tracking.files import forget_files
from mainspring.tracking.logged_models import erase_models

__all__ = ["count_deleted", "purge_deleted"]

#: Every table whose rows belong to a run, by its number; a new one is added here.
_OF_A_RUN = ("metric_points", "latest_metrics", "run_parameters", "run_tags", "run_inputs", "run_models")
_DELETED = "FROM runs WHERE stage = 'deleted' AND deleted_ms < ?"
# one that still has runs was restored in part, or is waited for
_EMPTY = (
    "FROM experiments WHERE stage = 'deleted' AND updated_ms < ? AND experiment_id NOT IN"
    " (SELECT experiment_id FROM runs)"
)


def count_deleted(store: Store, before: datetime) -> int:
    """Return how many runs were deleted before a moment and are still there."""
    count: int = store.read(f"SELECT count(*) {_DELETED}", (to_milliseconds(before),))[0][0]
    return count


def purge_deleted(store: Store, before: datetime, forget: Callable[[Transaction, str], None]) -> list[RunId]:
    """Erase the runs that were deleted before a moment, and the experiments that are empty then; return the runs.

    `forget` is called for each run in the same transaction: other rooms erase what they know of it.
    """
    moment = to_milliseconds(before)

    def write(transaction: Transaction) -> list[RunId]:
        runs = transaction.execute(f"SELECT number, run_id, artifact_uri {_DELETED}", (moment,))
        for number, run_id, uri in runs:
            for table in _OF_A_RUN:
                transaction.execute(f"DELETE FROM {table} WHERE run = ?", (number,))
            forget(transaction, run_id)
            forget_files(transaction, uri)
            transaction.execute("DELETE FROM runs WHERE number = ?", (number,))
        erase_models(transaction, "stage = 'deleted' AND updated_ms < ?", (moment,))
        for (experiment,) in transaction.execute(f"SELECT experiment_id {_EMPTY}", (moment,)):
            erase_models(transaction, "experiment_id = ?", (experiment,))
            transaction.execute("DELETE FROM input_datasets WHERE experiment_id = ?", (experiment,))
            transaction.execute("DELETE FROM experiment_tags WHERE experiment_id = ?", (experiment,))
            transaction.execute("DELETE FROM experiments WHERE experiment_id = ?", (experiment,))
        return [RunId(run_id) for _, run_id, _ in runs]

    return store.change(
        lambda runs: (
            Event("runs.erased", "runs", {"runs": len(runs), "deleted_before": before.isoformat()}) if runs else None
        ),
        write,
    )
