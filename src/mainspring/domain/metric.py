"""Metrics as words: their names, which way is better, a measured value with its interval, and goals over them.

`evaluate.metrics` computes; gates, monitors and pages only speak of what is named here. One name means one formula
everywhere, so a goal on ``brier`` and the monitored loss of the same model are the same number.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from mainspring.domain.signature import Task
from mainspring.errors import Invalid, nearest

__all__ = ["METRICS", "Comparator", "Goal", "MetricInfo", "MetricValue", "metrics_of", "parse_goal"]

Comparator = Literal[">=", "<=", ">", "<"]


class MetricInfo(NamedTuple):
    """What a metric's name means: the better direction, the tasks it is defined for, and one line for people."""

    larger_is_better: bool
    tasks: tuple[Task, ...]
    meaning: str


_CLASSIFIERS: tuple[Task, ...] = ("binary", "multiclass")
_REGRESSION: tuple[Task, ...] = ("regression",)

#: Every metric there is. For multiclass, precision, recall, f1 and roc_auc are plain means over the classes.
METRICS: dict[str, MetricInfo] = {
    "accuracy": MetricInfo(True, _CLASSIFIERS, "share of rows whose predicted class is right"),
    "average_precision": MetricInfo(True, ("binary",), "precision averaged over the recall levels of a ranking"),
    "balanced_accuracy": MetricInfo(True, _CLASSIFIERS, "mean recall over the classes"),
    "brier": MetricInfo(False, _CLASSIFIERS, "mean squared error of the probabilities, scaled to 0..1"),
    "ece": MetricInfo(False, _CLASSIFIERS, "expected gap between stated confidence and observed frequency"),
    "f1": MetricInfo(True, _CLASSIFIERS, "harmonic mean of precision and recall"),
    "log_loss": MetricInfo(False, _CLASSIFIERS, "mean negative log of the probability given to what happened"),
    "mae": MetricInfo(False, _REGRESSION, "mean absolute error, in units of the target"),
    "mape": MetricInfo(False, _REGRESSION, "mean absolute error as a share of the true value"),
    "precision": MetricInfo(True, _CLASSIFIERS, "share of predicted positives that are positive"),
    "r2": MetricInfo(True, _REGRESSION, "share of the target's variance that is explained"),
    "recall": MetricInfo(True, _CLASSIFIERS, "share of positives that are found"),
    "rmse": MetricInfo(False, _REGRESSION, "root mean squared error, in units of the target"),
    "roc_auc": MetricInfo(True, _CLASSIFIERS, "chance that a positive scores above a negative"),
}


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A metric measured on `n` rows, with a confidence interval and the method that made it.

    `n` counts the rows the number rests on (for recall: the positives). `value` is NaN where the metric is undefined
    on these rows, and `method` then says why. `low` and `high` bound the true value with probability `level`.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    level: float = 0.95
    method: str = ""

    @property
    def is_defined(self) -> bool:
        """Whether the rows allowed a value at all."""
        return not math.isnan(self.value)

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields; what is undefined becomes None, because JSON has no NaN."""
        numbers = {"value": self.value, "low": self.low, "high": self.high}
        shown: dict[str, object] = {key: number if math.isfinite(number) else None for key, number in numbers.items()}
        return {"name": self.name, **shown, "n": self.n, "level": self.level, "method": self.method}

    def __str__(self) -> str:
        if not self.is_defined:
            return f"{self.name} undefined ({self.method})"
        return f"{self.name} {self.value:.4g} [{self.low:.4g}, {self.high:.4g}]"


@dataclass(frozen=True, slots=True)
class Goal:
    """What a model must reach, such as ``roc_auc >= 0.7``."""

    metric: str
    op: Comparator
    value: float

    def met_by(self, value: float) -> bool:
        """Whether `value` reaches the goal; an undefined value (NaN) never does."""
        match self.op:
            case ">=":
                return value >= self.value
            case "<=":
                return value <= self.value
            case ">":
                return value > self.value
            case "<":
                return value < self.value

    def __str__(self) -> str:
        return f"{self.metric} {self.op} {self.value:g}"


def metrics_of(task: Task) -> tuple[str, ...]:
    """Return the names of the metrics defined for `task`, sorted.

    >>> metrics_of("regression")
    ('mae', 'mape', 'r2', 'rmse')
    """
    return tuple(sorted(name for name, info in METRICS.items() if task in info.tasks))


_GOAL = re.compile(r"\s*(?P<metric>[A-Za-z_]\w*)\s*(?P<op>>=|<=|>|<)\s*(?P<value>\S+)\s*")


def parse_goal(text: str, *, task: Task | None = None) -> Goal:
    """Read a goal from text such as ``roc_auc >= 0.70``.

    >>> parse_goal("brier<0.2")
    Goal(metric='brier', op='<', value=0.2)

    Raises:
        Invalid: the text is no comparison, the metric is unknown or not defined for `task`, the number is not finite,
            or the goal asks for a worse value.
    """
    match = _GOAL.fullmatch(text)
    if match is None:
        raise Invalid(f"`{text}` is not a goal", where="goal", next_step="write metric, sign, number: roc_auc >= 0.70")
    metric, op = match["metric"], match["op"]
    known = METRICS if task is None else metrics_of(task)
    if metric not in known:
        whose = "" if task is None else f" for a {task} model"
        raise Invalid(f"There is no metric `{metric}`{whose}", where="goal", next_step=nearest(metric, known))
    try:
        value = float(match["value"])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Invalid(f"`{match['value']}` is not a number", where="goal", next_step=f"write {metric} {op} 0.5")
    better = ">" if METRICS[metric].larger_is_better else "<"
    if not op.startswith(better):
        raise Invalid(
            f"`{text.strip()}` asks for a worse {metric}",
            where="goal",
            next_step=f"{'larger' if better == '>' else 'smaller'} is better: write {metric} {better}= {value:g}",
        )
    return Goal(metric, _comparator(op), value)


def _comparator(op: str) -> Comparator:
    match op:
        case ">=" | "<=" | ">" | "<":
            return op
        case _:  # the pattern lets no other sign through
            raise AssertionError(op)
