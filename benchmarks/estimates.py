#!/usr/bin/env python3
"""The estimate of quality without labels (CBPE) against what came true, on the flights of 2013 in the order of time.

A model of the demo is trained on all flights known at the first of a month, its scores are calibrated on its hold-out,
and the weeks (or days) of the months behind are estimated from scores alone: ROC AUC and Brier loss. Then the labels
are looked at. Told are the mean absolute error, the same in standard errors of the real value (an estimate that is
right in all but chance has 0.8), and the error of who expects what the hold-out had. *Once* trains in April and never
again; *monthly* trains anew every month, as the loop does when it must.

Beside it PAPE (Bialek et al. 2024, arXiv 2401.08348): the same with a calibration made anew for each block, of hold-out
rows weighted by how likely they are among the block's (the odds of boosted trees that tell both apart, at most 20). A
simulated shift of the inputs alone, for which it is made, shows that it does here what it is for.

    .venv/bin/python benchmarks/estimates.py [--days N] [--json]
"""

import argparse
import json
import runpy
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression

from mainspring.data.table import columns_of
from mainspring.demo.scene import set_scene
from mainspring.evaluate.calibration import Calibration, calibrate
from mainspring.evaluate.estimation import Estimation, fit_estimation
from mainspring.evaluate.expected import expected_losses, expected_metric
from mainspring.evaluate.metrics import roc_auc
from mainspring.train.features import days_within
from mainspring.train.steps import split

MONTHS = range(4, 13)
#: No row of the hold-out counts for more than so many.
MOST_WEIGHT = 20


class Block(NamedTuple):
    """One week: real and estimated values, what the hold-out had, and the standard error of the real value."""

    metric: str
    real: float
    estimated: float
    shifted: float
    before: float
    error: float


class Model(NamedTuple):
    """A fitted model, how to calibrate its scores, how to estimate its loss, and what its hold-out had."""

    fitted: Any  # a scikit-learn pipeline
    calibration: Calibration
    estimation: Estimation
    held: dict[str, float]
    test: Any  # the rows of the hold-out, with their labels

    def scores(self, rows: pd.DataFrame) -> Any:  # a numpy array
        """Return the chance of being late."""
        return self.fitted.predict_proba(rows)[:, 1]


def model_of(user: dict[str, Any], known: pd.DataFrame) -> Model:
    """Train on what is known; the newest 15 % are the hold-out, as in the demo."""
    parts = split(known, time="departs_at", target="late")
    rows = pd.concat([parts.train, parts.validation])
    fitted = user["boosted_trees"](0.06).fit(rows, rows["late"])
    truth, scores = parts.test["late"].to_numpy(), fitted.predict_proba(parts.test)[:, 1]
    estimation = fit_estimation("binary", truth, scores, days_within(columns_of(parts.test)))
    assert estimation is not None
    held = {"roc_auc": float(roc_auc(truth, scores)), "brier": float(np.mean((scores - truth) ** 2))}
    return Model(fitted, calibrate("binary", truth, scores), estimation, held, parts.test)


def blocks_of(model: Model, rows: pd.DataFrame, days: int) -> list[Block]:
    """Estimate each block of so many days, and look at its labels."""
    truth, scores = rows["late"].to_numpy(), model.scores(rows)
    day = rows["departs_at"].to_numpy().astype("datetime64[D]").astype(int)
    found = []
    for block in np.unique((day - day.min()) // days):
        chosen = (day - day.min()) // days == block
        y, p = truth[chosen], scores[chosen]
        if np.unique(day[chosen]).size < days:
            continue
        area, losses = float(roc_auc(y, p)), (p - y) ** 2
        held = model.test["late"].to_numpy(), model.scores(model.test)
        chance = shifted_calibration(numbers(model.test), *held, numbers(rows[chosen]))(p)
        expected = expected_metric("roc_auc", model.calibration.apply(p), p)
        shifted = expected_metric("roc_auc", chance, p)
        found.append(Block("roc_auc", area, expected, shifted, model.held["roc_auc"], auc_error(area, y)))
        error = float(losses.std() / np.sqrt(losses.size))
        estimated, shifted = (float(each.mean()) for each in (model.estimation.losses(p), expected_losses(chance, p)))
        found.append(Block("brier", float(losses.mean()), estimated, shifted, model.held["brier"], error))
    return found


def numbers(rows: pd.DataFrame) -> Any:  # a numpy array
    """Return the inputs as numbers: texts by their place in the alphabet, moments left out."""
    kept = rows.drop(columns=["late", "departs_at"])
    return np.column_stack(
        [
            kept[name].astype("category").cat.codes if kept[name].dtype.kind not in "fiub" else kept[name]
            for name in kept
        ]
    ).astype(float)


def shifted_calibration(before: Any, truth: Any, scores: Any, after: Any) -> Callable[[Any], Any]:
    """Return the map from scores to probabilities that rows `after` need: that of weighted rows `before`."""
    both, later = np.concatenate([before, after]), np.repeat([0, 1], [len(before), len(after)])
    trees = HistGradientBoostingClassifier(max_iter=60, learning_rate=0.06, min_samples_leaf=100, random_state=0)
    share = trees.fit(both, later).predict_proba(before)[:, 1]
    weights = np.minimum(share / (1 - share) * len(before) / len(after), MOST_WEIGHT)
    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(scores, truth, sample_weight=weights)
    return fitted.predict  # type: ignore[no-any-return]


def simulated_shift(rounds: int = 20) -> tuple[float, float]:
    """Return the mean error of CBPE and of PAPE on the Brier loss where only the inputs move."""
    rng, off = np.random.default_rng(0), []

    def sample(share: float, rows: int) -> tuple[Any, Any, Any]:
        kind, x = (rng.random(rows) < share).astype(float), rng.normal(size=rows)
        truth = (rng.random(rows) < 1 / (1 + np.exp(-np.where(kind > 0, -0.5 * x - 1, 2 * x)))).astype(int)
        return np.column_stack([kind, x]), truth, 1 / (1 + np.exp(-1.6 * x))  # a model that does not see the kind

    for _ in range(rounds):
        before, truth, scores = sample(0.1, 8000)
        after, came, told = sample(0.6, 4000)
        real = np.mean((told - came) ** 2)
        usual = calibrate("binary", truth, scores).apply(told)
        moved = shifted_calibration(before, truth, scores, after)(told)
        off.append([abs(expected_losses(each, told).mean() - real) for each in (usual, moved)])
    usual_error, moved_error = np.mean(off, axis=0).tolist()
    return usual_error, moved_error


def auc_error(area: float, truth: Any) -> float:  # a numpy array
    """Return the standard error of an area. Source: Hanley & McNeil 1982, Radiology 143(1)."""
    positive, negative = float(truth.sum()), float(truth.size - truth.sum())
    first, second = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (positive - 1) * (first - area**2) + (negative - 1) * (second - area**2)
    return float(np.sqrt(spread / (positive * negative)))


def told(blocks: list[Block]) -> dict[str, dict[str, float]]:
    """Return the errors of each metric."""
    found = {}
    for metric in ("roc_auc", "brier"):
        rows = [each for each in blocks if each.metric == metric]
        off = np.array([abs(each.estimated - each.real) for each in rows])
        found[metric] = {
            "blocks": len(rows),
            "real": float(np.mean([each.real for each in rows])),
            "error": float(off.mean()),
            "error_of_pape": float(np.mean([abs(each.shifted - each.real) for each in rows])),
            "in_standard_errors": float((off / [each.error for each in rows]).mean()),
            "error_of_the_hold_out": float(np.mean([abs(each.before - each.real) for each in rows])),
        }
    return found


def main() -> int:
    """Train, estimate, compare and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--days", type=int, default=7, help="days of a block")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "demo"
        set_scene(folder, fast=False, fresh=False)
        user = runpy.run_path(str(folder / "loop.py"))
        year = user["flights"](folder / "data", datetime(2014, 1, 3, tzinfo=UTC))
    once: list[Block] = []
    monthly: list[Block] = []
    first = None
    for month in MONTHS:
        begins = np.datetime64(f"2013-{month:02d}-01")
        ends = np.datetime64("2014-01-01") if month == 12 else np.datetime64(f"2013-{month + 1:02d}-01")
        rows = year[(year["departs_at"] >= begins) & (year["departs_at"] < ends)]
        # what happened on the day before is told the day after
        model = model_of(user, year[year["departs_at"] < begins - np.timedelta64(1, "D")])
        first = model if first is None else first
        monthly += blocks_of(model, rows, given.days)
        once += blocks_of(first, rows, given.days)
    figures = {"once": told(once), "monthly": told(monthly)}
    usual_error, moved_error = simulated_shift()
    if given.json:
        print(json.dumps({**figures, "simulated_shift": {"error": usual_error, "error_of_pape": moved_error}}))
        return 0
    for name, by_metric in figures.items():
        for metric, each in by_metric.items():
            print(f"trained {name:8} {metric:8} real {each['real']:.3f}, {each['blocks']} blocks of {given.days} days,")
            print(
                f"    off by {each['error']:.4f} ({each['in_standard_errors']:.1f} standard errors);"
                f" PAPE is off by {each['error_of_pape']:.4f}, the hold-out's own value by"
                f" {each['error_of_the_hold_out']:.4f}"
            )
    print(f"a simulated shift of the inputs alone, brier: off by {usual_error:.4f}, PAPE by {moved_error:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
