#!/usr/bin/env python3
"""Plant wrong labels, values and rows into real flights, and see how high each ranking puts them.

    .venv/bin/python benchmarks/suspects.py --peers FOLDER [--rows N] [--json]

Labels: the same rows and the same out-of-fold scores are ranked by Mainspring and by cleanlab, in an environment of its
own below FOLDER. Of the first k rows (k: half and all of what was planted) the share is told that was planted, and the
CPU of the ranking alone as a ratio: each the median of twenty, of one where the peer takes long (it ranks numbers).
Values: units, signs and swapped columns, ranked by `outliers`, by ECOD (Li et al. 2022, as the paper has it) and by
scikit-learn's isolation forest. Rows: exact, near and conflicting repeats among good rows, by `duplicates`. The exit
code is 1 when a ranking of labels is worse than the peer's by more than a hundredth, or a repeat is missed. Where cores
are shared, OMP_NUM_THREADS=1 fits faster.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data import environment
from mainspring.data import Columns, read_columns
from mainspring.data.duplicates import duplicates
from mainspring.data.outliers import outliers
from mainspring.demo.scene import write_tables
from mainspring.evaluate.label_errors import label_errors, value_errors
from mainspring.train.baselines import default_candidates
from mainspring.train.features import feature_frame, infer_signature, target_index, target_values

SHARE = 0.02
FOLDS, ROUNDS = 5, 20
PLANNED = ("month", "hour", "carrier", "origin", "dest", "distance", "sched_dep_time", "sched_arr_time")
NUMBERS = ("dep_time", "sched_dep_time", "dep_delay", "arr_time", "sched_arr_time", "arr_delay", "air_time", "distance")
CLEANLAB = """
import json, sys, time
import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.regression.rank import get_label_quality_scores
held = np.load(sys.argv[1]); y, scores = held["y"], held["scores"]
def rank():
    if scores.ndim == 1:
        return np.argsort(get_label_quality_scores(y, scores))
    y_ = y.astype(int)
    return find_label_issues(y_, scores, return_indices_ranked_by="self_confidence", n_jobs=1)
spent = []
for _ in range(1 if scores.ndim == 1 else int(sys.argv[2])):
    start = time.process_time(); order = rank(); spent.append(time.process_time() - start)
print(json.dumps({"order": np.asarray(order).tolist(), "cpu": float(np.median(spent))}))
"""


def main() -> int:
    """Run the three comparisons and print them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--peers", type=Path, required=True, help="folder for the peers' environments")
    parser.add_argument("--rows", type=int, default=12_000)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write_tables(Path(folder), fast=False)
        flights = read_columns(Path(folder) / "flights.csv")
    rng = np.random.default_rng(0)
    landed = np.flatnonzero(~np.isnan(flights["arr_delay"]))
    rows = np.sort(rng.choice(landed, given.rows, replace=False))
    flights = {name: array[rows] for name, array in flights.items()}
    peer = environment(given.peers, "cleanlab", "cleanlab")
    told = {
        "labels": [_labels(peer, *each, rng) for each in _targets(flights)],
        "values": [_values(flights, name, fault, rng) for name, fault in FAULTS.items()],
        "rows": _rows(flights, rng),
    }
    if given.json:
        print(json.dumps(told))
    else:
        _print(told)
    worse = [each for each in told["labels"] if each["mainspring"][1] < each["cleanlab"][1] - 0.01]
    return 1 if worse or told["rows"]["false"] or told["rows"]["found"] < told["rows"]["planted"] else 0


def _targets(flights: Columns) -> list[tuple[str, Columns, str]]:
    planned = {name: flights[name] for name in PLANNED}
    late = (flights["arr_delay"] > 15).astype(float)
    where = {name: flights[name] for name in ("month", "hour", "carrier", "dest", "distance", "flight", "air_time")}
    return [
        ("late, told by the plan", {**planned, "late": late}, "late"),
        ("late, told at departure", {**planned, "dep_delay": flights["dep_delay"], "late": late}, "late"),
        ("origin", {**where, "origin": flights["origin"]}, "origin"),
        ("air_time", {**planned, "air_time": flights["air_time"]}, "air_time"),
    ]


def _labels(peer: str, name: str, columns: Columns, target: str, rng: np.random.Generator) -> dict[str, object]:
    n = len(columns[target])
    wrong = rng.choice(n, round(n * SHARE), replace=False)
    columns = {**columns, target: columns[target].copy()}
    if columns[target].dtype == object:
        known = np.unique(columns[target])
        for row in wrong:
            columns[target][row] = rng.choice(known[known != columns[target][row]])
    elif target == "late":
        columns[target][wrong] = 1 - columns[target][wrong]
    else:
        columns[target][wrong] *= rng.choice([0.6, 1.609, 60.0], wrong.size)
    y, scores = _out_of_fold(columns, target, rng)

    def ours() -> NDArray[np.int64]:
        return (value_errors(y, scores) if scores.ndim == 1 else label_errors(y, scores)).order

    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        order = ours()
        spent.append(time.process_time() - start)
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "held.npz", y=y, scores=scores)
        done = subprocess.run(
            [peer, "-c", CLEANLAB, f"{folder}/held.npz", str(ROUNDS)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    other = json.loads(done.stdout.splitlines()[-1])
    depths = (wrong.size // 2, wrong.size)
    return {
        "target": name,
        "planted": int(wrong.size),
        "by chance": SHARE,
        "mainspring": [_precision(order, wrong, k) for k in depths],
        "cleanlab": [_precision(np.array(other["order"]), wrong, k) for k in depths],
        "cpu_ratio": other["cpu"] / float(np.median(spent)),
    }


def _out_of_fold(
    columns: Columns, target: str, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.base import clone

    signature = infer_signature(columns, target)
    frame, labels = feature_frame(columns, signature), target_values(columns[target], target)
    estimator = next(iter(default_candidates(signature).values()))
    fold = rng.permutation(len(labels)) % FOLDS
    scores = np.zeros(len(labels) if signature.task == "regression" else (len(labels), len(signature.classes)))
    for each in range(FOLDS):
        fitted = clone(estimator).fit(frame[fold != each], labels[fold != each])
        ask = fitted.predict if signature.task == "regression" else fitted.predict_proba
        scores[fold == each] = ask(frame[fold == each])
    return target_index(columns[target], signature), scores


def _precision(order: NDArray[np.int64], planted: NDArray[np.int64], k: int) -> float:
    return float(np.isin(order[:k], planted).sum() / k)


def _scaled(column: str, factor: float) -> Callable[[Columns, NDArray[np.int64]], None]:
    def fault(columns: Columns, rows: NDArray[np.int64]) -> None:
        columns[column][rows] *= factor

    return fault


def _swapped(columns: Columns, rows: NDArray[np.int64]) -> None:
    columns["air_time"][rows], columns["distance"][rows] = columns["distance"][rows], columns["air_time"][rows].copy()


def _mixed_up(columns: Columns, rows: NDArray[np.int64]) -> None:
    columns["air_time"][rows] = np.roll(columns["air_time"][rows], 1)


FAULTS: dict[str, Callable[[Columns, NDArray[np.int64]], None]] = {
    "seconds for minutes": _scaled("air_time", 60),
    "another sign": _scaled("air_time", -1),
    "kilometres for miles": _scaled("distance", 1.609),
    "two columns swapped": _swapped,
    "values of other rows": _mixed_up,
}


def _values(
    flights: Columns, name: str, fault: Callable[[Columns, NDArray[np.int64]], None], rng: np.random.Generator
) -> dict[str, object]:
    from sklearn.ensemble import IsolationForest

    columns = {each: flights[each].copy() for each in NUMBERS}
    wrong = np.sort(rng.choice(len(columns["distance"]), len(columns["distance"]) // 100, replace=False))
    fault(columns, wrong)
    table = np.nan_to_num(np.stack(list(columns.values()), axis=1), nan=-1.0)
    forest = IsolationForest(random_state=0, n_jobs=1).fit(table)
    orders = {
        "mainspring": np.array([each.row for each in outliers(columns)], dtype=np.int64),
        "ECOD": np.argsort(-_ecod(table), kind="stable"),
        "isolation forest": np.argsort(forest.score_samples(table), kind="stable"),
    }
    precisions = {each: _precision(order, wrong, wrong.size) for each, order in orders.items()}
    return {"fault": name, "planted": int(wrong.size), **precisions}


def _ecod(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Source: Li, Zhao, Hu, Botta, Ionescu & Chen 2022, algorithm 1."""
    left, right, skewed = (np.zeros(len(table)) for _ in range(3))
    for column in table.T:
        ordered = np.sort(column)
        low = -np.log(np.searchsorted(ordered, column, "right") / len(column))
        high = -np.log(1 - np.searchsorted(ordered, column, "left") / len(column))
        skewness = ((column - column.mean()) ** 3).mean()
        left, right, skewed = left + low, right + high, skewed + (low if skewness < 0 else high)
    return np.maximum(np.maximum(left, right), skewed)


def _rows(flights: Columns, rng: np.random.Generator) -> dict[str, object]:
    names = (*PLANNED, "dep_delay", "arr_delay", "air_time", "flight", "tailnum", "time_hour")
    columns = {each: flights[each] for each in names}
    columns["late"] = (flights["arr_delay"] > 15).astype(float)
    clean = {each.row for each in duplicates(columns, "late")}
    n = len(columns["late"])
    chosen = rng.choice(n, 60, replace=False)
    again = {name: np.concatenate([array, array[chosen]]) for name, array in columns.items()}
    again["late"][n : n + 20] = 1 - again["late"][n : n + 20]
    again["air_time"][n + 20 : n + 40] += 1
    told = {each.row: each.kind for each in duplicates(again, "late")}
    wanted = dict.fromkeys(range(n, n + 20), "conflict") | dict.fromkeys(range(n + 20, n + 40), "near")
    wanted |= dict.fromkeys(range(n + 40, n + 60), "exact")
    found = sum(told.get(row) == kind for row, kind in wanted.items())
    return {"planted": len(wanted), "found": found, "false": len(set(told) - set(wanted) - clean), "clean": len(clean)}


def _print(told: dict[str, object]) -> None:
    print("labels: share of the first k rows that was planted (k: half, all)")
    for each in told["labels"]:  # type: ignore[attr-defined]
        shown = "; ".join(f"{who} {each[who][0]:.3f}, {each[who][1]:.3f}" for who in ("mainspring", "cleanlab"))
        print(f"  {each['target']:<24} {shown}; by chance {SHARE}; CPU of the ranking 1 : {each['cpu_ratio']:.1f}")
    print("values: share of as many first rows as were planted")
    for each in told["values"]:  # type: ignore[attr-defined]
        print("  " + f"{each['fault']:<24} " + "; ".join(f"{k} {v:.3f}" for k, v in list(each.items())[2:]))
    print(f"rows: {told['rows']}")


if __name__ == "__main__":
    sys.exit(main())
