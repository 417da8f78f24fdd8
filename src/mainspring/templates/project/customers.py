"""Makes `customers.csv`: a table of made-up subscribers that looks like the real thing and can be learnt from.

Nobody in it exists. Each row is drawn from one stream of random numbers with a fixed seed, so the file is the same
everywhere. `_chance_of_leaving` is the whole truth about who leaves; about one in five does. Missing values are put
in on purpose: usage meters fail, the way of payment is not always known, and most people never answer the survey.
`days` plays what comes after the table: new customers day by day, until the world changes. Replace
`customers.csv` by a table of your own and delete this file.
"""

import csv
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import NormalDist
from typing import NamedTuple

__all__ = ["FIRST_DAY", "Day", "customers", "days", "write_customers"]

#: The first day after the table.
FIRST_DAY = datetime(2025, 7, 1, tzinfo=UTC)
_FEES = {"basic": 12.0, "plus": 24.0, "max": 45.0}


def customers(rows: int, *, seed: int, first: date, days: int, offer: bool = False) -> Iterator[dict[str, object]]:
    """Yield `rows` subscribers, each as it was on some day of the `days` from `first` on, in the order of the days.

    With `offer` a competitor has begun to pay long-standing customers for coming over: the inputs look the same, and
    who leaves has changed.
    """
    # only random() is promised to give the same numbers in every version of Python
    draw = Random(seed).random
    for number in range(rows):
        plan = _pick(draw(), {"basic": 0.45, "plus": 0.35, "max": 0.20})
        tenure_months = min(72, int(-18 * math.log(1 - draw())))
        late_payments = _count(draw(), 0.5)
        support_calls = _count(draw(), 0.7 + 0.5 * (late_payments > 1))
        monthly_fee = round(_FEES[plan] * (0.9 + 0.3 * draw()), 2)
        gb_used = round(math.exp(2.2 + 0.02 * monthly_fee + 0.6 * _normal(draw())), 1)
        mood = 4.2 - 0.5 * support_calls - 0.02 * monthly_fee + 0.8 * _normal(draw())
        chance = _chance_of_leaving(tenure_months, late_payments, support_calls, monthly_fee, gb_used, mood, offer)
        yield {
            "observed_on": (first + timedelta(days=number * days // rows)).isoformat(),
            "plan": plan,
            "region": _pick(draw(), {"north": 0.3, "south": 0.2, "east": 0.2, "west": 0.3}),
            "payment": None if draw() < 0.04 else _pick(draw(), {"card": 0.5, "debit": 0.35, "invoice": 0.15}),
            "tenure_months": tenure_months,
            "monthly_fee": monthly_fee,
            "gb_used": None if draw() < 0.08 else gb_used,
            "support_calls": support_calls,
            "late_payments": late_payments,
            "satisfaction": None if draw() < 0.6 else min(5, max(1, round(mood))),
            "churned": int(draw() < chance),
        }


class Day(NamedTuple):
    """One day of production: the rows to ask about, and for each whether the customer left in the end."""

    at: datetime
    rows: list[dict[str, object]]
    left: list[int]


def days(number: int, *, rows: int = 40, offer_from: int = 20) -> Iterator[Day]:
    """Yield the days after the table; from day `offer_from` on the competitor's offer is out."""
    for day in range(number):
        at = FIRST_DAY + timedelta(days=day)
        people = list(customers(rows, seed=day, first=at.date(), days=1, offer=day >= offer_from))
        left = [int(str(each.pop("churned"))) for each in people]
        for each in people:
            del each["observed_on"]  # a request is about now
        yield Day(at, people, left)


def write_customers(path: Path, rows: int = 4_000) -> None:
    """Write the table as CSV, eighteen months of it."""
    with path.open("w", encoding="utf-8", newline="") as file:
        table = customers(rows, seed=20_24, first=date(2024, 1, 1), days=546)
        writer = csv.DictWriter(file, list(next(customers(1, seed=0, first=date.min, days=1))), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def _chance_of_leaving(
    tenure_months: int, late_payments: int, support_calls: int, fee: float, gb_used: float, mood: float, offer: bool
) -> float:
    pull = -1.7 - 0.05 * min(tenure_months, 36) + 0.55 * support_calls + 0.6 * late_payments + 0.9 * (3.2 - mood)
    pull += 1.4 * (fee / gb_used > 3)  # pays for more than is used
    if offer:
        pull += 0.11 * min(tenure_months, 36)
    return 1 / (1 + math.exp(-pull))


def _pick(share: float, shares: dict[str, float]) -> str:
    for name, each in shares.items():
        share -= each
        if share < 0:
            return name
    return name


def _count(share: float, mean: float) -> int:
    """Return a Poisson count: the number at which the shares of all smaller ones add up to `share`."""
    count, weight = 0, math.exp(-mean)
    while share >= weight and count < 12:
        share, count = share - weight, count + 1
        weight *= mean / count
    return count


def _normal(share: float) -> float:
    return NormalDist().inv_cdf(min(max(share, 1e-9), 1 - 1e-9))


if __name__ == "__main__":
    write_customers(Path(__file__).with_name("customers.csv"))
