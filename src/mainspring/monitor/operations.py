"""Is the service itself as usual? Traffic, latency and errors of the last hours beside the weeks before.

Each signal is judged robustly, by medians and median absolute deviations, as in seasonal hybrid ESD: one bad day among
those before moves neither. Traffic is compared with the same hour of other weeks, and with how the last week went
beside them, so that growth, or a new level that stays, becomes usual within half a week. Every rule also wants an
effect that somebody would care about. Pure: hours come in, findings go out.

Source: Vallis, Hochenbaum and Kejariwal, "A Novel Technique for Long-Term Anomaly Detection in the Cloud", HotCloud
2014 (seasonal medians and median absolute deviations); Anscombe, Biometrika 35, 1948 (the noise of counts);
Hoeffding, J. Amer. Statist. Assoc. 58, 1963, theorem 1 (the bound on a share).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.domain.moments import to_iso
from mainspring.monitor.finding import Finding
from mainspring.predictions.hours import ServedHour

__all__ = ["SPAN", "Signal", "watch_operations"]

Signal = Literal["errors", "traffic", "latency", "refusals"]
#: So much of the past is asked; a week is the season.
SPAN = timedelta(weeks=8)
_HOUR, _WEEK = timedelta(hours=1), 168
#: So many hours in a row must be odd, for signals that a single burst may move.
_PATIENCE = 2
#: Weeks before traffic can be compared, and hours before latency can.
_LEAST_WEEKS, _LEAST_HOURS = 4, 48
#: Fewer requests in an hour say nothing about latency or shares; where fewer are usual, nothing about traffic.
_LEAST_REQUESTS = 20
#: In robust standard deviations, and in multiples of what is usual: traffic and latency are odd beyond both.
_FAR, _TIMES = 5.0, 2.0
#: A share of errors is odd beyond what is usual by this, by `_FAR`, and by less chance than that of `_RARE`.
_SHARE, _LEAST_ERRORS, _RARE = 0.02, 5, 1e-8
#: Chance is asked against a share of at least this, for bad luck comes in bunches.
_LEAST_SHARE = 0.005
#: More than this at once needs no patience.
_MUCH = 0.1
#: Hours before and after that say how far an hour is off by chance.
_AROUND = 6
#: From a median absolute deviation to a normal standard deviation.
_DEVIATION = 1.4826
_MOST_SHOWN = 48


@dataclass(frozen=True, slots=True)
class _Past:
    """Hour by hour, oldest first, without gaps; the last `n_new` hours are judged by those before.

    Of these the first `n_usual` were before anything was known to be wrong.
    """

    first: datetime
    n_new: int
    answered: NDArray[np.float64]
    refused: NDArray[np.float64]
    failed: NDArray[np.float64]
    p95_ms: NDArray[np.float64]
    hours: Mapping[int, ServedHour]
    n_usual: int = 0

    @property
    def asked(self) -> NDArray[np.float64]:
        """Requests of all outcomes."""
        return self.answered + self.refused + self.failed


def watch_operations(
    model: str,
    hours: Sequence[ServedHour],
    *,
    now: datetime,
    every: timedelta,
    since: Mapping[Signal, datetime] | None = None,
) -> dict[Signal, Finding | None]:
    """Return for each signal what is wrong with it in the whole hours of the last `every`, at the least two.

    `hours` are those of the last `SPAN` in which anybody asked, oldest first. `since` has the moments from which on
    signals are known to be wrong: what errors and refusals are usual is asked of the hours before.
    """
    past = _laid_out(hours, now, every)
    if past is None:
        return dict.fromkeys(_RULES)
    size, known = len(past.answered), since or {}
    return {
        signal: judge(
            model, replace(past, n_usual=min(size - past.n_new, (known.get(signal, now) - past.first) // _HOUR))
        )
        for signal, judge in _RULES.items()
    }


def _laid_out(hours: Sequence[ServedHour], now: datetime, every: timedelta) -> _Past | None:
    until = now.replace(minute=0, second=0, microsecond=0)
    known = [each for each in hours if each.at < until]
    if not known:
        return None
    first = known[0].at
    size = (until - first) // _HOUR
    n_new = min(size, _WEEK, max(_PATIENCE, every // _HOUR))
    table = np.zeros((4, size))
    table[3] = np.nan
    for each in known:
        latency = math.nan if each.p95_ms is None or each.answered < _LEAST_REQUESTS else each.p95_ms
        table[:, (each.at - first) // _HOUR] = each.answered, each.refused, each.failed, latency
    answered, refused, failed, p95_ms = table
    by_place = {(each.at - first) // _HOUR: each for each in known}
    return _Past(first, n_new, answered, refused, failed, p95_ms, by_place)


def _errors(model: str, past: _Past) -> Finding | None:
    # an hour in which a tenth fails is told at once; a few are bad luck in one hour, and not in two
    found = _odd_share(past.failed, past, patience=1, least=_MUCH) or _odd_share(past.failed, past)
    if found is None:
        return None
    hours, share, usual = found
    text = f"{share:.1%} of the requests {_when(past, hours)} failed; usual are {usual:.1%}"
    return Finding(
        f"{model} fails to answer",
        text,
        "infrastructure",
        text,
        "read the prediction server's log of that time; what was deployed last is in the timeline",
        severity="page",
        evidence=_evidence(past, hours, failed=past.failed, asked=past.asked),
    )


def _refusals(model: str, past: _Past) -> Finding | None:
    found = _odd_share(past.refused, past)
    if found is None:
        return None
    hours, share, usual = found
    text = f"{share:.1%} of the requests {_when(past, hours)} were refused as wrong; usual are {usual:.1%}"
    rules = Counter[str]()
    for place in range(hours.start, hours.stop):
        rules.update(past.hours[place].rules if place in past.hours else {})
    if rules:
        said = " and ".join(f"`{name}`" for name, _ in rules.most_common(2))
        text += f"; most by the rule {said} of the model's schema"
    return Finding(
        f"Requests to {model} are refused",
        text,
        "data",
        f"{text}: a caller sends what the model does not take, or is not known",
        "the prediction server's access log names callers and status codes; each answer says what was wrong",
        evidence=_evidence(past, hours, refused=past.refused, asked=past.asked) | {"rules": dict(rules)},
    )


def _odd_share(
    counts: NDArray[np.float64], past: _Past, *, patience: int = _PATIENCE, least: float = _SHARE
) -> tuple[slice, float, float] | None:
    """Return the odd hours, the share in them, and the usual one; None where no hours are odd.

    Where few ask in an hour, all new hours together may be odd when no single one can be.
    """
    asked = past.asked
    share = counts / np.maximum(asked, 1)
    new, then = slice(len(asked) - past.n_new, len(asked)), slice(0, max(0, past.n_usual))
    known = share[then][asked[then] >= _LEAST_REQUESTS]
    # of a few hours it cannot be known which are usual: then none should be wrong
    usual, spread = _middle_and_spread(known) if known.size >= _LEAST_HOURS else (0.0, 0.0)
    mean = max(usual, _LEAST_SHARE)

    def is_odd(wrong: NDArray[np.float64], all_: NDArray[np.float64], least: float) -> NDArray[np.bool_]:
        of_them = wrong / np.maximum(all_, 1)
        is_far: NDArray[np.bool_] = of_them > usual + max(least, _FAR * spread)
        return (wrong >= _LEAST_ERRORS) & is_far & (_chance(of_them, all_, mean) < _RARE)

    hours = _last_run(is_odd(counts, asked, least), past.n_new, patience)
    if hours is None and is_odd(counts[new].sum(keepdims=True), asked[new].sum(keepdims=True), _MUCH).all():
        hours = new
    return None if hours is None else (hours, float(counts[hours].sum() / asked[hours].sum()), usual)


def _chance(share: NDArray[np.float64], size: NDArray[np.float64], mean: float) -> NDArray[np.float64]:
    """Bound the chance of a share this high of `size` requests, each of which fails with the chance `mean`."""
    p = min(max(mean, 1e-4), 1 - 1e-9)
    q = np.clip(share, p, 1 - 1e-12)
    return np.exp(-size * (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))))


def _latency(model: str, past: _Past) -> Finding | None:
    known = np.log(past.p95_ms[: -past.n_new])
    known = known[~np.isnan(known)]
    if known.size < _LEAST_HOURS:
        return None
    usual, spread = _middle_and_spread(known)
    over = np.log(past.p95_ms) - usual
    with np.errstate(invalid="ignore"):
        hours = _last_run(over > max(math.log(_TIMES), _FAR * spread), past.n_new, _PATIENCE)
    if hours is None:
        return None
    slow = float(np.nanmedian(past.p95_ms[hours]))
    text = f"one answer in twenty took over {slow:.3g} ms {_when(past, hours)}; usual are {math.exp(usual):.3g} ms"
    return Finding(
        f"{model} answers slowly",
        text,
        "infrastructure",
        text,
        "look at what else runs on its machine, at its traffic, and at what was deployed last",
        evidence=_evidence(past, hours, p95_ms=past.p95_ms, asked=past.asked),
    )


def _traffic(model: str, past: _Past) -> Finding | None:
    asked = past.asked
    then = len(asked) - past.n_new
    if then < _LEAST_WEEKS * _WEEK:
        return None
    usual, spread = (each[: past.n_new] for each in _seasonal(np.log1p(asked[:then])))
    moved, far = np.log1p(asked[then:]) - usual, np.maximum(math.log(_TIMES), _FAR * spread)
    is_judged = np.expm1(usual) >= _LEAST_REQUESTS
    for is_odd, said in ((moved < -far, "fewer"), (moved > far, "more")):
        run = _last_run(is_judged & is_odd, past.n_new, _PATIENCE)
        if run is not None:
            hours = slice(run.start + then, run.stop + then)
            return _odd_traffic(model, past, hours, said, float(np.expm1(usual[run]).sum()))
    return None


def _seasonal(logs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what is usual in each hour of the week that follows, and by how much that is off, both as logarithms.

    Usual is the median of that hour in the weeks before, moved by how the last week went beside it. How far hours are
    off is asked of those around it in all weeks, each week taken at its own level; and counting itself is never exact.
    """
    weeks = logs[len(logs) % _WEEK :].reshape(-1, _WEEK)[-(SPAN // timedelta(weeks=1)) :]
    middle = np.median(weeks, axis=0)
    off = weeks - middle
    levels = np.median(off, axis=1, keepdims=True)
    around = np.concatenate([np.roll(off - levels, shift, axis=1) for shift in range(-_AROUND, _AROUND + 1)])
    usual = middle + levels[-1]
    counting = 1 / np.sqrt(1 + np.expm1(usual).clip(0))
    return usual, np.maximum(_DEVIATION * np.median(np.abs(around), axis=0), counting)


def _odd_traffic(model: str, past: _Past, hours: slice, said: str, usual: float) -> Finding:
    asked = float(past.asked[hours].sum())
    is_silent = asked == 0
    text = f"{asked:,.0f} requests came {_when(past, hours)}; usual are {usual:,.0f}"
    return Finding(
        f"Nobody asks {model} any more" if is_silent else f"{model} is asked {said} times than usual",
        text,
        "infrastructure",
        text,
        "look at who asks, and at what lies between"
        if said == "fewer"
        else "look at who asks, and whether all is read",
        severity="page" if is_silent else "ticket",
        evidence=_evidence(past, hours, asked=past.asked) | {"usual": usual},
    )


def _middle_and_spread(values: NDArray[np.float64]) -> tuple[float, float]:
    middle = float(np.median(values))
    return middle, _DEVIATION * float(np.median(np.abs(values - middle)))


def _last_run(is_odd: NDArray[np.bool_], n_new: int, patience: int) -> slice | None:
    """Return the newest run of at least `patience` odd hours that ends within the last `n_new`; None without one."""
    stop = len(is_odd)
    while stop > len(is_odd) - n_new:
        start = stop
        while start > 0 and is_odd[start - 1]:
            start -= 1
        if stop - start >= patience:
            return slice(start, stop)
        stop = start - 1 if start == stop else start
    return None


def _when(past: _Past, hours: slice) -> str:
    first, last = (past.first + place * _HOUR for place in (hours.start, hours.stop))
    return f"from {first:%Y-%m-%d %H:%M} to {last:%H:%M} UTC"


def _evidence(past: _Past, hours: slice, **series: NDArray[np.float64]) -> dict[str, object]:
    told: dict[str, object] = {"from": to_iso(past.first + hours.start * _HOUR), "hours": hours.stop - hours.start}
    return told | {
        name: [round(float(each), 3) for each in values[hours][-_MOST_SHOWN:]] for name, values in series.items()
    }


_RULES: dict[Signal, Callable[[str, _Past], Finding | None]] = {
    "errors": _errors,
    "traffic": _traffic,
    "latency": _latency,
    "refusals": _refusals,
}
