"""Which runs have a metric beyond a bound: what alerts on metrics ask. Reads tables of `metrics.py` and `runs.py`."""

from datetime import datetime
from typing import NamedTuple

from mainspring.domain.moments import to_milliseconds
from mainspring.errors import Invalid
from mainspring.store.protocol import Store

__all__ = ["Crossing", "runs_beyond"]

#: operator -> the extreme value to compare: a metric that went back meanwhile has crossed all the same.
_EXTREMES = {"<": "low", "<=": "low", ">": "high", ">=": "high"}


class Crossing(NamedTuple):
    """A run whose metric went beyond the bound: its extreme value, and the latest with its step."""

    run_id: str
    extreme: float
    value: float
    step: int


def runs_beyond(
    store: Store, experiment: str, metric: str, operator: str, bound: float, *, since: datetime, limit: int = 1000
) -> list[Crossing]:
    """Return active runs of an experiment that ever had a metric beyond a bound, and logged it since a moment.

    Raises:
        Invalid: the operator is none of ``<``, ``<=``, ``>``, ``>=``.
    """
    if operator not in _EXTREMES:
        raise Invalid(f"`{operator}` does not compare a metric with a bound", next_step="use <, <=, > or >=")
    extreme = _EXTREMES[operator]
    rows = store.read(
        f"SELECT runs.run_id, latest.{extreme}, latest.value, latest.step FROM experiments"
        " JOIN metric_names ON metric_names.key = ?"
        " JOIN latest_metrics AS latest ON latest.experiment_id = experiments.experiment_id"
        "  AND latest.metric = metric_names.metric"
        " JOIN runs ON runs.number = latest.run AND runs.stage = 'active'"
        f" WHERE experiments.name = ? AND latest.{extreme} {operator} ? AND latest.at_ms >= ?"
        " ORDER BY latest.at_ms DESC LIMIT ?",
        (metric, experiment, bound, to_milliseconds(since), limit),
    )
    return [Crossing(*row) for row in rows]
