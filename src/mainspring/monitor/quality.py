"""Live quality: losses of labelled predictions, day by day, against what was promised at registration.

What was counted, and how far, is kept for each version (`standing`), so that each label is counted once however often
and by whom the monitor is run.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, n_rows
from mainspring.domain.policy import Monitor
from mainspring.domain.signature import Signature
from mainspring.domain.version import ModelVersion
from mainspring.errors import Unavailable
from mainspring.evaluate.losses import loss
from mainspring.evaluate.metrics import Floats
from mainspring.monitor.risk import (
    RECENT,
    Backtest,
    Baseline,
    RiskState,
    RiskVerdict,
    backtest,
    baseline,
    correct,
    limit_of,
    observe,
    verdict,
)
from mainspring.monitor.standing import keep_standing, read_standing
from mainspring.predictions.log import PredictionLog, once, scores_of
from mainspring.store.protocol import Store
from mainspring.train.features import label_values

__all__ = [
    "backtest_quality",
    "baseline_of",
    "block_name",
    "block_now",
    "block_starts",
    "has_baseline",
    "quality_of",
    "tell_verdict",
    "watch_quality",
]

_RULE = "quality"


def watch_quality(
    store: Store, log: PredictionLog, version: ModelVersion, signature: Signature, rule: Monitor, *, now: datetime
) -> RiskVerdict | None:
    """Count the labels that were told since the last look, and say what is proven by the blocks that are over.

    A label counts in the block of the moment it bears, however late it was told, and a corrected one in that of the
    first. The block under way is kept, and judged when it is over. None while no block is over.
    """
    if not has_baseline(version):
        return None
    state, after = _standing(store, version)
    rows = log.newly_labelled(version.model, version=version.version, after=after)
    if n_rows(rows):
        state = _counted(state, rows, version, signature, rule)
        kept = {**state.to_json(), "after": str(rows["sealed"][-1])}
        keep_standing(store, version.model, version.version, _RULE, kept, now=now)
    return _judged(state, version, rule, now)


def backtest_quality(
    log: PredictionLog, version: ModelVersion, signature: Signature, rule: Monitor, *, now: datetime
) -> Backtest:
    """Say when `rule` would have alerted on all that `version` has answered and that has labels, block by block.

    Reads the log from its beginning, so any length of blocks can be tried; nothing is kept. A label counts in the block
    of the moment it bears, as for `watch_quality`.
    """
    rows = log.newly_labelled(version.model, version=version.version, after="")
    state = RiskState()
    if n_rows(rows):
        state = _counted(state, rows, version, signature, rule)
    return backtest(_over(state, rule, now), baseline_of(version), tolerance=rule.tolerance, alpha=rule.alpha)


def quality_of(store: Store, version: ModelVersion, rule: Monitor, *, now: datetime) -> RiskVerdict | None:
    """Return what the last look proved, without looking anew; None while no block is over."""
    return _judged(_standing(store, version)[0], version, rule, now)


def _judged(state: RiskState, version: ModelVersion, rule: Monitor, now: datetime) -> RiskVerdict | None:
    over = _over(state, rule, now)
    if not over.blocks or not has_baseline(version):
        return None
    return verdict(over, baseline_of(version), tolerance=rule.tolerance, alpha=rule.alpha)


def _counted(state: RiskState, rows: Columns, version: ModelVersion, signature: Signature, rule: Monitor) -> RiskState:
    rows = once(rows)
    blocks = block_name(block_starts(rows["labelled_at"], rule.every), rule.every)

    def losses(name: str, chosen: NDArray[np.bool_]) -> Floats:
        truth = label_values(rows[name][chosen], signature)
        return loss(signature.task, truth, scores_of(rows)[chosen], bound=_loss(version)["bound"])

    new = np.array([label is None for label in rows["was"]], dtype=np.bool_)
    if not new.all():
        state = correct(state, losses("label", ~new) - losses("was", ~new), blocks[~new])
    return observe(state, losses("label", new), blocks[new]) if new.any() else state


def _over(state: RiskState, rule: Monitor, now: datetime) -> RiskState:
    """Return the blocks that are over."""
    under_way = str(block_name(block_now(now, rule.every), rule.every))
    return RiskState(tuple(each for each in state.blocks if each.name < under_way))


def has_baseline(version: ModelVersion) -> bool:
    """Whether a loss was promised when `version` was registered; by other hands than the loop's, it may not have."""
    return "loss" in version.evidence


def baseline_of(version: ModelVersion) -> Baseline:
    """Return the loss that was promised when `version` was registered.

    Raises:
        Unavailable: none was.
    """
    found = baseline(np.array(_loss(version)["blocks"], dtype=np.float64))
    held: Any = version.evidence.get("rows")  # by part; what was registered by other hands has none
    # how far blocks spread says nothing of smaller ones while their size is not known
    return replace(found, rows=held["test"]) if held else replace(found, spread=None)


def tell_verdict(found: RiskVerdict, base: Baseline, tolerance: float) -> str:
    """Say in a sentence what a verdict says in figures."""
    limit = limit_of(base, tolerance)
    recent = min(found.n, RECENT)
    told = (
        f"live loss {found.live_mean:.4f}, the mean of the last {recent} blocks ({found.rows:,} labelled rows in all),"
        f" and {base.mean:.4f} by the blocks of the hold-out"
    )
    if found.status == "decayed":
        return f"{told}; proven above {found.lower:.4f} since {found.since}, and {limit:.4f} is the limit"
    return f"{told}; not proven to be above the limit of {limit:.4f}"


def _standing(store: Store, version: ModelVersion) -> tuple[RiskState, str]:
    """Return what was counted so far, and the place in the order of sealing up to which it was."""
    kept = read_standing(store, version.model, version.version, _RULE)
    return (RiskState.from_json(kept), kept["after"]) if kept else (RiskState(), "")


def block_starts(moments: Any, every: timedelta) -> Any:  # datetime64 array -> datetime64[us] array
    """Return when the block of each moment (n,) begins; blocks of length `every` are laid end to end from 1970."""
    width = np.timedelta64(round(every.total_seconds() * 1e6), "us").astype(np.int64)
    return (moments.astype("datetime64[us]").astype(np.int64) // width * width).astype("datetime64[us]")


def block_now(now: datetime, every: timedelta) -> Any:  # datetime64[us]
    """Return when the block under way began."""
    return block_starts(np.array([np.datetime64(now.astimezone(UTC).replace(tzinfo=None), "us")]), every)[0]


def block_name(start: Any, every: timedelta) -> Any:  # datetime64, one or an array -> text that sorts by time
    """Return the name of the block that begins at `start`."""
    whole_seconds = every % timedelta(seconds=1) == timedelta(0)
    return np.datetime_as_string(start, unit="D" if every >= timedelta(days=1) else "s" if whole_seconds else "us")


def _loss(version: ModelVersion) -> Mapping[str, Any]:
    if not has_baseline(version):
        raise Unavailable(
            f"{version.reference} was registered without rows to judge it by, so nothing says what its loss should be",
            where=version.reference,
            next_step="register it with --rows and --target, or let a loop train it",
        )
    found: Mapping[str, Any] = version.evidence["loss"]  # type: ignore[assignment]  # written by registry.submit
    return found
