"""Quality before labels come: the loss that the scores of unlabelled requests let expect, beside its past errors.

An estimate assumes that the same scores still mean the same (no concept drift). So it opens a ticket when it stays over
the limit, never a page, and is answered by labels: as soon as they come, `quality` decides.

Where the inputs have moved, the same score may stand for other rows than it did. Then a classifier's scores are given
their meaning anew, by labelled rows of the log that count for as many as they have become since.
Source: Bialek, Kuberski, Perrakis & Bifet 2024, "Estimating Model Performance Under Covariate Shift Without Labels",
arXiv 2401.08348, section 3 (PAPE); CBPE is the same without the weights.
"""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, n_rows
from mainspring.domain.policy import Monitor
from mainspring.domain.signature import Signature
from mainspring.domain.version import ModelVersion
from mainspring.evaluate.calibration import calibrate
from mainspring.evaluate.estimation import Estimate, Estimation
from mainspring.evaluate.losses import loss
from mainspring.evaluate.metrics import Floats
from mainspring.monitor.joint import joint_drift
from mainspring.monitor.quality import baseline_of, block_name, block_now, block_starts
from mainspring.monitor.risk import RECENT, limit_of
from mainspring.predictions.log import PredictionLog, features_of, scores_of
from mainspring.train.features import label_values

__all__ = ["PATIENCE", "Outlook", "TrackRecord", "outlook"]

#: So many blocks in a row must be expected over the limit before anybody hears of it.
PATIENCE = 3
_MOST_ROWS = 1_000_000
#: Rows of each side, of which some are looked at for how the inputs moved.
_MOST_WEIGHED = 50_000
#: Labelled rows that must speak for those that wait, in rows of equal weight.
_LEAST_WEIGHED = 200


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """How right the estimates of the newest labelled blocks were, and how many intervals held the truth.

    An error is a block's real mean loss minus its estimated one.
    """

    blocks: int = 0
    inside: int = 0
    errors: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Outlook:
    """The estimated loss of the blocks that are over and wait for their labels, beside the limit.

    ``over`` says that each of the last `PATIENCE` blocks is expected over the limit, and so is the whole interval of
    their mean. `since` names the first block that waits. `moved` is how well rows that wait are told from labelled
    ones, where they are, and the estimate weighs labelled rows for it; else None.
    """

    status: Literal["quiet", "over"]
    estimate: Estimate
    limit: float
    since: str
    record: TrackRecord
    moved: float | None = None

    def to_json(self) -> dict[str, object]:
        """Return JSON-able fields."""
        return asdict(self) | {"estimate": self.estimate._asdict()}

    def __str__(self) -> str:
        found, past = self.estimate, self.record
        told = (
            f"estimated loss {found.value:.4f} [{found.low:.4f}, {found.high:.4f}] on {found.rows:,} requests since"
            f" {self.since} whose labels are outstanding, if scores still mean what they meant; limit {self.limit:.4f}"
        )
        if self.moved is not None:
            told += (
                "; the inputs have moved (rows are told apart with an area of"
                f" {self.moved:.2f}), so labelled rows count for as many as they have become"
            )
        if past.blocks:
            mean = float(np.mean(np.abs(past.errors)))
            told += f"; on the last {past.blocks} labelled blocks it was off by {mean:.4f}, {past.inside} inside"
        return told


def outlook(
    log: PredictionLog,
    version: ModelVersion,
    signature: Signature,
    rule: Monitor,
    *,
    now: datetime,
    at_least: int = 1,
) -> Outlook | None:
    """Estimate the loss of the blocks that are over and whose labels have not come; None when these are too few.

    A block counts as labelled when half of its requests have their label; what waits are the blocks behind the last
    such one. Reads the last `RECENT` blocks of the log, or only `at_least` where one of these has its labels.
    """
    estimation = _estimation(version)
    if estimation is None:
        return None
    for blocks in (at_least, RECENT):
        record, waiting = _judge_past(estimation, _last_blocks(log, version, signature, rule, estimation, now, blocks))
        if len(waiting) < at_least:
            return None
    moved = None
    if len(waiting) >= PATIENCE and signature.task != "regression":
        moved, waiting = _shifted(log, version, signature, rule, estimation, waiting, now)
    limit = limit_of(baseline_of(version), rule.tolerance)
    found, last = (_estimate(estimation, each, record.errors) for each in (waiting, waiting[-PATIENCE:]))
    is_over = last.blocks == PATIENCE and last.low > limit and all(e.expected > limit for e in waiting[-PATIENCE:])
    since = str(block_name(waiting[0].start, rule.every))
    return Outlook("over" if is_over else "quiet", found, limit, since, record, moved)


@dataclass(frozen=True, slots=True)
class _Block:
    start: Any  # datetime64[us]
    rows: int
    expected: float
    real: float | None  # None where too few labels have come


def _last_blocks(
    log: PredictionLog,
    version: ModelVersion,
    signature: Signature,
    rule: Monitor,
    estimation: Estimation,
    now: datetime,
    blocks: int,
) -> list[_Block]:
    until = block_now(now, rule.every).astype(datetime).replace(tzinfo=UTC)
    since = until - blocks * rule.every
    rows = log.recent(version.model, until=until, since=since, most=_MOST_ROWS, with_features=False)
    if not n_rows(rows):
        return []
    own = rows["version"] == version.version
    starts, place = np.unique(block_starts(rows["at"][own], rule.every), return_inverse=True)
    scores = scores_of(rows)[own]
    counts = np.bincount(place)
    expected = np.bincount(place, weights=estimation.losses(scores)) / counts
    known = np.array([label is not None for label in rows["label"][own]], dtype=np.bool_)
    real: Floats = np.zeros(starts.size)
    if known.any():
        found: Any = version.evidence["loss"]  # written by registry.submit
        bound = found.get("bound")
        losses = loss(signature.task, label_values(rows["label"][own][known], signature), scores[known], bound=bound)
        real = np.bincount(place[known], weights=losses, minlength=starts.size).astype(np.float64)
    told = np.bincount(place[known], minlength=starts.size)
    return [
        _Block(start, int(count), float(mean), float(total / labels) if labels * 2 >= count else None)
        for start, count, mean, total, labels in zip(starts, counts, expected, real, told, strict=True)
    ]


def _shifted(
    log: PredictionLog,
    version: ModelVersion,
    signature: Signature,
    rule: Monitor,
    estimation: Estimation,
    waiting: list[_Block],
    now: datetime,
) -> tuple[float | None, list[_Block]]:
    """Expect the blocks anew by labelled rows, weighted for how the inputs moved; as they are where nothing did."""
    until, border = (
        each.astype(datetime).replace(tzinfo=UTC) for each in (block_now(now, rule.every), waiting[0].start)
    )
    before = log.recent(version.model, until=border, since=border - RECENT * rule.every, most=_MOST_WEIGHED)
    after = log.recent(version.model, until=until, since=border, most=_MOST_WEIGHED)
    if not n_rows(before) or not n_rows(after):
        return None, waiting
    before = _only(before, (before["version"] == version.version) & [label is not None for label in before["label"]])
    after = _only(after, after["version"] == version.version)
    found = joint_drift(features_of(before), features_of(after))
    if found is None or not found.drift.is_shifted or found.effective_rows < _LEAST_WEIGHED:
        return None, waiting  # too few labelled rows are like those that wait, so nothing can be learnt from them
    labelled = _only(before, found.rows)
    truth, scores = label_values(labelled["label"], signature), scores_of(labelled)
    meaning = calibrate(signature.task, truth, scores, found.weights)
    losses = replace(estimation, meaning=meaning).losses(scores_of(after))
    place = np.searchsorted([each.start for each in waiting], block_starts(after["at"], rule.every))
    counts = np.bincount(place, minlength=len(waiting))
    expected = np.bincount(place, weights=losses, minlength=len(waiting)) / np.maximum(counts, 1)
    blocks = [
        replace(block, expected=float(mean)) if count else block
        for block, mean, count in zip(waiting, expected, counts, strict=True)
    ]
    return found.drift.area, blocks


def _only(rows: Columns, chosen: NDArray[Any]) -> Columns:
    return {name: values[chosen] for name, values in rows.items()}


def _judge_past(estimation: Estimation, blocks: list[_Block]) -> tuple[TrackRecord, list[_Block]]:
    """Compare estimates with what came true, each by the errors before it; return that and the blocks that wait."""
    errors: list[float] = []
    inside, waits_from = 0, 0
    for number, block in enumerate(blocks):
        if block.real is None:
            continue
        said = _estimate(estimation, [block], errors)
        inside += said.low <= block.real <= said.high
        errors.append(block.real - block.expected)
        waits_from = number + 1
    return TrackRecord(len(errors), inside, tuple(errors)), blocks[waits_from:]


def _estimate(estimation: Estimation, blocks: list[_Block], errors: "list[float] | tuple[float, ...]") -> Estimate:
    rows = sum(each.rows for each in blocks)
    return estimation.estimate([each.expected for each in blocks], rows, errors=errors)


def _estimation(version: ModelVersion) -> Estimation | None:
    kept: Any = version.evidence.get("estimation")  # written by registry.submit; older versions have none
    return None if kept is None else Estimation.from_json(kept)
