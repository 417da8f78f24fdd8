"""What an A/B test says so far: the versions that answer side by side, each with the outcomes of its own requests.

Other than a canary's judgement, which lets the champion score the canary's rows too, this asks what became of those who
got an answer: did the outcome differ? Requests are dealt by a hash of their key, so the arms are alike by chance. Each
arm has a confidence sequence for its mean; the difference lies between the ends of the two, which holds at all looks
together (a union bound over four one-sided errors). Source of the bounds: `evaluate.sequential`.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from mainspring.data.table import n_rows
from mainspring.domain.signature import Signature
from mainspring.evaluate import sequential
from mainspring.evaluate.losses import loss
from mainspring.evaluate.metrics import Floats
from mainspring.predictions.log import PredictionLog, scores_of
from mainspring.train.features import label_values

__all__ = ["Arm", "ArmDifference", "Estimate", "compare_arms", "read_arms"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with bounds that may be looked at as often as one likes; of no rows, the bounds are the whole range."""

    mean: float | None
    low: float
    high: float

    def __str__(self) -> str:
        return "" if self.mean is None else f"{self.mean:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True)
class Arm:
    """One version by one route: rows answered and labelled, the loss, and for a binary model the rate of classes[1]."""

    version: int
    route: str
    percent: float
    answered: int
    labelled: int
    loss: Estimate
    outcome: Estimate | None

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ArmDifference:
    """An arm minus the champion, in one measure, with the verdict on it."""

    version: int
    measure: Literal["loss", "outcome"]
    difference: float
    low: float
    high: float
    verdict: Literal["higher", "lower", "undecided"]

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return asdict(self)

    def __str__(self) -> str:
        what = "not proven to differ" if self.verdict == "undecided" else self.verdict
        return f"{self.measure} {what}: {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def read_arms(
    log: PredictionLog,
    signature: Signature,
    routes: Sequence[tuple[int, str, float]],
    *,
    model: str,
    since: datetime,
    until: datetime,
    bound: float | None = None,
    alpha: float = 0.05,
) -> list[Arm]:
    """Return an arm for each (version, route, percent) of `routes`, from labels that came in [since, until).

    `bound` is the error that counts as a loss of 1 (regression only).
    """
    answered = log.answered_by(model, since=since, until=until)
    arms = []
    for version, route, percent in routes:
        rows = log.labelled(model, labelled_from=since, labelled_until=until, version=version, route=route)
        count, losses, outcomes = n_rows(rows), np.zeros(0), np.zeros(0)
        if count:
            truth = label_values(rows["label"], signature)
            losses = loss(signature.task, truth, scores_of(rows), bound=bound)
            outcomes = truth
        outcome = _estimate(outcomes, alpha) if signature.task == "binary" else None
        seen = answered.get((version, route), 0)
        arms.append(Arm(version, route, percent, seen, count, _estimate(losses, alpha), outcome))
    return arms


def compare_arms(arms: Sequence[Arm]) -> list[ArmDifference]:
    """Compare each arm with the champion's; each verdict is wrong with a chance of at most the alpha of the arms."""
    champion = next((arm for arm in arms if arm.route == "champion"), None)
    found = []
    for arm in arms:
        if champion is None or arm is champion:
            continue
        found.append(_difference(arm.version, "loss", arm.loss, champion.loss))
        # a shadow's answers were given to nobody, so they changed no outcome
        if arm.outcome is not None and champion.outcome is not None and arm.route != "shadow":
            found.append(_difference(arm.version, "outcome", arm.outcome, champion.outcome))
    return [each for each in found if each is not None]


def _estimate(values: Floats, alpha: float) -> Estimate:
    state = sequential.update(sequential.start(), values)
    low, high = sequential.lower(state, alpha / 4), sequential.upper(state, alpha / 4)
    return Estimate(sequential.mean(state) if state.n else None, low, high)


def _difference(
    version: int, measure: Literal["loss", "outcome"], arm: Estimate, champion: Estimate
) -> ArmDifference | None:
    if arm.mean is None or champion.mean is None:
        return None
    low, high = arm.low - champion.high, arm.high - champion.low
    said: Literal["higher", "lower", "undecided"] = "higher" if low > 0 else "lower" if high < 0 else "undecided"
    return ArmDifference(version, measure, arm.mean - champion.mean, low, high, said)
