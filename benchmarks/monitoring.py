#!/usr/bin/env python3
"""A drift report of 20 numeric and 10 categorical columns beside Evidently, NannyML, whylogs and alibi-detect.

Each contender is a process in an environment of its own below --peers, made at the first call; `benchmarks/drift/`
holds what each runs. CPU seconds (user and system, all threads) are taken without imports and with the tables in
memory, apart for reducing the reference and for the report on the window. *Stored* compares the window's part alone:
who keeps a reduced reference pays no more after registration. *Like for like* counts both. The limit is the shortest
NumPy that finds the same columns. Three faults are planted; what each contender calls drifted is counted. A peer that
takes longer than --seconds, or more memory than there is, is left out and named.

    .venv/bin/python benchmarks/monitoring.py --peers FOLDER [--rows N ...] [--only NAME ...] [--rounds N] [--json]
"""

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from drift.inputs import PLANTED, make_side

from data import environment

SCRIPTS = Path(__file__).parent / "drift"
#: The script of each contender, and the packages of its environment (none: Mainspring's own).
CONTENDERS = {
    "mainspring": ("mainspring_counts.py", ""),
    "limit": ("numpy_limit.py", ""),
    "evidently": ("evidently_preset.py", "evidently==0.7.23 pandas<3"),
    "nannyml": ("nannyml_univariate.py", "nannyml==0.13.1 statsmodels"),
    "whylogs": ("whylogs_profiles.py", "whylogs[viz]==1.6.4 numpy<2 pandas<3"),
    "alibi": ("alibi_tabular.py", "alibi-detect==0.13.0"),
}
OURS = ("mainspring", "limit")
#: What must hold: Evidently's CPU in multiples of ours with a stored profile, like for like, and ours in the limit's.
LEAST_STORED, LEAST_ALIKE, MOST_OF_LIMIT = 100, 30, 2


class Figures(NamedTuple):
    """Medians of CPU seconds, the growth of memory while reporting, and how many columns were flagged."""

    reference: float
    window: float
    grown_mb: float
    planted: int
    others: int


def measure(python: str, script: str, folders: list[Path], seconds: int) -> dict[str, object] | str:
    """Run one contender and return what it told; where it did not come to an end, why."""
    quiet = {**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "WHYLOGS_NO_ANALYTICS": "True", "DO_NOT_TRACK": "1"}
    try:
        done = subprocess.run(
            [python, "-W", "ignore", SCRIPTS / script, *folders],
            capture_output=True, text=True, check=False, timeout=seconds, env=quiet,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"took longer than {seconds} s"
    if done.returncode == -signal.SIGKILL:
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
        return f"was killed for its memory, at {peak:.1f} GB"
    if done.returncode:
        raise SystemExit(f"{script}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def summed(told: list[dict[str, object]]) -> Figures:
    """Return the medians of several rounds."""

    def middle(name: str) -> float:
        return statistics.median(float(str(each[name])) for each in told)

    flagged = set(told[0]["flagged"])  # type: ignore[call-overload]
    grown = max(float(str(each["peak_mb"])) - float(str(each["base_mb"])) for each in told)
    return Figures(
        middle("reference"), middle("window"), grown, len(flagged & set(PLANTED)), len(flagged - set(PLANTED))
    )


def compare(rows: int, names: list[str], pythons: dict[str, str], rounds: int, seconds: int) -> dict[str, object]:
    """Measure all contenders in turns on one pair of tables, and the stored profile on its own."""
    told: dict[str, list[dict[str, object]]] = {name: [] for name in names}
    left_out: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as scratch:
        reference, window, stored = (Path(scratch) / each for each in ("reference", "window", "profile.json"))
        make_side(reference, rows, 1, is_moved=False)
        make_side(window, rows, 2, is_moved=True)
        for turn in range(rounds):
            for name in names:
                if turn and (name not in OURS and (rows > 200_000 or not told[name])):
                    continue  # one round of a slow peer must do
                stored.unlink(missing_ok=True)
                found = measure(pythons[name], CONTENDERS[name][0], [reference, window, stored], seconds)
                if isinstance(found, str):
                    left_out[name] = found
                    continue
                told[name].append(found)
                if name == "mainspring":
                    profile_kb = stored.stat().st_size / 1024
                    alone = measure(pythons[name], CONTENDERS[name][0], [reference, window, stored], seconds)
        assert isinstance(alone, dict)
    return {
        "rows": rows,
        "profile_kb": round(profile_kb, 1),
        "stored_grown_mb": round(float(str(alone["peak_mb"])) - float(str(alone["base_mb"])), 1),
        "left_out": left_out,
        "figures": {name: summed(each)._asdict() for name, each in told.items() if each},
    }


def ratios(found: dict[str, object]) -> dict[str, dict[str, float]]:
    """Return each contender's CPU in multiples of Mainspring's: stored, and like for like."""
    figures: dict[str, dict[str, float]] = found["figures"]  # type: ignore[assignment]
    ours = figures["mainspring"]
    return {
        name: {
            "stored": each["window"] / ours["window"],
            "alike": (each["window"] + each["reference"]) / (ours["window"] + ours["reference"]),
        }
        for name, each in figures.items()
    }


def is_kept(multiples: dict[str, dict[str, float]]) -> bool:
    """Return whether the budgets hold that these contenders can show."""
    evidently = multiples.get("evidently")
    fast = evidently is None or (evidently["stored"] >= LEAST_STORED and evidently["alike"] >= LEAST_ALIKE)
    limit = multiples["limit"]
    return fast and min(limit["stored"], limit["alike"]) * MOST_OF_LIMIT >= 1


def main() -> int:
    """Measure, print ratios to Mainspring, and return 1 when a budget is not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="folder for the peers' environments")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000], help="rows of each side")
    parser.add_argument("--only", nargs="*", choices=[*CONTENDERS], default=[*CONTENDERS], help="contenders to run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=150, help="how long one peer may take")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    names = [name for name in CONTENDERS if name in OURS or name in given.only]
    pythons = {
        name: environment(given.peers, name, packages) if packages else sys.executable
        for name, (_, packages) in CONTENDERS.items()
        if name in names
    }
    kept = True
    for rows in given.rows:
        found = compare(rows, names, pythons, given.rounds, given.seconds)
        multiples = ratios(found)
        kept = kept and is_kept(multiples)
        if given.json:
            print(json.dumps({**found, "ratios": multiples}), flush=True)
            continue
        print(
            f"{rows:,} rows a side; CPU as multiples of Mainspring's. Its stored profile has {found['profile_kb']} kB,"
            f" and the report with it grew memory by {found['stored_grown_mb']} MB"
        )
        for name, each in found["figures"].items():  # type: ignore[attr-defined]
            stored, alike = multiples[name]["stored"], multiples[name]["alike"]
            said = f"grew {each['grown_mb']:.0f} MB, found {each['planted']} of {len(PLANTED)}"
            ratio = f"stored {stored:8.2f}  like for like {alike:8.2f}"
            print(f"  {name:12} {ratio}  {said}, and {each['others']} columns that did not move", flush=True)
        for name, why in found["left_out"].items():  # type: ignore[attr-defined]
            print(f"  {name:12} {why}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
