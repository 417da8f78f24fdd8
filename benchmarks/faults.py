#!/usr/bin/env python3
"""Live a year of real flights with faults planted in it, and say of each: was it found, told rightly, and handled?

The year is that of `mainspring demo`, on all flights, under `mainspring up` as it is: prediction server, control
server, schedules and looks in its own processes, which go by a clock that stands in a file. Real requests, labels a day
later, a look of the loop each midnight. A fault that is not found, or whose cause is told wrongly, is said to be so,
and the exit code is 1; so it is when an alarm was raised in a week in which nothing was wrong.

    .venv/bin/python benchmarks/faults.py [--only FAULT] [--fast] [--json] [--home FOLDER]

`--only` lives some weeks around one fault. `--fast` takes a sixth of the flights.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from planted.disk import SmallDisk
from planted.faults import FAULTS
from planted.told import judge, quiet_weeks, summary
from planted.up import Up
from planted.year import Year

from mainspring.cli.loading import load_file
from mainspring.cli.output import print_table
from mainspring.demo.life import FIRST_DAY, first_version
from mainspring.demo.scene import set_scene
from mainspring.demo.traffic import read_traffic
from mainspring.domain.moments import WrittenClock
from mainspring.serve.client import PredictionClient
from mainspring.workspace import Workspace


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[each.name for each in FAULTS])
    parser.add_argument("--fast", action="store_true", help="a sixth of the flights")
    parser.add_argument("--until", type=int, help="end so many days after the first")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--home", type=Path, help="keep the year in this folder")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sys.exit(run(asked, (asked.home or Path(scratch) / "year").absolute()))


def run(asked, home):
    """Live, judge and print; return the exit code."""
    started = time.monotonic()

    def say(text):
        print(f"{time.monotonic() - started:6.1f} s  {text}", file=sys.stderr, flush=True)

    faults = [each() for each in FAULTS if asked.only in (None, each.name)]
    first, last = FIRST_DAY, datetime(2013, 12, 31, tzinfo=UTC)
    if asked.only:
        first = faults[0].begins - timedelta(days=faults[0].lead_days)
        last = faults[0].begins + timedelta(days=faults[0].lasts_days)
    if asked.until:
        last = first + timedelta(days=asked.until)
    set_scene(home, fast=asked.fast, fresh=True)
    user = load_file(home / "loop.py")
    os.chdir(home)
    clock = WrittenClock(home / ".mainspring" / "clock")
    clock.path.parent.mkdir(exist_ok=True)
    clock.advance_to(first)
    with Workspace(home / ".mainspring", clock=clock) as workspace:
        first_version(user["loop"], workspace, Path("data"), say)
        traffic = read_traffic(user["flights"], Path("data"), first, hours=4 if asked.fast else 1)
        with (
            SmallDisk(workspace.journals) as disk,
            Up(home, workspace, clock) as up,
            PredictionClient(up.url) as client,
        ):
            year = Year(
                user["loop"], user, workspace, clock, Path("data"), traffic, client,
                faults=faults, up=up, full_disk=disk.full,
            )  # fmt: skip
            for day in traffic.days:
                if day > last:
                    break
                for action in year.day(day).actions:
                    say(f"{day + timedelta(days=1):%d %b}  {action.splitlines()[0]}")
        told = [judge(year, fault) for fault in faults]
        weeks = quiet_weeks(year, told)
    return show(asked, told, weeks)


def show(asked, told, weeks):
    """Print what became of each fault, and return 1 when something is not as it should be."""
    missed = [each["fault"] for each in told if not each["is_right"]]
    if asked.json:
        print(json.dumps({"faults": told, "weeks": weeks}, indent=1, default=str))
    else:
        for each in told:
            print(f"\n{each['fault']}: {each['planted']}")
            for name, value in each["lines"].items():
                print(f"  {name:11}  {value}")
        print()
        rows = [(row[0], row[1], row[2].partition(":")[0], *row[3:]) for row in summary(told)]
        print_table(["fault", "begins", "found", "until then", "over", "in all", "verdict"], rows)
        print(f"\n{weeks['told']}")
        if missed:
            print(f"not as it should be: {', '.join(missed)}")
    return 1 if missed or weeks["alarms"] else 0


if __name__ == "__main__":
    main()
