"""How fast a model ages: trained to earlier and earlier moments, and each scored on the same newest rows.

The newest model's test part is what all are scored on; nothing they learnt from is younger than it. An older model's
loss on those rows, less the newest's, is what its age costs, compared row by row and by day, as a challenger is with a
champion. What retraining is worth follows from the curve: the mean of what the ages in between cost.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mainspring.data.split import split_by_time
from mainspring.data.table import columns_of
from mainspring.errors import Invalid, nearest
from mainspring.evaluate.compare import Comparison, compare
from mainspring.evaluate.losses import loss
from mainspring.loop.inputs import obey_terms
from mainspring.train.features import days_of, target_index
from mainspring.train.steps import score_rows

if TYPE_CHECKING:
    from mainspring.loop.definition import Loop
    from mainspring.train.candidate import Candidate
    from mainspring.workspace import Workspace

__all__ = ["Age", "Staleness", "staleness"]


@dataclass(frozen=True, slots=True)
class Age:
    """A model that was trained that much earlier: its mean loss on the newest rows, and what its age costs there.

    `worth` is the mean loss that is saved by retraining as often as that, instead of as seldom as the oldest age.
    """

    days: float
    trained_until: str
    loss: float
    cost: Comparison | None
    worth: float

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return {**asdict(self), "cost": None if self.cost is None else self.cost.to_json()}


@dataclass(frozen=True, slots=True)
class Staleness:
    """The curve, from the newest model on, and on what it was measured.

    `half_life_days` is the age at which half of what the oldest loses is lost; None where the oldest is not surely
    worse than the newest.
    """

    model: str
    loss: str
    rows: int
    tested: tuple[str, str]
    ages: tuple[Age, ...]
    half_life_days: float | None

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return {**asdict(self), "ages": [each.to_json() for each in self.ages]}


def staleness(loop: "Loop", workspace: "Workspace", ages: Sequence[timedelta], **parameters: Any) -> Staleness:
    """Train the loop's pipeline now and as it would have been each of `ages` ago, and score all on the newest rows.

    The pipeline needs a parameter `until`; of a loop that names its data, the `time` column is cut instead. Nothing is
    registered and nothing serves.

    Raises:
        Invalid: the loop cannot be trained to a moment, or an age leaves no rows to learn from.
        Refused: the terms of the data do not allow the loop's purpose.
    """
    if not ages:
        raise Invalid("No age is named", where="ages", next_step="such as 7d,30d,90d")
    obey_terms(workspace, loop.arguments(workspace, parameters), loop.purposes)
    wanted = sorted(set(ages))
    until = _newest_moment(loop, workspace)
    newest = _trained(loop, workspace, until, parameters)
    test, fitted = columns_of(newest.test), newest.fitted
    time = loop.time or _time_of(test, newest)
    until = min(until, _learnt_before(newest, test, time))
    truth = target_index(test[fitted.signature.target], fitted.signature)
    task, bound = fitted.signature.task, fitted.loss_bound
    days = days_of(test, time)
    losses = [loss(task, truth, newest.scores, bound=bound)]
    for age in wanted:
        older = _trained(loop, workspace, until - age, parameters).fitted
        if older.signature.classes != fitted.signature.classes:
            raise Invalid(f"{age.days} days ago the target had other classes", next_step="name younger ages")
        losses.append(loss(task, truth, score_rows(older.estimator, test, older.signature), bound=bound))
    return Staleness(
        loop.name,
        newest.report.loss,
        len(truth),
        _span(test, time),
        _curve(losses, [timedelta(0), *wanted], days, until),
        _half_life(losses, [timedelta(0), *wanted], days),
    )


def _curve(
    losses: list[NDArray[np.float64]], ages: list[timedelta], days: NDArray[np.int64], until: datetime
) -> tuple[Age, ...]:
    means = np.array([each.mean() for each in losses])
    at = np.array([each / timedelta(days=1) for each in ages])
    # by retraining each `age`, a model is on average as old as the ages up to it: the mean under the curve
    areas = np.concatenate([[0.0], np.cumsum(np.diff(at) * (means[1:] + means[:-1]) / 2)])
    mean_until = np.where(at > 0, areas / np.where(at > 0, at, 1.0), means[0])
    return tuple(
        Age(
            float(at[number]),
            (until - age).isoformat(timespec="seconds"),
            float(means[number]),
            compare(losses[0], losses[number], groups=days) if number else None,
            float(mean_until[-1] - mean_until[number]),
        )
        for number, age in enumerate(ages)
    )


def _half_life(losses: list[NDArray[np.float64]], ages: list[timedelta], days: NDArray[np.int64]) -> float | None:
    if compare(losses[0], losses[-1], groups=days).verdict != "worse":
        return None
    rises = np.array([each.mean() - losses[0].mean() for each in losses])
    at = [each / timedelta(days=1) for each in ages]
    half = rises[-1] / 2
    after = int(np.argmax(rises >= half))
    share = (half - rises[after - 1]) / (rises[after] - rises[after - 1])
    return float(at[after - 1] + share * (at[after] - at[after - 1]))


def _trained(loop: "Loop", workspace: "Workspace", until: datetime, parameters: dict[str, Any]) -> "Candidate":
    if "until" in loop.parameter_names():
        given = loop.arguments(workspace, {**parameters, "until": until})
        return loop.pipeline.run(workspace.pipeline_context, **given).value
    from mainspring.train.default import read_checked
    from mainspring.train.steps import evaluate, fit, split

    table = read_checked(Path(str(loop.data)), loop.target, loop.purposes)
    moments = columns_of(table)[loop.time]
    table = table[moments <= np.datetime64(until.astimezone(UTC).replace(tzinfo=None))].reset_index(drop=True)
    if not len(table):
        raise Invalid(f"There are no rows of before {until:%Y-%m-%d}", where="ages", next_step="name younger ages")
    parts = split(table, target=loop.target, time=loop.time)
    return evaluate(fit(None, parts), parts)


def _newest_moment(loop: "Loop", workspace: "Workspace") -> datetime:
    if "until" in loop.parameter_names():
        return workspace.clock.now()
    if loop.data is None or not loop.time:
        raise Invalid(
            f"`{loop.name}` cannot be trained to an earlier moment",
            where="loop.train",
            next_step="give its pipeline a parameter `until`, or the loop a `time` column with its `data`",
        )
    from mainspring.train.default import read_table

    columns = columns_of(read_table(Path(str(loop.data)), loop.target))
    if loop.time not in columns:
        raise Invalid(f"There is no column `{loop.time}`", where="loop.time", next_step=nearest(loop.time, columns))
    split_by_time(columns[loop.time])  # says what is wrong with the column, if anything is
    newest: datetime = np.max(columns[loop.time]).astype("datetime64[us]").item()
    return newest.replace(tzinfo=UTC)


def _learnt_before(newest: "Candidate", test: dict[str, NDArray[Any]], time: str) -> datetime:
    """Return the newest moment of the test rows, which must all be later than what the model learnt from.

    Raises:
        Invalid: the rows were dealt by chance, so older models may have learnt from rows they would be tested on.
    """
    if not time or "test_from" not in newest.report.span:
        raise Invalid(
            "The pipeline deals its rows by chance, so an older model may have learnt what it would be tested on",
            where="split",
            next_step="split by time: split(table, time=..., target=...)",
        )
    last: datetime = np.max(test[time]).astype("datetime64[us]").item()
    return last.replace(tzinfo=UTC)


def _time_of(test: dict[str, NDArray[Any]], candidate: "Candidate") -> str:
    """Return the column of moments that a candidate's rows were dealt by: of those that are no features, the first."""
    hidden = [
        name for name in test if name not in (*candidate.fitted.signature.names, candidate.fitted.signature.target)
    ]
    return next((name for name in hidden if test[name].dtype.kind == "M"), "")


def _span(test: dict[str, NDArray[Any]], time: str) -> tuple[str, str]:
    if not time:
        return "", ""
    return str(np.min(test[time]).astype("datetime64[D]")), str(np.max(test[time]).astype("datetime64[D]"))
