"""Gathering the facts of a decay for its diagnosis: inputs since the first bad day, slices then and now, changes."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from mainspring.data.profile import read_profile
from mainspring.data.table import Columns, n_rows
from mainspring.domain.incident import DATA_RULE
from mainspring.domain.moments import from_iso, to_iso
from mainspring.domain.signature import Signature
from mainspring.domain.version import ModelVersion
from mainspring.evaluate.losses import loss
from mainspring.monitor.diagnosis import Change, Diagnosis, Facts, SliceChange, diagnose
from mainspring.monitor.drift import drift
from mainspring.monitor.incidents import list_incidents
from mainspring.monitor.inputs import INPUT_RULE
from mainspring.monitor.joint import JointDrift, joint_drift
from mainspring.monitor.risk import RiskVerdict
from mainspring.predictions.log import PredictionLog, scores_of
from mainspring.predictions.segments import features_of
from mainspring.store.events import events
from mainspring.store.protocol import Store
from mainspring.train.features import label_values

__all__ = ["diagnose_decay"]

#: Changes made this long before the first bad block are worth naming.
_BEFORE = timedelta(days=7)
#: What the time before is, for comparisons of rows, and how many of them are read on either side.
_BACK = timedelta(days=28)
_MOST_COMPARED = 50_000
_CHANGES = {"model.promoted": "deployment", "model.rolled_back": "deployment", "canary.advanced": "deployment"}


def diagnose_decay(
    store: Store,
    log: PredictionLog,
    version: ModelVersion,
    signature: Signature,
    bundle: Path,
    found: RiskVerdict,
    *,
    now: datetime,
) -> Diagnosis:
    """Say what most likely made `version` worse since the block that `found` names.

    The reference is the profile inside the bundle, and the window is what sealing counted: of how the inputs moved, no
    row of either is read. Where no input moved by itself, logged rows of both times are compared, all columns together.
    """
    since = _start(found.since, now)
    labelled = log.labelled(version.model, labelled_from=since, labelled_until=now, version=version.version)
    reference, shifted = read_profile(bundle), []
    if reference is not None:
        window = log.counted(version.model, reference, since=since, until=now, version=version.version)
        # what is redacted from the log cannot be compared
        shifted = drift(reference.limited_to(window.columns), window)
    evidence: dict[str, Any] = version.evidence
    return diagnose(
        Facts(
            drift=shifted,
            joint=None if any(each.is_shifted for each in shifted) else _joint(log, version, since, now),
            failed_checks=_broken(store, version.model),
            importances={name: max(0.0, value) for name, value in evidence.get("importances", {}).items()},
            changes=_changes(store, version, since),
            slices=_slices(evidence, labelled, signature),
            first_bad_window=found.since,
        )
    )


def _joint(log: PredictionLog, version: ModelVersion, since: datetime, now: datetime) -> JointDrift | None:
    """Compare the rows since the first bad block with those of the time before, all columns together."""

    def rows(after: datetime, until: datetime) -> Columns:
        found = log.recent(version.model, until=until, since=after, most=_MOST_COMPARED)
        if not n_rows(found):
            return {}
        own = found["version"] == version.version
        return {name: values[own] for name, values in features_of(found).items()}

    found = joint_drift(rows(since - _BACK, since), rows(since, now))
    return None if found is None else found.drift


def _broken(store: Store, model: str) -> list[str]:
    """Return what the open incidents of the model's data say."""
    standing = list_incidents(store, model=model, only_open=True)
    return [
        str(each.diagnosis.get("reason") or each.title) for each in standing if each.rule in (DATA_RULE, INPUT_RULE)
    ]


def _start(block: str, now: datetime) -> datetime:
    if not block:
        return now - timedelta(days=28)
    return from_iso(f"{block}Z" if "T" in block else f"{block}T00:00:00Z")


def _changes(store: Store, version: ModelVersion, since: datetime) -> list[Change]:
    """Return what was deployed shortly before the trouble, other than the version's own promotion."""
    earliest, own = to_iso(since - _BEFORE), f"models/{version.reference}"
    return [
        Change(event.at, "deployment", f"{event.verb.replace('.', ' ')}: {event.subject.partition('/')[2]}")
        for event in events(store, subject=f"models/{version.model}/*")
        if event.verb in _CHANGES and earliest <= event.at <= to_iso(since) and event.subject != own
    ]


def _slices(evidence: dict[str, Any], labelled: Columns, signature: Signature) -> list[SliceChange]:
    """Compare the loss of each declared slice on the hold-out with its loss now."""
    if not n_rows(labelled):
        return []
    features = features_of(labelled)
    truth = label_values(labelled["label"], signature)
    losses = loss(signature.task, truth, scores_of(labelled), bound=evidence["loss"]["bound"])
    changed = []
    for each in evidence.get("slices", []):
        column, _, value = each["name"].partition("=")
        if column not in features or features[column].dtype != object:
            continue
        chosen = features[column] == value
        if (rows := int(np.count_nonzero(chosen))) >= 100:
            changed.append(SliceChange(each["name"], rows, each["loss"], float(losses[chosen].mean())))
    return changed
