"""What training hands on: the parts of a table, the fitted estimator with its leaderboard, and the candidate."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from mainspring.domain.metric import MetricValue
from mainspring.domain.signature import Signature

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["VIEWS_ATTR", "Candidate", "Contender", "Fitted", "Parts", "Report"]

#: Under this name a frame remembers the feature views that were joined to it, through whatever keeps its `attrs`.
VIEWS_ATTR = "mainspring.views"


class Parts(NamedTuple):
    """A table dealt into three, with the names of its target, its time and the columns that are no features.

    `schema` is the text of the schema file that the table was checked with, if it was, and `views` are the versions of
    the feature views that were joined to it.
    """

    train: "pd.DataFrame"
    validation: "pd.DataFrame"
    test: "pd.DataFrame"
    target: str
    time: str = ""
    ignore: tuple[str, ...] = ()
    schema: str = ""
    views: dict[str, str] = {}  # noqa: RUF012  # never written to


@dataclass(frozen=True, slots=True)
class Contender:
    """One row of the leaderboard: an estimator's loss on the validation part and what was decided about it.

    How long its fit took is not here: a result that holds a clock's reading is never made again to the byte.
    """

    name: str
    kind: str  # candidate | baseline
    loss: float
    metrics: dict[str, float]
    verdict: str = ""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The chosen estimator, refitted on train and validation, with the contenders it stood against.

    `threshold` is the score from which a binary model says yes, chosen on validation; `loss_bound` the error that
    counts as a loss of 1 for a regression.
    """

    estimator: Any  # any scikit-learn estimator; the libraries carry no types
    signature: Signature
    chosen: str
    reason: str
    leaderboard: tuple[Contender, ...]
    threshold: float = 0.5
    loss_bound: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """How a fitted estimator did on the test part, which nothing before had touched.

    `loss_blocks` are mean losses of the test rows by day (or by hundreds of rows where there is no time): what a
    monitor later compares production with. `slices` rows hold name, rows and the metrics' values.
    """

    metrics: dict[str, MetricValue]
    confusion: dict[str, Any]
    threshold: float
    loss: str
    loss_mean: float
    loss_blocks: list[float]
    slices: list[dict[str, Any]]
    rows: dict[str, int]
    span: dict[str, str]
    importances: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidate:
    """Everything the registry needs: the fitted estimator, its report, the test rows with scores, and the profile.

    `schema` and `views` are those of its `Parts`: the one guards the model's requests, of the others the server looks
    up no other versions.
    """

    fitted: Fitted
    report: Report
    test: "pd.DataFrame"
    scores: "NDArray[np.float64]"
    profile: dict[str, Any]
    schema: str = ""
    views: dict[str, str] = field(default_factory=dict)

    @property
    def metrics(self) -> dict[str, float]:
        """The test metrics as plain numbers."""
        return {name: value.value for name, value in self.report.metrics.items() if value.is_defined}
