"""Bounds on a mean that may be looked at after every value: confidence sequences.

An ordinary interval holds at one moment chosen beforehand; looked at daily, a true null is rejected sooner or later.
These bounds hold at all times at once, so a canary or a monitor may peek whenever it likes and stop when it likes.

What is guaranteed: with chance at least 1 - alpha, at every time t, ``lower`` is not above the running mean of
conditional expectations (1/t) * sum of E[X_i | past], and the same for ``upper``. Values need neither be independent
nor alike; the mean may drift. What is not: when rows of a day share a shock, each row's expectation *given the rows
before it* moves with that shock, and the bound speaks about the days that were seen, not about days to come. Feed day
means (one value a day) when the question is about days.

Source: Howard, Ramdas, McAuliffe & Sekhon 2021, Annals of Statistics 49(2), Theorem 4 (empirical Bernstein with
predictable centring) with the gamma-exponential mixture of Proposition 9; for risk under shift: Podkopaev & Ramdas
2022, arXiv 2110.06177. The predictable plug-in of Waudby-Smith & Ramdas 2024, Theorem 2, is not used: under drift it
covers a mean weighted by its own bets, which favour old values, and its state depends on alpha.
"""

import math
from dataclasses import asdict, dataclass

import numpy as np

from mainspring.errors import Invalid
from mainspring.evaluate.distributions import gamma_p, solve
from mainspring.evaluate.metrics import Floats

__all__ = ["SequentialState", "lower", "mean", "start", "update", "upper"]

#: Summed squared deviation (on the 0..1 scale) at which bounds are tightest; elsewhere they lose little. Ten is some
#: 200 rows of a typical Brier loss, or a thousand paired differences.
_TIGHTEST_AT = 10.0


@dataclass(frozen=True, slots=True)
class SequentialState:
    """All that must be kept between looks: values in `low`..`high`, how many, and sums on the 0..1 scale.

    `variation` sums squared deviations from the mean *before* each value; that is what makes the bound adapt to small
    variance without peeking ahead.
    """

    low: float = 0.0
    high: float = 1.0
    n: int = 0
    total: float = 0.0
    variation: float = 0.0

    def to_json(self) -> dict[str, float]:
        """Return the fields as JSON-able numbers; ``SequentialState(**fields)`` reads them back."""
        return asdict(self)


def start(low: float = 0.0, high: float = 1.0) -> SequentialState:
    """Return the state before the first value, for values in `low`..`high` (paired differences: -1..1).

    Raises:
        Invalid: the range is empty.
    """
    if not low < high:
        raise Invalid(
            f"The range {low}..{high} is empty", where="low", next_step="losses lie in 0..1, differences in -1..1"
        )
    return SequentialState(low, high)


def update(state: SequentialState, values: Floats) -> SequentialState:
    """Return the state after `values` (n,), in the order they came; the same however they are cut into calls. O(n).

    >>> mean(update(start(), np.array([0.0, 0.5, 1.0])))
    0.5

    Raises:
        Invalid: a value is missing or outside the range of the state.
    """
    given = np.asarray(values, np.float64).ravel()
    if given.size == 0:
        return state
    outside = ~((given >= state.low) & (given <= state.high))
    if outside.any():
        raise Invalid(
            f"The value {given[outside][0]} is outside {state.low}..{state.high}",
            where=f"values[{int(outside.argmax())}]",
            next_step="use a bounded loss, or start with a wider range",
        )
    unit = (given - state.low) / (state.high - state.low)
    before = state.total + np.concatenate([[0.0], np.cumsum(unit[:-1])])
    # the centre of each value is the mean of those before it, starting from the middle of the range
    centre = (0.5 + before) / (1 + state.n + np.arange(given.size))
    return SequentialState(
        state.low,
        state.high,
        state.n + given.size,
        state.total + float(unit.sum()),
        state.variation + float(((unit - centre) ** 2).sum()),
    )


def mean(state: SequentialState) -> float:
    """Return the plain mean of the values so far; NaN before the first."""
    return state.low + (state.high - state.low) * state.total / state.n if state.n else math.nan


def lower(state: SequentialState, alpha: float = 0.05) -> float:
    """Return a bound the running mean stays above at all times, but for a chance of `alpha`."""
    return max(state.low, mean(state) - _half_width(state, alpha)) if state.n else state.low


def upper(state: SequentialState, alpha: float = 0.05) -> float:
    """Return a bound the running mean stays below at all times, but for a chance of `alpha`."""
    return min(state.high, mean(state) + _half_width(state, alpha)) if state.n else state.high


def _half_width(state: SequentialState, alpha: float) -> float:
    if not 0 < alpha < 0.5:
        raise Invalid(
            f"alpha is {alpha}, not between 0 and 0.5", where="alpha", next_step="0.05 is one error in twenty"
        )
    return (state.high - state.low) * _boundary(state.variation, alpha) / state.n


def _boundary(variation: float, alpha: float) -> float:
    """Return the sum of deviations that is exceeded at any time with a chance of at most `alpha`, for a range of 1.

    It is where the gamma-exponential mixture supermartingale reaches 1/alpha.
    """
    rho = _TIGHTEST_AT / (2 * math.log(1 / (2 * alpha)) + math.log(1 + 2 * math.log(1 / (2 * alpha))))
    a = variation + rho
    constant = rho * math.log(rho) - math.lgamma(rho) - math.log(gamma_p(rho, rho)) + math.lgamma(a)

    def log_capital(deviation: float) -> float:
        x = deviation + a
        return constant + math.log(gamma_p(a, x)) - a * math.log(x) + deviation + variation

    return solve(lambda deviation: log_capital(deviation) + math.log(alpha), start=1.0 + math.sqrt(variation))
