"""Detect that a mean has risen above a limit at some unknown time: an e-detector for losses.

For every possible start of trouble a gambler bets that values from then on exceed the limit on average; if they do not,
no strategy of betting makes money, so riches are evidence. The detector sums the riches of the gamblers of all starts,
hence a long good past cannot hide a new decay, and nobody has to choose a window.

What is guaranteed: as long as every value's expectation given the past is at most the limit, the mean time until the
evidence first reaches 1/alpha is at least 1/alpha values. That is a rate of false alarms, not a chance over a lifetime.
Values need only be at or above zero; they may be dependent and of any shape. Who knows how far values spread gives the
`spread`: then other gamblers play too, who see a small rise of steady values ten times sooner. For them the guarantee
also asks that no value's deviation given the past is above its spread. What is not guaranteed: values that are at the
limit on average but come in long bad spells (a stormy week) have bad conditional expectations inside a spell, and may
raise an alarm there; the limit should leave room for that.

Source: Shin, Ramdas & Rinaldo 2022, arXiv 2203.03532, section 2 (Shiryaev-Roberts e-detectors); the bets:
Waudby-Smith & Ramdas 2024, JRSS B 86(1), section 4; those of known spread: Catoni 2012, Annales de l'IHP 48(4), made
sequential by Wang & Ramdas 2023, Stochastic Processes and their Applications 163. It is simpler than their mixtures: a
few fixed bets share the money.
"""

from typing import NamedTuple

import numpy as np

from mainspring.evaluate.metrics import Floats

__all__ = ["LEAST_ALPHA", "Evidence", "detect", "lower_bound"]

#: Share of a gambler's money staked on each value. Small stakes prove small rises, large ones prove large rises soon.
_STAKES = np.array([0.1, 0.2, 0.4, 0.6, 0.8])
#: Bets of known spread, in its inverse: a rise of so many spreads is what each is best at.
_RISES = np.array([0.5, 1.0])
#: The money each bet begins with, when all are made: mostly on those that ask nothing of the values.
_SHARES = np.array([0.16] * 5 + [0.1] * 2)
#: Evidence beyond this is thrown away, which is always allowed, so that after a recovery the alarm ends in weeks,
#: however long the decay was.
_MOST_EVIDENCE = 1e4
#: The rarest alarms that the cap leaves provable: a single bet at the cap, with the smallest share still reaches it.
LEAST_ALPHA = 0.001


class Evidence(NamedTuple):
    """Evidence after each value (n,), and the index at which the likeliest bad stretch that lasts until now began."""

    by_time: Floats
    since: int | None


def detect(values: Floats, limit: float, spread: Floats | float | None = None) -> Evidence:
    """Return the evidence that `values` (n,), in time order and not below zero, exceed `limit` on average. O(n).

    `spread` is what the deviation of each value stays below, one for all or one each (n,); None when it is not known.

    >>> detect(np.array([0.1] * 50 + [0.4] * 12), 0.2).since
    50
    """
    spreads = _spreads(values, spread)
    shares = _shares(spreads)
    riches = np.zeros_like(shares)
    # the same bets without restarts at every value: where each gambler would best have begun (CUSUM)
    gain = np.zeros_like(riches)
    began = np.zeros(riches.size, dtype=np.intp)
    by_time = np.empty(values.size)
    for index, value in enumerate(values):
        factor = _payoff(value, limit, None if spreads is None else spreads[index])
        riches = np.minimum(factor * (riches + 1), _MOST_EVIDENCE)
        by_time[index] = riches @ shares
        began = np.where(gain <= 0, index, began)
        gain = np.maximum(gain, 0) + np.log(factor)
    best = int(gain.argmax()) if values.size else 0
    return Evidence(by_time, int(began[best]) if values.size and gain[best] > 0 else None)


def lower_bound(values: Floats, alpha: float, spread: Floats | float | None = None) -> float:
    """Return the largest limit that `values` are proven to exceed now at rate `alpha`; 0 when none is.

    So ``detect(values, limit, spread)`` stands at 1/alpha or more exactly for limits up to this bound. O(n).
    """
    low, high = 0.0, float(values.max()) if values.size else 0.0
    if high <= 0:
        return 0.0
    # evidence falls as the limit rises; three rounds of 33 limits at once find it to 1/30,000 of the range
    for _ in range(3):
        limits = np.linspace(low, high, 33)[1:]
        proven = np.flatnonzero(_last_evidence(values, limits, _spreads(values, spread)) >= 1 / alpha)
        step = (high - low) / 32
        low, high = low + step * proven.size, min(high, low + step * (proven.size + 1))
        if high <= low:
            break
    return low


def _payoff(value: float, limit: float | Floats, spread: float | None) -> Floats:
    """Return what each bet grows to: fair or worse whenever the expectation of `value` is at most `limit`."""
    staked: Floats = 1 - _STAKES + _STAKES * (value / limit)
    if spread is None:
        return staked
    z = _RISES * (value - limit) / spread
    # growing with z, and at most 1 + z + z**2 / 2, whose expectation is at most that of the divisor
    curved = np.where(z >= 0, 1 + z + z**2 / 2, 1 / (1 - z + z**2 / 2)) / (1 + _RISES**2 / 2)
    return np.concatenate([staked, curved], axis=-1)


def _spreads(values: Floats, spread: Floats | float | None) -> Floats | None:
    return None if spread is None else np.broadcast_to(np.asarray(spread, dtype=np.float64), values.shape)


def _shares(spreads: Floats | None) -> Floats:
    """Return the share of each bet; they add up to 1."""
    return np.full(_STAKES.size, 1 / _STAKES.size) if spreads is None else _SHARES


def _last_evidence(values: Floats, limits: Floats, spreads: Floats | None) -> Floats:
    shares = _shares(spreads)
    riches = np.zeros((limits.size, shares.size))
    for index, value in enumerate(values):
        factor = _payoff(value, limits[:, None], None if spreads is None else spreads[index])
        riches = np.minimum(factor * (riches + 1), _MOST_EVIDENCE)
    evidence: Floats = riches @ shares
    return evidence
