"""Confidence intervals: Wilson for shares, DeLong for the ROC AUC, and a bootstrap of blocks for everything else.

The first two assume independent rows. Rows of one day share its weather, so wherever groups are given the bootstrap
draws whole groups. All are deterministic: random numbers come from a generator that is handed in.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mainspring.evaluate.distributions import normal_cdf, normal_quantile, t_quantile
from mainspring.evaluate.metrics import Floats, Ints, midranks

__all__ = ["block_bootstrap", "clustered_mean", "deal_blocks", "delong", "wilson"]

#: Without groups rows are dealt at random into at most this many blocks. A block's sum then stands for many rows, the
#: variance of a mean is estimated without bias, and a bootstrap of a million rows costs what one of a thousand does.
MOST_BLOCKS = 1_000


def wilson(successes: float, trials: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of a share; (0, 1) without trials.

    Source: Wilson 1927; recommended by Brown, Cai & DasGupta 2001, Statistical Science 16(2).
    """
    if trials <= 0:
        return 0.0, 1.0
    z = normal_quantile((1 + level) / 2)
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, middle - half), min(1.0, middle + half)


def delong(y: NDArray[np.generic], scores: Floats, *, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of the ROC AUC, symmetric on the logit scale so that it stays inside 0..1.

    Where the estimated variance is zero (perfect separation, or one row of a class), it says nothing; then the AUC is
    treated as a share of as many trials as the smaller class has rows, which is wide and honest. O(n log n).
    Source: DeLong, DeLong & Clarke-Pearson 1988; by midranks: Sun & Xu 2014, IEEE Signal Processing Letters 21(11).
    """
    positive = np.asarray(y) == 1
    n_positive = int(positive.sum())
    n_negative = positive.size - n_positive
    if not n_positive or not n_negative:
        return float("nan"), float("nan")
    ranks = midranks(scores)
    # placements: for each positive the share of negatives below it, for each negative the share of positives above
    of_positives = (ranks[positive] - midranks(scores[positive])) / n_negative
    of_negatives = 1 - (ranks[~positive] - midranks(scores[~positive])) / n_positive
    auc = float(of_positives.mean())
    variance = 0.0
    if min(n_positive, n_negative) > 1:
        variance = float(of_positives.var(ddof=1) / n_positive + of_negatives.var(ddof=1) / n_negative)
    if variance <= 0 or not 0 < auc < 1:
        trials = min(n_positive, n_negative)
        return wilson(auc * trials, trials, level=level)
    half = normal_quantile((1 + level) / 2) * math.sqrt(variance) / (auc * (1 - auc))
    logit = math.log(auc / (1 - auc))
    return 1 / (1 + math.exp(half - logit)), 1 / (1 + math.exp(-half - logit))


def deal_blocks(n: int, groups: NDArray[np.generic] | None, rng: np.random.Generator) -> tuple[Ints, int]:
    """Return each row's block and how many there are: one for each group, else rows dealt at random."""
    if groups is not None:
        names, block = np.unique(groups, return_inverse=True)
        return block.astype(np.intp), names.size
    blocks = max(1, min(n, MOST_BLOCKS))
    return rng.permutation(n) % blocks, blocks


def block_bootstrap(
    sums: Floats,
    formula: Callable[[Floats], Floats],
    value: float,
    *,
    rng: np.random.Generator,
    resamples: int = 200,
    level: float = 0.95,
    is_folded: bool = False,
) -> tuple[float, float]:
    """Return an interval for `value` by drawing blocks with replacement; `sums` is (blocks, ...), one row each.

    Draws are one matrix product, so the cost does not depend on the rows. They are shifted by what `formula` misses of
    `value` (score bins are coarser than scores). Percentiles are widened for few blocks: with 14 days the plain ones
    cover 92 % instead of 95 %. `is_folded` is for sums of absolute noisy gaps, which noise alone pushes up: where
    all true gaps are zero, drawing pushes them up once more by sqrt(2) - 1 of the value; that much is taken off.
    Source: Hesterberg 2015, The American Statistician 69(4) (expanded percentile interval).
    """
    blocks = sums.shape[0]
    if blocks < 2:
        return float("nan"), float("nan")
    flat = sums.reshape(blocks, -1)
    weights = rng.multinomial(blocks, np.full(blocks, 1 / blocks), size=resamples).astype(np.float64)
    draws = formula((weights @ flat).reshape(resamples, *sums.shape[1:]))
    draws = draws[np.isfinite(draws)] + (value - float(formula(sums.sum(0))))
    if draws.size == 0:
        return float("nan"), float("nan")
    tail = normal_cdf(-math.sqrt(blocks / (blocks - 1)) * t_quantile((1 + level) / 2, blocks - 1))
    low, high = np.quantile(draws, [tail, 1 - tail])
    if is_folded:
        centre = float(draws.mean())
        noise = max(0.0, centre - value)
        low, high = max(0.0, value - noise / (math.sqrt(2) - 1) - (high - centre)), high - noise
    # a widened percentile may stop short of the value itself when the draws are few or skewed
    return min(float(low), value), max(float(high), value)


def clustered_mean(values: Floats, groups: NDArray[np.generic] | None) -> tuple[float, float, float]:
    """Return the mean of `values`, its standard error and degrees of freedom, rows of a group counting as correlated.

    With groups the error comes from the spread of the groups' summed deviations, so a thousand equal rows of one day
    count as one observation. The error is infinite with fewer than two rows or groups.
    Source: Liang & Zeger 1986 (sandwich estimate), with the G / (G - 1) factor of Cameron & Miller 2015, section II.
    """
    mean = float(values.mean())
    deviations: Floats = values - mean
    if groups is not None:
        names, block = np.unique(groups, return_inverse=True)
        deviations = np.bincount(block, weights=deviations, minlength=names.size).astype(np.float64)
    count = deviations.size
    if count < 2:
        return mean, math.inf, 1.0
    error = math.sqrt(count / (count - 1) * float((deviations**2).sum())) / values.size
    return mean, error, count - 1.0
