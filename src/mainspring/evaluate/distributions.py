"""The few distribution functions that intervals and tests need, so that neither asks for SciPy (80 MB) at run time.

Scalar functions of floats, accurate to about 1e-10 relative; the tests hold them against SciPy.
Source: Press et al., Numerical Recipes, 3rd edition, sections 6.2, 6.4 and 6.14 (series and continued fractions).
"""

import math
from collections.abc import Callable
from statistics import NormalDist

__all__ = [
    "chi2_sf",
    "gamma_p",
    "gamma_q",
    "kolmogorov_sf",
    "normal_cdf",
    "normal_quantile",
    "t_quantile",
    "t_sf",
]

_TINY = 1e-300  # keeps Lentz's continued fraction away from a division by zero
_EPSILON = 1e-16
_NORMAL = NormalDist()


def normal_cdf(x: float) -> float:
    """Return P(Z <= x) for a standard normal Z."""
    return 0.5 * math.erfc(-x / math.sqrt(2))


def normal_quantile(probability: float) -> float:
    """Return the point a standard normal stays below with `probability`, inside (0, 1)."""
    return _NORMAL.inv_cdf(probability)


def gamma_p(a: float, x: float) -> float:
    """Return the regularised lower incomplete gamma function P(a, x), for a > 0 and x >= 0."""
    if x <= 0:
        return 0.0
    return _gamma_series(a, x) if x < a + 1 else 1 - _gamma_fraction(a, x)


def gamma_q(a: float, x: float) -> float:
    """Return 1 - P(a, x) without losing the small tail to cancellation."""
    if x <= 0:
        return 1.0
    return 1 - _gamma_series(a, x) if x < a + 1 else _gamma_fraction(a, x)


def _gamma_series(a: float, x: float) -> float:
    term = total = 1 / a
    n = a
    while abs(term) > abs(total) * _EPSILON:
        n += 1
        term *= x / n
        total += term
    return total * math.exp(a * math.log(x) - x - math.lgamma(a))


def _gamma_fraction(a: float, x: float) -> float:
    b = x + 1 - a
    c = 1 / _TINY
    d = 1 / b
    h = d
    for i in range(1, 100_000):
        an = -i * (i - a)
        b += 2
        d = 1 / _away_from_zero(an * d + b)
        c = _away_from_zero(b + an / c)
        step = d * c
        h *= step
        if abs(step - 1) < 4 * _EPSILON:
            break
    return h * math.exp(a * math.log(x) - x - math.lgamma(a))


def _away_from_zero(x: float) -> float:
    return x if abs(x) > _TINY else _TINY


def chi2_sf(x: float, degrees: float) -> float:
    """Return P(X > x) for a chi-square X with `degrees` of freedom; 1 when there are none."""
    return gamma_q(degrees / 2, x / 2) if degrees > 0 else 1.0


def kolmogorov_sf(x: float) -> float:
    """Return the chance that the limiting Kolmogorov statistic sqrt(n) D exceeds `x`.

    Below 1.18 the alternating series converges slowly, so the theta-function form is summed there.
    """
    if x <= 0:
        return 1.0
    if x < 1.18:
        y = math.exp(-(math.pi**2) / (8 * x * x))
        return 1 - math.sqrt(2 * math.pi) / x * (y + y**9 + y**25 + y**49)
    z = math.exp(-2 * x * x)
    return 2 * (z - z**4 + z**9)


def t_sf(t: float, degrees: float) -> float:
    """Return P(T > t) for Student's T with `degrees` of freedom."""
    # I_x(df/2, 1/2) for t >= 0; the other half follows by symmetry
    tail = 0.5 * _beta(degrees / (degrees + t * t), degrees / 2, 0.5)
    return tail if t >= 0 else 1 - tail


def t_quantile(probability: float, degrees: float) -> float:
    """Return the point Student's T with `degrees` of freedom stays below with `probability`, inside (0, 1)."""
    if probability < 0.5:
        return -t_quantile(1 - probability, degrees)
    return solve(lambda t: 1 - probability - t_sf(t, degrees), start=1.0)


def solve(rising: Callable[[float], float], *, start: float) -> float:
    """Return x >= 0 where the rising function crosses zero, to 13 digits; 0 when it starts at or above zero.

    Doubles `start` until it is beyond the crossing, then draws secants, halving the value at an end that stays (the
    Illinois rule): about ten calls, where halving the bracket takes fifty.
    Source: Dowell & Jarratt 1971, BIT 11(2).
    """
    low, at_low = 0.0, rising(0.0)
    if at_low >= 0:
        return 0.0
    high, at_high = start, rising(start)
    while at_high < 0:
        low, at_low, high = high, at_high, 2 * high
        at_high = rising(high)
    middle, moved = high, 0
    for _ in range(500):
        before = middle
        middle = (low * at_high - high * at_low) / (at_high - at_low)
        if not low < middle < high:
            return middle
        value = rising(middle)
        if value == 0 or abs(middle - before) <= 1e-13 * middle:
            return middle
        if value < 0:
            low, at_low, at_high, moved = middle, value, at_high / 2 if moved < 0 else at_high, -1
        else:
            high, at_high, at_low, moved = middle, value, at_low / 2 if moved > 0 else at_low, 1
    return middle


def _beta(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    # the fraction converges fast only on this side of the mean; the other side follows by symmetry
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(x, a, b) / a
    return 1 - front * _beta_fraction(1 - x, b, a) / b


def _beta_fraction(x: float, a: float, b: float) -> float:
    c = 1.0
    d = 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    h = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            step = d * c
            h *= step
        if abs(step - 1) < 4 * _EPSILON:
            break
    return h
