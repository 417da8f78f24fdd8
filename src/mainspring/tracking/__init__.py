"""Runs and what they logged: parameters, metrics, tags.

Nouns: `Run`, experiment (a name that groups runs), metric point, tag. Start reading in `runs.py`.
"""

from mainspring.tracking.runs import (
    Run,
    RunStatus,
    find_run,
    finish_run,
    list_runs,
    log_metrics,
    metric_history,
    set_tags,
    start_run,
)

__all__ = [
    "Run",
    "RunStatus",
    "find_run",
    "finish_run",
    "list_runs",
    "log_metrics",
    "metric_history",
    "set_tags",
    "start_run",
]
