"""Live quality: losses of labelled predictions, day by day, against what was promised at registration.

Owner of the table `monitors`, which keeps for each version how far it has looked and what it has counted, so that
each label is counted once however often and by whom the monitor is run.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from mainspring.data.table import n_rows
from mainspring.domain.moments import from_iso, to_iso
from mainspring.domain.policy import Monitor
from mainspring.domain.signature import Signature
from mainspring.domain.version import ModelVersion
from mainspring.evaluate.losses import loss
from mainspring.monitor.risk import Baseline, RiskState, RiskVerdict, baseline, limit_of, observe, verdict
from mainspring.predictions.log import PredictionLog, scores_of
from mainspring.store.protocol import Store
from mainspring.train.features import label_values

__all__ = ["baseline_of", "quality_of", "tell_verdict", "watch_quality"]

_RULE = "quality"


def watch_quality(
    store: Store, log: PredictionLog, version: ModelVersion, signature: Signature, rule: Monitor, *, now: datetime
) -> RiskVerdict | None:
    """Count the labels that have come since the last look, in whole blocks of `rule.every`, and say what is proven.

    None when no label has come yet.
    """
    state, cursor = _standing(store, version)
    until = _floor(now, rule.every)
    if until > cursor:
        rows = log.labelled(version.model, labelled_from=cursor, labelled_until=until, version=version.version)
        if n_rows(rows):
            truth = label_values(rows["label"], signature)
            losses = loss(signature.task, truth, scores_of(rows), bound=_bound(version))
            state = observe(state, losses, _blocks(rows["labelled_at"], rule.every))
        _keep(store, version, state, until)
    if not state.blocks:
        return None
    return verdict(state, baseline_of(version), tolerance=rule.tolerance, alpha=rule.alpha)


def quality_of(store: Store, version: ModelVersion, rule: Monitor) -> RiskVerdict | None:
    """Return what the last look proved, without looking anew; None when no label has come yet."""
    state, _ = _standing(store, version)
    if not state.blocks:
        return None
    return verdict(state, baseline_of(version), tolerance=rule.tolerance, alpha=rule.alpha)


def baseline_of(version: ModelVersion) -> Baseline:
    """Return the loss that was promised when `version` was registered."""
    return baseline(np.array(_loss(version)["blocks"], dtype=np.float64))


def tell_verdict(found: RiskVerdict, base: Baseline, tolerance: float) -> str:
    """Say in a sentence what a verdict says in figures."""
    limit = limit_of(base, tolerance)
    told = f"live loss {found.live_mean:.4f} over {found.rows:,} labelled rows, {base.mean:.4f} on the hold-out"
    if found.status == "decayed":
        return f"{told}; proven above {found.lower:.4f} since {found.since}, and {limit:.4f} is the limit"
    return f"{told}; not proven to be above the limit of {limit:.4f}"


def _standing(store: Store, version: ModelVersion) -> tuple[RiskState, datetime]:
    rows = store.read(
        "SELECT state, cursor_at FROM monitors WHERE model = ? AND version = ? AND rule = ?",
        (version.model, version.version, _RULE),
    )
    if rows:
        return RiskState.from_json(json.loads(rows[0][0])), from_iso(rows[0][1])
    return RiskState(), from_iso(version.created_at)


def _keep(store: Store, version: ModelVersion, state: RiskState, cursor: datetime) -> None:
    document = json.dumps(state.to_json(), allow_nan=False)
    store.record(
        lambda transaction: transaction.execute(
            "INSERT INTO monitors (model, version, rule, state, cursor_at) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (model, version, rule) DO UPDATE SET state = excluded.state, cursor_at = excluded.cursor_at"
            " WHERE excluded.cursor_at > monitors.cursor_at",
            (version.model, version.version, _RULE, document, to_iso(cursor)),
        )
    )


def _floor(moment: datetime, every: timedelta) -> datetime:
    epoch = from_iso("1970-01-01T00:00:00Z")
    return epoch + (moment - epoch) // every * every


def _blocks(moments: Any, every: timedelta) -> Any:  # datetime64[us] array -> names of blocks that sort by time
    width = np.timedelta64(round(every.total_seconds() * 1e6), "us").astype(np.int64)
    starts = (moments.astype("datetime64[us]").astype(np.int64) // width * width).astype("datetime64[us]")
    return np.datetime_as_string(starts, unit="D" if every >= timedelta(days=1) else "s")


def _loss(version: ModelVersion) -> Mapping[str, Any]:
    found: Mapping[str, Any] = version.evidence["loss"]  # type: ignore[assignment]  # written by registry.submit
    return found


def _bound(version: ModelVersion) -> float | None:
    bound: float | None = _loss(version)["bound"]
    return bound
