"""A canary judged by its own traffic: the requests it answered, with the labels that came, put to the champion too.

Both models score the same rows, so the comparison is paired: what makes a row hard is hard for both and cancels. The
bound holds at all looks together, so a canary may be looked at as often as one likes (`evaluate.sequential`).
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Literal

import numpy as np

from mainspring.bundle.predictor import Predictor
from mainspring.data.table import n_rows
from mainspring.domain.deployment import Deployment
from mainspring.domain.moments import from_iso
from mainspring.errors import Invalid
from mainspring.evaluate import sequential
from mainspring.evaluate.losses import loss
from mainspring.monitor.risk import canary_verdict
from mainspring.predictions.log import PredictionLog, scores_of
from mainspring.predictions.segments import features_of
from mainspring.train.features import label_values

__all__ = ["CanaryJudgement", "judge_canary"]

#: A rise of the loss, in shares of its whole range, that is not worth a rollback.
_MARGIN = 0.01


@dataclass(frozen=True, slots=True)
class CanaryJudgement:
    """The canary's mean loss beside the champion's on the same labelled rows, with the bound of the difference."""

    status: Literal["worse", "no worse", "undecided"]
    rows: int
    canary_loss: float
    champion_loss: float
    difference: float
    low: float
    high: float

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return asdict(self)

    def __str__(self) -> str:
        if not self.rows:
            return "no labelled rows yet"
        said = {"undecided": "not proven worse than", "worse": "worse than", "no worse": "no worse than"}[self.status]
        return (
            f"{said} the champion on {self.rows} of its own labelled rows: loss {self.canary_loss:.4f} to"
            f" {self.champion_loss:.4f}, difference {self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"
        )


def judge_canary(
    log: PredictionLog,
    champion: Predictor,
    deployment: Deployment,
    *,
    until: datetime,
    bound: float | None = None,
    alpha: float = 0.05,
) -> CanaryJudgement:
    """Judge a canary by all rows it answered since it started whose labels came before `until`.

    `bound` is the error that counts as a loss of 1 (regression only). Wrong in either direction with a chance of at
    most `alpha` over all looks.

    Raises:
        Invalid: the canary was asked for other columns than the champion needs, so that the two cannot be compared.
    """
    rows = log.labelled(
        deployment.model,
        labelled_from=from_iso(deployment.started_at),
        labelled_until=until,
        version=deployment.version,
        route="canary",
    )
    if not n_rows(rows):
        return CanaryJudgement("undecided", 0, 0.0, 0.0, 0.0, -1.0, 1.0)
    signature = champion.signature
    features = features_of(rows)
    absent = [name for name in signature.names if name not in features]
    if absent:
        raise Invalid(
            f"The canary is not asked for `{absent[0]}`, which the champion needs: the two cannot score the same rows",
            where=f"{deployment.model}/{deployment.version}",
            next_step="promote it by its gates, without a canary",
        )
    truth = label_values(rows["label"], signature)
    canary_losses = loss(signature.task, truth, scores_of(rows), bound=bound)
    champion_losses = loss(signature.task, truth, champion.predict(features), bound=bound)
    state = sequential.update(sequential.start(-1.0, 1.0), canary_losses - champion_losses)
    said = canary_verdict(state, margin=_MARGIN, alpha=alpha)
    means = float(np.mean(canary_losses)), float(np.mean(champion_losses))
    return CanaryJudgement(said.verdict, n_rows(rows), *means, said.difference, said.low, said.high)
