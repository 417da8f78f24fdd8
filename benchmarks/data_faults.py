#!/usr/bin/env python3
"""Plant many kinds of faults, one by one, into a good month of real flights, and see which rule finds each of them.

    .venv/bin/python benchmarks/data_faults.py [--seed N] [--only WORD] [--peers FOLDER] [--json]

The schemas below `dirty/` were drafted from January to June of 2013 and reviewed. Each fault stands there beside the
rule that must find it; it counts as found only when that rule names it. Of the rows that the rule tells, `right` is the
share of them that were planted, `all` the share of the planted ones that were told. The good batches of July to
December must pass without an alarm. With --peers Great Expectations, in an environment of its own below FOLDER, judges
the same files by what it can say of the same schemas. The exit code is 1 when a fault is not found or a good batch
raises an alarm.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import dirty.cells
import dirty.files
import dirty.joins
import dirty.weather
import dirty.whole_rows
from dirty.planted import FAULTS, Fault, Rows, Table

from data import environment
from mainspring.data import Columns, frame_of, future_leaks, leakage_suspects, read_columns, read_schema
from mainspring.data.checks import Scan
from mainspring.demo.scene import write_tables
from mainspring.errors import MainspringError

SCHEMAS = Path(__file__).parent / "dirty"
MONTH = 9
LATER = range(7, 13)
#: What the source itself has wrong, by table and month: a wind of 1,048 miles an hour, a night of 13 degrees in May
#: between 57 before and after, and no weather after 30 December, which flights of the 31st are joined with.
KNOWN_FAULTS = {
    ("weather", 2): ("wind_speed max",),
    ("weather", 5): ("like_its_neighbours", "no_jump"),
    ("joined", 12): ("fresh_weather",),
}
KNOWN = {"weather": ("time_hour", "1h")}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the product said: the rules that fired, and of the expected one the rows or columns that it told."""

    fired: tuple[str, ...]
    told: frozenset[int] | frozenset[str] = frozenset()
    said: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One fault as it was found or not. `right` and `whole` are None where there are no rows to tell."""

    fault: str
    says: str
    of: str
    planted: int | None
    rule: str
    fired: tuple[str, ...]
    told: int
    right: float | None
    whole: float | None
    found: bool
    said: str


class Bench:
    """The months of 2013 as files below `folder`, and the product's checks of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, tuple[str, str]] = {}
        (folder / "source").mkdir()
        write_tables(folder / "source", fast=False)
        self.planes = folder / "source" / "planes.csv"
        with duckdb.connect() as connection:
            for name in ("flights", "weather"):
                whole = f"read_csv('{folder}/source/{name}.csv', all_varchar=true, nullstr='')"
                for month in range(1, 13):
                    rows = f"SELECT * FROM {whole} WHERE month = '{month}'"
                    connection.execute(f"COPY ({rows}) TO '{self.month(name, month)}' (FORMAT csv, HEADER)")

    def month(self, name: str, month: int) -> Path:
        """Return the file of one month."""
        return self.folder / f"{name}-{month:02}.csv"

    def as_parquet(self, path: Path) -> Path:
        """Return the same table as a Parquet file, with the types that the text has."""
        target = self.folder / f"{path.stem}.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY (FROM read_csv('{path}', nullstr=['', 'NA'])) TO '{target}' (FORMAT parquet)")
        return target

    def sources(self, month: int) -> dict[str, Columns]:
        """Return the tables that are joined, the weather from the day before the month on."""
        paths = {name: self.month(name, month) for name in ("flights", "weather")}
        return {name: read_columns(path) for name, path in {**paths, "planes": self.planes}.items()}

    def check(self, name: str, table: Columns | Path, rule: str, month: int) -> Verdict:
        """Check a table as `mainspring data check` does, and fetch the rows that `rule` tells."""
        earlier = self.month("flights", month - 1)
        tables: dict[str, Columns | Path] = {
            "before": earlier, "planes": self.planes, "weather": self.month("weather", month)
        }  # fmt: skip
        broken = self.folder / "broken.parquet"
        try:
            with Scan(table, read_schema(SCHEMAS / f"{name}.schema.yaml"), tables) as scan:
                found = scan.check().violations
                if scan.told:
                    scan.write_broken(broken)
        except MainspringError as error:
            line = re.search(r"Line: (\d+)", str(error))
            return Verdict(("reading",), frozenset({int(line[1]) - 2} if line else ()), str(error).splitlines()[0])
        fired = tuple(dict.fromkeys(f"{each.column} {each.rule}".strip() for each in found))
        said = next((str(each) for each in found if f"{each.column} {each.rule}".strip() == rule), "")
        told: set[int] = set()
        if scan.told:
            rows = read_columns(broken)
            pairs = zip(rows["#row"].tolist(), rows["#reasons"].tolist(), strict=True)
            told = {int(row) for row, reasons in pairs if rule in reasons.split("; ")}
        return Verdict(fired, frozenset(told), said)

    def leaks(self, table: Columns, rule: str) -> Verdict:
        """Look for columns that know too much, as `mainspring data leaks` does, and for repeated test rows."""
        departs = table["departs_at"]
        test = departs >= np.sort(departs)[int(len(departs) * 0.85)]
        shown = {name: array for name, array in table.items() if name != "observed_at"}
        found = leakage_suspects(shown, target="late", time="departs_at", test=test)
        told = frozenset(each.column for each in found if f"leak {each.reason}" == rule)
        said = next((each.message for each in found if f"leak {each.reason}" == rule), "")
        return Verdict(tuple(dict.fromkeys(f"leak {each.reason}" for each in found)), told, said)

    def plant(self, fault: Fault, rng: random.Random) -> tuple[Rows | str, Verdict]:
        """Plant one fault and check what came of it; return what was planted and what was said."""
        if fault.where == "cells":
            table = self._table(fault.of)
            rows = fault.plant(table, rng)
            path = self._path(fault, f"{fault.of}.csv")
            table.write(path)
            return rows, self.check(fault.of, path, fault.rule, MONTH)
        if fault.where == "file":
            path = self._path(fault, fault.of)
            good = self.month("flights", MONTH)
            good = self.as_parquet(good) if path.suffix == ".parquet" else good
            path.write_bytes(good.read_bytes())
            rows = fault.plant(path, rng)
            return rows, self.check("flights", path, fault.rule, MONTH)
        sources = self.sources(MONTH)
        if fault.where == "function":
            leaks = future_leaks(fault.plant(sources, rng), sources, KNOWN, time="departs_at")
            told = frozenset(leak.column for leak in leaks)
            said = f"{leaks[0].column} differs in {leaks[0].n_rows:,} rows before {leaks[0].cut}" if leaks else ""
            return None, Verdict(("future_leaks",) if leaks else (), told, said)
        if fault.where == "leak":
            table_with = dirty.joins.build(sources)
            column = fault.plant(table_with, rng)
            return column, self.leaks(table_with, fault.rule)
        try:
            if fault.where == "joined":
                joined = dirty.joins.build(sources)
                rows = fault.plant(joined, rng)
            else:
                rows = fault.plant(sources, rng)
                joined = sources["table"] if "table" in sources else dirty.joins.build(sources)
        except MainspringError as error:
            return None, Verdict(("joining",), frozenset(), str(error).splitlines()[0])
        frame_of(joined).to_parquet(self._path(fault, "joined.parquet"))
        return rows, self.check("joined", joined, fault.rule, MONTH)

    def _path(self, fault: Fault, ending: str) -> Path:
        path = self.folder / f"{fault.name.replace(' ', '_')}-{ending}"
        self.files[fault.name] = (ending.partition(".")[0], str(path))
        return path

    def _table(self, name: str) -> Table:
        if name == "planes":
            return Table.read(self.planes)
        table = Table.read(self.month(name, MONTH))
        table.earlier = Table.read(self.month(name, MONTH - 1))
        return table

    def good(self, months: range) -> tuple[int, list[str], list[str]]:
        """Check every batch as it came; return how many, the alarms, and the known faults that it found."""
        checked = 0
        alarms: list[str] = []
        known: list[str] = []
        for month in months:
            sources = self.sources(month)
            joined = dirty.joins.build(sources)
            batches: list[tuple[str, Columns | Path]] = [("joined", joined)]
            for name in ("flights", "weather"):
                path = self.month(name, month)
                batches += [(name, path), (name, self.as_parquet(path))]
            said = [(name, self.check(name, table, "", month)) for name, table in batches]
            said.append(("leaks", self.leaks(joined, "")))
            checked += len(said)
            for name, each in said:
                expected = KNOWN_FAULTS.get((name, month), ())
                for rule in each.fired:
                    (known if rule in expected else alarms).append(f"{name} of month {month}: {rule}")
        planes = self.check("planes", self.planes, "", MONTH)
        ahead = future_leaks(dirty.joins.build, self.sources(MONTH), KNOWN, time="departs_at")
        alarms += [f"planes: {rule}" for rule in planes.fired] + [f"future: {each}" for each in ahead]
        return checked + 2, alarms, list(dict.fromkeys(known))


def judged_by_a_peer(bench: Bench, peers: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Let Great Expectations judge the faulty files and the good ones; return what failed of each, and false alarms."""
    tables = {}
    for name in ("flights", "weather", "planes", "joined"):
        schema = read_schema(SCHEMAS / f"{name}.schema.yaml")
        tables[name] = {
            "columns": {column: asdict(rule) for column, rule in schema.columns.items()},
            "min_rows": schema.min_rows,
            "max_rows": schema.max_rows,
            "unique": [list(rule.columns) for rule in schema.rules if rule.kind == "unique"],
        }
    good = {
        f"{name} of month {month}": (name, str(bench.month(name, month)))
        for month in LATER
        for name in ("flights", "weather")
    }
    asked = bench.folder / "asked.json"
    asked.write_text(json.dumps({"tables": tables, "files": {**bench.files, **good}}))
    python = environment(peers, "great-expectations", "great-expectations pyarrow")
    script = Path(__file__).parent / "dirty" / "expectations.py"
    done = subprocess.run([python, script, asked], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    told: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return told, [f"{name}: {', '.join(told[name])}" for name in good if told[name]]


def outcome(fault: Fault, planted: Rows | str, verdict: Verdict) -> Outcome:
    """Compare what was planted with what was told."""
    right = whole = None
    if isinstance(planted, set) and planted:
        both = len(planted & verdict.told)
        right = both / len(verdict.told) if verdict.told else 0.0
        whole = both / len(planted)
    if isinstance(planted, str) and planted:
        right, whole = (float(planted in verdict.told) / max(1, len(verdict.told)), float(planted in verdict.told))
    count = len(planted) if isinstance(planted, set) else None
    found = fault.rule in verdict.fired and whole != 0.0
    return Outcome(
        fault.name, fault.says, fault.of, count, fault.rule, verdict.fired, len(verdict.told), right, whole, found,
        verdict.said[:300],
    )  # fmt: skip


def print_outcomes(outcomes: list[Outcome]) -> None:
    """Print a line for each fault."""

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.0%}"

    print(f"{'fault':40} {'table':15} {'planted':>7} {'rule that must find it':28} {'told':>6} {'right':>5} {'all':>5}")
    for each in sorted(outcomes, key=lambda one: one.of):
        planted = "" if each.planted is None else f"{each.planted:,}"
        also = ", ".join(rule for rule in each.fired if rule != each.rule)
        line = f"{each.fault[:40]:40} {each.of:15} {planted:>7} {each.rule:28} {each.told:>6}"
        verdict = "found" if each.found else "NOT FOUND"
        print(f"{line} {share(each.right):>5} {share(each.whole):>5}  {verdict}{f'; also {also}' if also else ''}")


def main() -> int:
    """Check the good batches, plant the faults, and tell what was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="plant only faults whose name holds this")
    parser.add_argument("--peers", type=Path, help="folder for the peer's environment")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    given = parser.parse_args()
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Path(scratch))
        checked, alarms, known = bench.good(LATER)
        _, earlier, known_earlier = bench.good(range(2, 7))
        outcomes = []
        for number, fault in enumerate(FAULTS):
            if given.only in fault.name:
                planted, verdict = bench.plant(fault, random.Random(given.seed * 1000 + number))
                outcomes.append(outcome(fault, planted, verdict))
        peer, peer_alarms = judged_by_a_peer(bench, given.peers) if given.peers else ({}, [])
    found = sum(each.found for each in outcomes)
    if given.json:
        told = {"good_batches": checked, "alarms": alarms, "of_the_source": known_earlier + known}
        told |= {"great_expectations": peer, "great_expectations_alarms": peer_alarms} if given.peers else {}
        print(json.dumps({**told, "faults": [asdict(each) for each in outcomes]}))
    else:
        print_outcomes(outcomes)
        print(f"{found} of {len(outcomes)} faults found by the rule that must; {time.perf_counter() - started:.0f} s")
        print(f"{checked} good batches checked, {len(alarms)} false alarms")
        for alarm in alarms + earlier:
            print(f"  {alarm}")
        if given.peers:
            asked = [each.fault for each in outcomes if each.fault in peer]  # the others are in no file
            missed = [fault for fault in asked if not peer[fault]]
            told_by = f"{len(asked) - len(missed)} of {len(asked)} files"
            print(f"Great Expectations: something failed for {told_by}; {len(peer_alarms)} false alarms")
            print(f"  nothing failed for: {', '.join(missed)}")
        print(f"faults of the source itself that were found: {'; '.join(known_earlier + known)}")
    return 0 if found == len(outcomes) and not alarms else 1


if __name__ == "__main__":
    sys.exit(main())
