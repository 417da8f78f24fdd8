#!/usr/bin/env python3
"""How often the rule of broken inputs cries wolf, and which faults of a source it sees.

The rule (`monitor.input_faults`, told on two days in a row) is asked about every day of two worlds: simulated columns
of nine kinds, and the flights of 2013 with their weather as they were. Then one column at a time of the flights comes
in other units, or a carrier under another code, and it is counted on how many days that would be seen.

    .venv/bin/python benchmarks/sources.py [--days 400] [--columns 60]
"""

import argparse
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from mainspring.cli.loading import load_file
from mainspring.cli.output import print_table
from mainspring.data.profile import count, profile
from mainspring.data.table import columns_of
from mainspring.demo.scene import set_scene
from mainspring.monitor.input_faults import (
    LEAST_BLOCKS,
    MOST_BLOCKS,
    BlockSummary,
    ColumnSummary,
    input_faults,
    summarize,
)

#: The daily means of a column, by kind; `t` counts days.
KINDS = {
    "steady": lambda rng, t: 50 + rng.normal(0, 1, t.size),
    "slow weather": lambda rng, t: 30 + 3 * _persistent(rng, t.size),
    "seasons": lambda rng, t: 60 + 25 * np.sin(t / 58) + 4 * rng.normal(size=t.size),
    "weekends": lambda rng, t: 100 + 20 * (t % 7 > 4) + rng.normal(0, 2, t.size),
    "heavy tails": lambda rng, t: 20 + rng.standard_t(2, t.size),
    "mostly zero": lambda rng, t: rng.gamma(1, 1, t.size) * (rng.random(t.size) < 0.15),
    "random walk": lambda rng, t: 200 + np.cumsum(rng.normal(0, 3, t.size)),
    "lognormal": lambda rng, t: rng.lognormal(2, 0.7, t.size),
    "a step of a half every 90 days": lambda rng, t: 10 * 1.5 ** (t // 90) + rng.normal(0, 0.3, t.size),
}
#: What senders do to a column of the flights: as NIST SP 811, appendix B, has it.
UNITS = {
    "pressure": ("inches of mercury", lambda x: x * 0.02953),
    "temp": ("degrees Celsius", lambda x: (x - 32) / 1.8),
    "dewp": ("degrees Celsius", lambda x: (x - 32) / 1.8),
    "humid": ("a share", lambda x: x / 100),
    "distance": ("kilometres", lambda x: x * 1.609344),
    "hour": ("minutes", lambda x: x * 60),
    "visib": ("kilometres", lambda x: x * 1.609344),
    "wind_speed": ("knots", lambda x: x * 0.868976),
    "precip": ("millimetres", lambda x: x * 25.4),
}


class Watch:
    """The rule as `monitor.inputs` asks it, over days that are handed in one by one."""

    def __init__(self):
        self.past, self._odd, self._faults = [], [], {}

    def look(self, block):
        """Return what the day shows, and what of it is told, because the day before showed it too."""
        before, self._faults = self._faults, input_faults(self.past, block)
        told = [column for column in self._faults if column in before]
        if told:
            self._odd = []
        else:
            self.past = [*self.past, *self._odd, *([] if self._faults else [block])][-MOST_BLOCKS:]
            self._odd = [block] if self._faults else []
        return list(self._faults), told


def _persistent(rng, days):
    state = np.zeros(days)
    for day in range(1, days):
        state[day] = 0.8 * state[day - 1] + rng.normal()
    return state


def simulated(days, columns):
    """Return a row for each kind of column: days looked at, days that looked odd, and tickets."""
    rows = []
    for number, (kind, means) in enumerate(KINDS.items()):
        odd = tickets = 0
        for column in range(columns):
            rng, watch, was_told = np.random.default_rng([number, column]), Watch(), False
            for day, mean in enumerate(means(rng, np.arange(days))):
                shown, told = watch.look(BlockSummary(str(day), 500, {"x": ColumnSummary(0, 0, 0, float(mean))}))
                odd, tickets = odd + bool(shown), tickets + (bool(told) and not was_told)
                was_told = bool(told)
        rows.append((kind, f"{days * columns:,}", odd, tickets))
    return rows


def flights():
    """Return what the clean year raises, and a row for each fault: on how many days it would be seen."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch) / "year"
        set_scene(home, fast=False, fresh=True)
        columns = columns_of(load_file(home / "loop.py")["flights"](home / "data", datetime(2014, 1, 3, tzinfo=UTC)))
    names = [name for name in columns if name not in ("departs_at", "late")]
    day = columns["departs_at"].astype("datetime64[D]")
    start, end = np.datetime64("2013-04-01"), np.datetime64("2014-01-01")
    reference = profile({name: columns[name][day < start] for name in names})
    watch, odd, told = Watch(), [], []
    seen, tried = dict.fromkeys((*UNITS, "carrier"), 0), 0
    for each in np.arange(start, end):
        rows = {name: columns[name][day == each] for name in names}
        if len(watch.past) >= LEAST_BLOCKS:
            tried += 1
            for column in seen:
                broken = {**rows, column: _broken(column, rows[column])}
                seen[column] += column in input_faults(watch.past, summarize("", reference, count(reference, broken)))
        shown, now = watch.look(summarize(str(each), reference, count(reference, rows)))
        odd += [f"{each} {column}" for column in shown]
        told += [f"{each} {column}" for column in now]
    said = {**{name: f"comes in {unit}" for name, (unit, _) in UNITS.items()}, "carrier": "UA comes as UAL"}
    return odd, told, [(name, said[name], f"{seen[name] / tried:.0%}") for name in seen]


def _broken(column, values):
    if column == "carrier":
        return np.where(values == "UA", "UAL", values)
    return UNITS[column][1](values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=400)
    parser.add_argument("--columns", type=int, default=60, help="of each kind")
    asked = parser.parse_args()
    print_table(["daily mean of a column", "days", "odd for a day", "tickets"], simulated(asked.days, asked.columns))
    odd, told, rows = flights()
    print(f"\nThe flights as they were: {len(told)} tickets; odd for a day: {', '.join(odd)}\n")
    print_table(["column", "fault", "days on which it is seen"], rows)
    sys.exit(1 if told else 0)


if __name__ == "__main__":
    main()
