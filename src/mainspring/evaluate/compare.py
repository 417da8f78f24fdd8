"""Which of two models is better on the same rows? A paired comparison that says "undecided" when it is.

Pairing removes what makes a row hard for both; clustering by group (a day) stops a thousand rows of one storm from
passing for a thousand observations. For looking again and again while rows arrive, use `sequential` instead.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.errors import Invalid
from mainspring.evaluate.distributions import t_quantile
from mainspring.evaluate.intervals import clustered_mean
from mainspring.evaluate.metrics import Floats
from mainspring.evaluate.slices import conditions_of

__all__ = ["SLICE_MARGIN", "Comparison", "LabelComparison", "Verdict", "compare", "compare_labels", "compare_slices"]

#: A rise of a slice's loss, in shares of the loss's whole range, that refuses nobody: the one that a canary is allowed.
SLICE_MARGIN = 0.01

Verdict = Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The challenger's mean loss minus the champion's, with an interval: below zero the challenger is better."""

    difference: float
    low: float
    high: float
    n: int
    verdict: Verdict
    method: str
    level: float = 0.95

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields; an endless interval becomes None at both ends."""
        shown = {
            name: value if math.isfinite(value) else None for name, value in (("low", self.low), ("high", self.high))
        }
        return asdict(self) | shown

    def __str__(self) -> str:
        return f"{self.verdict}: loss {self.difference:+.4g} [{self.low:+.4g}, {self.high:+.4g}] on {self.n} rows"


@dataclass(frozen=True, slots=True)
class LabelComparison:
    """Rows that only one of two models labels rightly, and the chance of a split as uneven if both were as good."""

    only_champion: int
    only_challenger: int
    p_value: float


def compare(
    loss_champion: Floats,
    loss_challenger: Floats,
    groups: NDArray[np.generic] | None = None,
    level: float = 0.95,
) -> Comparison:
    """Compare two models by their losses (n,) on the same rows in the same order.

    ``better`` or ``worse`` is said of the challenger, and only when the whole interval lies on one side of zero.
    `groups` (n,) names correlated rows, such as their day; the interval then uses Student's t with one degree of
    freedom fewer than there are groups. With under about five groups that interval is wide, as it should be; with one
    group it is endless.

    >>> champion, day = np.array([0.3, 0.2, 0.4, 0.3, 0.3, 0.2]), np.array([1, 1, 2, 2, 3, 3])
    >>> compare(champion, champion - np.array([0.1, 0.1, 0.1, 0.12, 0.1, 0.1]), day).verdict
    'better'

    Raises:
        Invalid: the lengths differ, there are no rows, or a loss is missing.
    """
    champion, challenger = np.asarray(loss_champion, np.float64), np.asarray(loss_challenger, np.float64)
    if champion.shape != challenger.shape or champion.ndim != 1:
        raise Invalid(
            f"Losses of shapes {champion.shape} and {challenger.shape} are not of the same rows",
            where="loss_challenger",
            next_step="score both models on one table",
        )
    if groups is not None and len(groups) != champion.size:
        raise Invalid(f"{len(groups)} groups for {champion.size} rows", where="groups", next_step="name one a row")
    difference = challenger - champion
    if not difference.size or not np.isfinite(difference).all():
        raise Invalid("There are no rows to compare, or a loss is missing", where="loss_challenger")
    mean, error, degrees = clustered_mean(difference, groups)
    half = 0.0 if error == 0 else t_quantile((1 + level) / 2, degrees) * error
    low, high = mean - half, mean + half
    verdict: Verdict = "better" if high < 0 else "worse" if low > 0 else "undecided"
    method = "paired t" if groups is None else f"paired t by group ({np.unique(groups).size} groups)"
    return Comparison(mean, low, high, difference.size, verdict, method, level)


def compare_slices(
    loss_champion: Floats,
    loss_challenger: Floats,
    columns: Mapping[str, NDArray[np.generic]],
    by: Sequence[str],
    groups: NDArray[np.generic] | None = None,
    level: float = 0.95,
    *,
    min_rows: int = 100,
) -> dict[str, Comparison]:
    """Compare two models in each slice of at least `min_rows` rows of the columns `by`, the largest rise first.

    The chance that any of them is called better or worse though both models are alike is 1 - `level` in all
    (Bonferroni), and ``worse`` asks for a rise of at least `SLICE_MARGIN` too: in many rows a difference that nobody
    would notice is significant. Of columns that are not there, nothing is said.

    Raises:
        Invalid: as `compare`.
    """
    slices = [
        (str(condition), code == index)
        for name in by
        if name in columns
        for conditions, code in [conditions_of(name, columns[name], min_rows)]
        for index, condition in enumerate(conditions)
    ]
    each_level = 1 - (1 - level) / max(1, len(slices))
    found = {}
    for name, inside in slices:
        of_slice = None if groups is None else groups[inside]
        compared = compare(loss_champion[inside], loss_challenger[inside], of_slice, each_level)
        is_slight = compared.verdict == "worse" and compared.difference < SLICE_MARGIN
        found[name] = replace(compared, verdict="undecided") if is_slight else compared
    return dict(sorted(found.items(), key=lambda item: -item[1].difference))


def compare_labels(
    y: NDArray[np.generic], champion: NDArray[np.generic], challenger: NDArray[np.generic]
) -> LabelComparison:
    """Compare predicted labels by McNemar's test: only rows where exactly one model is right count.

    Exact binomial up to 1,000 such rows, normal with continuity correction above. Rows count as independent.
    Source: McNemar 1947, Psychometrika 12(2); Dietterich 1998, Neural Computation 10(7), section 3.1.
    """
    champion_right, challenger_right = champion == y, challenger == y
    only_champion = int((champion_right & ~challenger_right).sum())
    only_challenger = int((challenger_right & ~champion_right).sum())
    discordant, smaller = only_champion + only_challenger, min(only_champion, only_challenger)
    if discordant <= 1_000:
        tail = sum(math.comb(discordant, i) for i in range(smaller + 1))
        p_value = min(1.0, 2 * tail / 2**discordant)
    else:
        z = max(0.0, abs(only_champion - only_challenger) - 1) / math.sqrt(discordant)
        p_value = math.erfc(z / math.sqrt(2))
    return LabelComparison(only_champion, only_challenger, p_value)
