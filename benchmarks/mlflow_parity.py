#!/usr/bin/env python3
"""Run the same client scripts against `mlflow server` and against Mainspring, and compare everything field by field.

    .venv/bin/python benchmarks/mlflow_parity.py --python ENVIRONMENT/bin/python [--json FILE] [SCRIPT ...]

ENVIRONMENT holds an unmodified mlflow (2.x or 3.x) with scikit-learn, xgboost, lightgbm, psutil, matplotlib. Both
servers start empty on free ports of this machine. Every answer a script saw, every error's code and words, and at
the end everything the servers hold (experiments, runs, histories, models, versions, files) is compared; ids, times
and hosts are numbered first. Differences on purpose are listed in
parity/on_purpose.txt and counted apart, as are errors with the same code in other words. The exit
code is 1 when any other difference is left.
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from parity.compare import compare_notes, compare_states
from parity.state import read
from servers import Server

HERE = Path(__file__).parent / "parity"
MOST_SECONDS = 1800


def run_all(client, server, scripts):
    """Return what every script saw on a fresh server, and what the server held at the end."""
    server.start()
    try:
        result = server.folder / "seen.json"
        words = [client, str(HERE / "run_scripts.py"), server.url, str(result), *scripts]
        with (server.folder / "scripts.log").open("wb") as log:
            subprocess.run(words, check=True, stdout=log, stderr=subprocess.STDOUT, timeout=MOST_SECONDS)
        seen = json.loads(result.read_text())
        seen["state"] = read(server.url, int(seen["mlflow"].split(".")[0]))
        return seen
    finally:
        server.stop()


def on_purpose():
    """Return the patterns of differences that are meant, each with its reason."""
    lines = (HERE / "on_purpose.txt").read_text().splitlines()
    rules = [line.split(" => ", 1) for line in lines if line and not line.startswith("#")]
    return [(re.compile(pattern), reason) for pattern, reason in rules]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", required=True, help="the Python of an environment with mlflow")
    parser.add_argument("--mlflow-python", help="the Python whose mlflow is the server, if not the client's own")
    parser.add_argument("--server-python", default=sys.executable, help="the Python that has Mainspring")
    parser.add_argument("--reference", type=Path, help="keep what mlflow's server answered here, or read it from here")
    parser.add_argument("--itself", action="store_true", help="compare mlflow's server with itself: the method's noise")
    parser.add_argument("--json", type=Path, help="write the differences here")
    parser.add_argument("--show", default="differ", help="kinds to print: differ,worded,on purpose")
    parser.add_argument("--most", type=int, default=12, help="differences to print of each script")
    parser.add_argument("scripts", nargs="*")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if asked.reference and asked.reference.exists():
            theirs = json.loads(asked.reference.read_text())
        else:
            theirs = run_all(
                asked.python, Server("mlflow-best", asked.mlflow_python or asked.python, folder / "a"), asked.scripts
            )
            if asked.reference:
                asked.reference.write_text(json.dumps(theirs))
        own = (
            ("mlflow-best", asked.mlflow_python or asked.python)
            if asked.itself
            else ("mainspring", asked.server_python)
        )
        ours = run_all(asked.python, Server(*own, folder / "b"), asked.scripts)
    sys.exit(report(ours, theirs, asked))


def report(ours, theirs, asked):
    """Print the differences by script; return 1 if one is left that is not on purpose."""
    names = [
        {each["experiment"]["experiment_id"]: each["experiment"]["name"] for each in side["state"]["experiments"]}
        for side in (ours, theirs)
    ]
    names_of = sorted(set(ours["scripts"]) & set(asked.scripts or theirs["scripts"]))
    found = {each: compare_notes(ours["scripts"][each], theirs["scripts"][each], *names) for each in names_of}
    if not asked.scripts or set(asked.scripts) >= set(theirs["scripts"]):
        found["what the servers hold"] = compare_states(ours["state"], theirs["state"])
    rules, totals = on_purpose(), Counter()
    for script, differences in found.items():
        kinds = [kind_of(script, each, differences, rules) for each in differences]
        counts = Counter(kinds)
        totals += counts
        notes = len(theirs["scripts"].get(script, {}).get("notes", []))
        print(f"{script}: {notes or 'everything'} compared, {_told(counts)}")
        wrong = [each for each, kind in zip(differences, kinds, strict=True) if kind in asked.show.split(",")]
        for path, a, b in wrong[: asked.most]:
            print(f"    {path} ours={str(a)[:300]!r} mlflow={str(b)[:300]!r}")
    print(f"mlflow {theirs['mlflow']}: {len(names_of)} scripts, {_told(totals)}")
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=1))
    return 1 if totals["differ"] else 0


def kind_of(script, difference, all_of_script, rules):
    """Return what a difference is: `differ`, `on purpose`, or an error `worded` otherwise with the same code."""
    path, a, b = difference
    line = f"{script} {path} ours={str(a)[:300]} mlflow={str(b)[:300]}"
    if any(pattern.search(line) for pattern, _ in rules):
        return "on purpose"
    codes = {path.removesuffix(".message") + each for each in (".error", ".error_code")}
    if path.endswith(".message") and a and b and not codes & {each for each, _, _ in all_of_script}:
        return "worded"
    return "differ"


def _told(counts):
    return f"{counts['differ']} differ, {counts['on purpose']} on purpose, {counts['worded']} errors worded otherwise"


if __name__ == "__main__":
    main()
