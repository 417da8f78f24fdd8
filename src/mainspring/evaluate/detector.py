"""Detect that a mean has risen above a limit at some unknown time: an e-detector for losses.

For every possible start of trouble a gambler bets that values from then on exceed the limit on average; if they do not,
no strategy of betting makes money, so riches are evidence. The detector sums the riches of the gamblers of all starts,
hence a long good past cannot hide a new decay, and nobody has to choose a window.

What is guaranteed: as long as every value's expectation given the past is at most the limit, the mean time until the
evidence first reaches 1/alpha is at least 1/alpha values. That is a rate of false alarms, not a chance over a lifetime.
Values need only be at or above zero; they may be dependent and of any shape. What is not guaranteed: values that are at
the limit on average but come in long bad spells (a stormy week) have bad conditional expectations inside a spell, and
may raise an alarm there; the limit should leave room for that.

Source: Shin, Ramdas & Rinaldo 2022, arXiv 2203.03532, section 2 (Shiryaev-Roberts e-detectors); the bets:
Waudby-Smith & Ramdas 2024, JRSS B 86(1), section 4. It is simpler than their mixtures: a few fixed bets share evenly.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mainspring.evaluate.metrics import Floats

__all__ = ["LEAST_ALPHA", "Evidence", "detect", "lower_bound"]

#: Share of a gambler's money staked on each value. Small stakes prove small rises, large ones prove large rises soon.
_STAKES = np.array([0.1, 0.2, 0.4, 0.6, 0.8])
#: Evidence beyond this is thrown away, which is always allowed, so that after a recovery the alarm ends in weeks,
#: however long the decay was.
_MOST_EVIDENCE = 1e4
#: The rarest alarms that the cap leaves provable: a single stake at the cap, shared among five, still reaches it.
LEAST_ALPHA = 0.001


class Evidence(NamedTuple):
    """Evidence after each value (n,), and the index at which the likeliest bad stretch that lasts until now began."""

    by_time: Floats
    since: int | None


def detect(values: Floats, limit: float) -> Evidence:
    """Return the evidence that `values` (n,), in time order and not below zero, exceed `limit` on average. O(n).

    >>> detect(np.array([0.1] * 50 + [0.4] * 12), 0.2).since
    50
    """
    riches = np.zeros_like(_STAKES)
    # the same bets without restarts at every value: where each gambler would best have begun (CUSUM)
    gain = np.zeros_like(_STAKES)
    began = np.zeros(_STAKES.size, dtype=np.intp)
    by_time = np.empty(values.size)
    for index, value in enumerate(values):
        factor = _payoff(value, limit)
        riches = np.minimum(factor * (riches + 1), _MOST_EVIDENCE)
        by_time[index] = riches.mean()
        began = np.where(gain <= 0, index, began)
        gain = np.maximum(gain, 0) + np.log(factor)
    best = int(gain.argmax()) if values.size else 0
    return Evidence(by_time, int(began[best]) if values.size and gain[best] > 0 else None)


def lower_bound(values: Floats, alpha: float) -> float:
    """Return the largest limit that `values` are proven to exceed now at rate `alpha`; 0 when none is.

    So ``detect(values, limit)`` stands at 1/alpha or more exactly for limits up to this bound. O(n).
    """
    low, high = 0.0, float(values.max()) if values.size else 0.0
    if high <= 0:
        return 0.0
    # evidence falls as the limit rises; three rounds of 33 limits at once find it to 1/30,000 of the range
    for _ in range(3):
        limits = np.linspace(low, high, 33)[1:]
        proven = np.flatnonzero(_last_evidence(values, limits) >= 1 / alpha)
        step = (high - low) / 32
        low, high = low + step * proven.size, min(high, low + step * (proven.size + 1))
        if high <= low:
            break
    return low


def _payoff(value: float | NDArray[np.float64], limit: float | NDArray[np.float64]) -> Floats:
    """Return what each stake grows to: fair or worse whenever the expectation of `value` is at most `limit`."""
    payoff: Floats = 1 - _STAKES + _STAKES * (value / limit)
    return payoff


def _last_evidence(values: Floats, limits: Floats) -> Floats:
    riches = np.zeros((limits.size, _STAKES.size))
    for value in values:
        riches = np.minimum(_payoff(value, limits[:, None]) * (riches + 1), _MOST_EVIDENCE)
    evidence: Floats = riches.mean(1)
    return evidence
