#!/usr/bin/env python3
"""How often the rules of operations are wrong, on services in which nothing happens, and what they find.

Twenty years of each kind of service, hour by hour, looked at once a day as `mainspring up` does; no parameter of the
rules was fitted to them. Then a fault of six hours on one weekday of each service's twelfth week, by the share of
services in which it is told. The false alarms are stated in docs/monitoring.md; the command exits with 1 when there are
more.

    .venv/bin/python benchmarks/operations.py [--years N] [--json]
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from mainspring.monitor.operations import SPAN, watch_operations
from mainspring.predictions.hours import ServedHour

START, HOUR, DAY = datetime(2026, 1, 5, tzinfo=UTC), timedelta(hours=1), timedelta(days=1)
WEEKS = 52
#: Incidents that open in a year in which nothing happens, at the most, over all kinds that are not marked as hard.
MOST_A_YEAR = 0.5
Array = Any  # numpy arrays of float64, one value an hour


def daily(hours: Array) -> Array:
    """Return a day's course: three times as many at noon as at night, on weekends two fifths of it."""
    return (1 + 0.5 * np.sin(2 * np.pi * (hours % 24 - 6) / 24)) * np.where(hours // 24 % 7 > 4, 0.4, 1.0)


def weather(rng: np.random.Generator, size: int, deviation: float, keep: float) -> Array:
    """Return noise each hour of which keeps a part of the last."""
    noise = rng.normal(0, deviation * np.sqrt(1 - keep**2), size)
    for hour in range(1, size):
        noise[hour] += keep * noise[hour - 1]
    return noise


#: What the mean of an hour's requests is, by the kind of service. Hard kinds do what the rules take for a fault.
KINDS: dict[str, tuple[bool, Callable[[Array, np.random.Generator], Array]]] = {
    "steady, 30 an hour": (False, lambda hours, rng: np.full(hours.size, 30.0)),
    "steady, 3,000 an hour": (False, lambda hours, rng: np.full(hours.size, 3000.0)),
    "days and weekends, 50": (False, lambda hours, rng: 50 * daily(hours)),
    "days and weekends, 5,000": (False, lambda hours, rng: 5000 * daily(hours)),
    "growing by 3 % a week": (False, lambda hours, rng: 500 * daily(hours) * 1.03 ** (hours / 168)),
    "seasons of the year": (
        False, lambda hours, rng: 500 * daily(hours) * np.exp(0.7 * np.sin(2 * np.pi * hours / (24 * 364))),
    ),
    "noise of 20 % that lasts for hours": (
        False, lambda hours, rng: 500 * daily(hours) * np.exp(weather(rng, hours.size, 0.2, 0.9)),
    ),
    "noise of 40 % that lasts for hours": (
        True, lambda hours, rng: 500 * daily(hours) * np.exp(weather(rng, hours.size, 0.4, 0.9)),
    ),
    "ten holidays a year like Sundays": (
        True, lambda hours, rng: 500 * np.where(np.isin(hours // 24, rng.choice(364, 10)), 0.4, 1.0) * daily(hours),
    ),
}  # fmt: skip
FAULTS: dict[str, Callable[[ServedHour], ServedHour]] = {
    "nobody asks": lambda each: ServedHour(each.at),
    "a third of the traffic": lambda each: changed(each, answered=each.answered // 3),
    "three times the traffic": lambda each: changed(each, answered=each.answered * 3),
    "one in twenty fails": lambda each: changed(
        each, answered=each.answered - each.answered // 20, failed=each.failed + each.answered // 20
    ),
    "one in five is refused": lambda each: changed(
        each, answered=each.answered - each.answered // 5, refused=each.refused + each.answered // 5
    ),
    "three times the latency": lambda each: changed(each, p95_ms=None if each.p95_ms is None else 3 * each.p95_ms),
}


def changed(served: ServedHour, **fields: Any) -> ServedHour:
    """Return an hour with other numbers."""
    known = {"answered": served.answered, "refused": served.refused, "failed": served.failed, "p95_ms": served.p95_ms}
    return ServedHour(served.at, **(known | fields))


def lived(kind: str, seed: int, weeks: int = WEEKS) -> list[ServedHour]:
    """Return the hours of a service in which nothing happens, also those in which nobody asks."""
    rng = np.random.default_rng([seed, *kind.encode()])
    hours = np.arange(weeks * 168)
    asked = rng.poisson(KINDS[kind][1](hours, rng))
    # each hour's share of errors is its own, as one caller's mistakes are: beta with a mean of 0.2 and 1 %
    failed = rng.binomial(asked, rng.beta(0.5, 250, hours.size))
    refused = rng.binomial(asked - failed, rng.beta(2, 200, hours.size))
    latency = 3 * np.exp(weather(rng, hours.size, 0.15, 0.8)) * (1 + 0.3 * daily(hours))
    return [
        ServedHour(START + hour * HOUR, int(a - f - r), int(r), int(f), float(ms) if a else None)
        for hour, a, f, r, ms in zip(hours.tolist(), asked, failed, refused, latency, strict=True)
    ]


def told(served: list[ServedHour], day: int) -> set[str]:
    """Return the signals that are told at the end of a day."""
    first = max(0, 24 * (day + 1) - int((SPAN + DAY) / HOUR))
    hours = [each for each in served[first : 24 * (day + 1)] if each.asked]
    found = watch_operations("m", hours, now=START + (day + 1) * DAY, every=DAY)
    return {signal for signal, finding in found.items() if finding is not None}


def false_alarms(kind: str, years: int) -> Counter[str]:
    """Count the incidents that open in so many years of a service."""
    opened: Counter[str] = Counter()
    for year in range(years):
        served, standing = lived(kind, year), set[str]()
        for day in range(len(served) // 24):
            now = told(served, day)
            opened.update(now - standing)
            standing = now
    return opened


def found(kind: str, fault: str, services: int) -> int:
    """Count the services in which a fault from 10 to 16 o'clock on a Wednesday is told at the end of that day."""
    day, count = 12 * 7 + 2, 0
    for service in range(services):
        served = lived(kind, 1000 + service, weeks=13)
        for hour in range(24 * day + 10, 24 * day + 16):
            served[hour] = FAULTS[fault](served[hour])
        count += bool(told(served, day))
    return count


def main() -> int:
    """Print both tables; return 1 when more false alarms came than are stated."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=20, help="years of each kind of service")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    words = parser.parse_args()
    alarms = {kind: dict(false_alarms(kind, words.years)) for kind in KINDS}
    faults = {kind: {fault: found(kind, fault, words.years) for fault in FAULTS} for kind in KINDS}
    if words.json:
        print(json.dumps({"years": words.years, "false_alarms": alarms, "found": faults}))
    else:
        print(f"Incidents that opened in {words.years} years in which nothing happened; then of {words.years} services"
              " those in which a fault of six hours was told")  # fmt: skip
        for kind in KINDS:
            parts = ", ".join(f"{signal} {times}" for signal, times in alarms[kind].items()) or "none"
            print(f"  {kind:<36} {parts}")
            print("    " + "; ".join(f"{fault} {times}" for fault, times in faults[kind].items()))
    calm = [sum(alarms[kind].values()) for kind, (is_hard, _) in KINDS.items() if not is_hard]
    rate = sum(calm) / len(calm) / words.years
    print(f"{rate:.2f} false alarms a year of a service, kinds that do what faults do left out", file=sys.stderr)
    return int(rate > MOST_A_YEAR)


if __name__ == "__main__":
    sys.exit(main())
