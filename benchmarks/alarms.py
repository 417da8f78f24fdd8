#!/usr/bin/env python3
"""How often monitors cry wolf, and how often they see one: simulated streams of 100 to 500,000 rows a window.

The world is `benchmarks/streams/world.py`: 30 columns and a model; nothing changes, something harmless changes, or one
of five faults is planted. Two of Mainspring's rules are tried. The *page* is the rule of labels (`monitor.risk`): a
hold-out gives its limit, then windows come with their losses. Its rate is stated as at most `ALPHA` false alarms a
window. The *evidence* is `monitor.drift`, which pages nobody: at most 5 % of the reports on windows in which nothing
that matters moved may name a column. With --peers, the defaults of Evidently, NannyML and whylogs judge the same
windows as the evidence does, in environments of their own; an alarm of theirs is any flag.

    .venv/bin/python benchmarks/alarms.py [--rows N ...] [--peers FOLDER [--reports N]] [--json]
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data import environment
from mainspring.data.profile import count, profile
from mainspring.evaluate.detector import detect
from mainspring.monitor.drift import drift
from mainspring.monitor.risk import ALPHA, baseline, limit_of

SCRIPTS = Path(__file__).parent / "streams"
sys.path.insert(0, str(SCRIPTS))

from windows import save  # noqa: E402  # lies beside the scripts that import it in other environments
from world import CHANGES, draw  # noqa: E402

#: Stated rate of reports that wrongly name a column.
EVIDENCE = 0.05
#: Columns that each change moves; the others must not be named. What is moved by 0.02 deviations counts as not moved.
MOVED = {"columns": {"c5", "n9", "n10", "n11"}, "data": {"n0"}, "missing": {"n0"}, "upstream": {"n0"}}
PEERS = {
    "mainspring": ("mainspring_rules.py", ""),
    "evidently": ("evidently_rules.py", "evidently==0.7.23 pandas<3"),
    "nannyml": ("nannyml_rules.py", "nannyml==0.13.1 statsmodels"),
    "whylogs": ("whylogs_rules.py", "whylogs[viz]==1.6.4 numpy<2 pandas<3"),
}


class Size(NamedTuple):
    """How much is simulated of windows of one size: streams, their parts in windows, and reports of evidence."""

    streams: int
    hold_out: int
    quiet: int
    changed: int
    reports: int


SIZES = {
    100: Size(60, 30, 150, 60, 400),
    1_000: Size(30, 30, 150, 60, 200),
    5_000: Size(12, 30, 100, 60, 100),
    50_000: Size(2, 30, 60, 60, 30),
    500_000: Size(1, 30, 30, 30, 4),
}


class Paged(NamedTuple):
    """Of the page, under one change: alarms, windows looked at, streams in which it came, and windows until then."""

    alarms: int
    windows: int
    streams: int
    found: int
    delay: float


def simulate_pages(rows: int, size: Size, rng: np.random.Generator) -> dict[str, Paged]:
    """Run streams: a hold-out, quiet windows, and then one change each, told by the losses of labelled rows."""

    def means(windows: int, change: str) -> list[float]:
        return [float(draw(rng, rows, change, used_only=True).losses.mean()) for _ in range(windows)]

    counted: dict[str, list[tuple[int, int, int | None]]] = {change: [] for change in CHANGES}
    for _ in range(size.streams):
        base = baseline(np.array(means(size.hold_out, "nothing")))
        limit = limit_of(base)
        quiet = means(size.quiet, "nothing")
        for change in CHANGES:
            # what is changed follows a good past, which must not hide it
            past = [] if change == "nothing" else quiet
            now = quiet if change == "nothing" else means(size.changed, change)
            alarmed = (detect(np.array([*past, *now]), limit, base.spread).by_time >= 1 / ALPHA)[len(past) :]
            begins = int((alarmed & ~np.concatenate([[False], alarmed[:-1]])).sum())
            counted[change].append((begins, len(now), int(alarmed.argmax()) + 1 if alarmed.any() else None))
    return {
        change: Paged(
            sum(each[0] for each in told),
            sum(each[1] for each in told),
            len(told),
            sum(each[2] is not None for each in told),
            float(np.median([each[2] for each in told if each[2] is not None] or [math.nan])),
        )
        for change, told in counted.items()
    }


def reference_rows(rows: int) -> int:
    """Return how many rows the reference has: enough for NannyML to make four chunks of it."""
    return max(20_000, (2 if rows > 100_000 else 4) * rows)


def simulate_evidence(rows: int, reports: int, rng: np.random.Generator) -> dict[str, tuple[int, int, int]]:
    """Return for each change the reports, how many named a column that did not move, and how many one that did."""
    # drawn anew now and then, for a reference is luck too
    turns = max(1, reports // 40)
    found = dict.fromkeys(CHANGES, (0, 0, 0))
    for turn in range(turns):
        kept = profile(draw(rng, reference_rows(rows)).columns)
        for change in CHANGES:
            told = found[change]
            for _ in range(len(range(turn, reports, turns))):
                report = drift(kept, count(kept, draw(rng, rows, change).columns))
                wrong, right = judged(change, {each.column for each in report if each.is_shifted})
                told = told[0] + 1, told[1] + wrong, told[2] + right
            found[change] = told
    return found


def judged(change: str, flagged: set[str]) -> tuple[bool, bool]:
    """Return whether a column was named that did not move, and whether one that did."""
    moved = MOVED.get(change.partition(":")[0].partition(" ")[0], set())
    return bool(flagged - moved), bool(flagged & moved)


def at_most(hits: int, tries: int, rate: float) -> bool:
    """Return whether `hits` are what a true rate of at most `rate` may bring: not rarer than once in a thousand."""
    below = sum(math.comb(tries, k) * rate**k * (1 - rate) ** (tries - k) for k in range(hits))
    return 1 - below >= 0.001


def ask_peers(folder: Path, rows: int, reports: int) -> dict[str, dict[str, tuple[int, int]]]:
    """Let every contender judge the same windows; return for each of its rules the alarms by change, of how many."""
    rng = np.random.default_rng(7)
    said: dict[str, dict[str, tuple[int, int]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        save(Path(scratch) / "reference.npz", draw(rng, reference_rows(rows)))
        for number, change in enumerate(CHANGES):
            for turn in range(reports):
                save(Path(scratch) / f"{number}-{turn:03d}.npz", draw(rng, rows, change))
        for name, (script, packages) in PEERS.items():
            python = environment(folder, name, packages) if packages else sys.executable
            quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "True"}
            call = [python, "-W", "ignore", SCRIPTS / script, scratch]
            done = subprocess.run(call, capture_output=True, text=True, env=quiet, check=False)
            if done.returncode:
                raise SystemExit(f"{script}: {done.stderr[-2000:]}")
            for rule, by_window in json.loads(done.stdout.splitlines()[-1]).items():
                said[f"{name}, {rule}"] = {
                    change: (sum(bool(by_window[f"{number}-{turn:03d}"]) for turn in range(reports)), reports)
                    for number, change in enumerate(CHANGES)
                }
    return said


def show_own(rows: int, pages: dict[str, Paged], evidence: dict[str, tuple[int, int, int]]) -> bool:
    """Print what Mainspring's rules did, and return whether they kept their stated rates."""
    kept = True
    print(f"{rows:,} rows a window")
    for change, is_harmful in CHANGES.items():
        page, (reports, wrong, right) = pages[change], evidence[change]
        told = f"named a column that moved in {right}, one that did not in {wrong} of {reports} reports"
        if is_harmful:
            delay = "" if math.isnan(page.delay) else f", after {page.delay:.0f} windows"
            print(f"  {change:50} paged in {page.found} of {page.streams} streams{delay}; {told}")
        else:
            kept = kept and at_most(page.alarms, page.windows, ALPHA) and at_most(wrong, reports, EVIDENCE)
            print(f"  {change:50} paged {page.alarms} times in {page.windows:,} windows; {told}")
    return kept


def show_peers(said: dict[str, dict[str, tuple[int, int]]]) -> None:
    """Print in how many of the same windows each contender raised a flag."""
    print("  the same windows, at the defaults of each: windows with any flag")
    for rule, by_change in said.items():
        shares = "  ".join(f"{alarms:3d}" for alarms, _ in by_change.values())
        print(f"    {rule:40} {shares}  of {next(iter(by_change.values()))[1]} each")
    print("    in the order: " + "; ".join(change.partition(":")[0] for change in CHANGES))


def main() -> int:
    """Simulate, print, and return 1 when a stated rate was not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", choices=[*SIZES], default=[*SIZES], help="rows of a window")
    parser.add_argument("--peers", type=Path, help="folder for the peers' environments")
    parser.add_argument("--reports", type=int, default=5, help="windows of each kind that the peers judge")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    kept = True
    for rows in given.rows:
        rng = np.random.default_rng(rows)
        pages = simulate_pages(rows, SIZES[rows], rng)
        evidence = simulate_evidence(rows, SIZES[rows].reports, rng)
        said = {} if given.peers is None else ask_peers(given.peers, rows, given.reports)
        if given.json:
            paged = {change: each._asdict() for change, each in pages.items()}
            print(json.dumps({"rows": rows, "pages": paged, "evidence": evidence, "peers": said}), flush=True)
            continue
        kept = show_own(rows, pages, evidence) and kept
        if said:
            show_peers(said)
        sys.stdout.flush()
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
