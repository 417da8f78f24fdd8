"""Retraining for an incident: whether it may be now, on which parameters, and what came of it."""

import dataclasses
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from mainspring.deploy.rollout import list_deployments
from mainspring.domain.incident import Incident
from mainspring.domain.moments import from_iso
from mainspring.errors import MainspringError
from mainspring.loop.inputs import keep_inputs, obey_terms
from mainspring.monitor.incidents import add_entry
from mainspring.monitor.inputs import INPUT_RULE
from mainspring.pipeline.parameters import parse_parameters
from mainspring.registry.labelled import export_labelled
from mainspring.registry.versions import list_versions
from mainspring.tracking.runs import find_run, finish_run, list_runs

if TYPE_CHECKING:
    from mainspring.loop.policies import Situation

__all__ = ["held_back", "note_cut_short", "retrain_for"]

#: What the timeline calls a retraining that began, and how each one ends.
_BEGUN, _CUT_SHORT = "retraining", "retraining was cut short"
_ENDS = ("retrained", "retraining failed", _CUT_SHORT)
_TAG = "mainspring.incident"


def retrain_for(situation: "Situation", incident: Incident) -> Iterator[str]:
    """Retrain on the rows of today, put the result through the gates, and write what came of it into the incident."""
    loop, workspace, store = situation.loop, situation.workspace, situation.workspace.store
    add_entry(store, incident, what=_BEGUN, text="on the rows of today", at=situation.now)
    try:
        given = _parameters_of_retraining(situation)
        context = dataclasses.replace(workspace.pipeline_context, tags={_TAG: incident.incident_id})
        obey_terms(workspace, given, loop.purposes)
        outcome = loop.pipeline.run(context, **given)
        data = keep_inputs(workspace, loop.name, given)
        version, gates = loop.submit(workspace, outcome.value, run_id=outcome.run_id, author="loop", data=data)
    except MainspringError as error:
        add_entry(store, incident, what="retraining failed", text=str(error), at=situation.now)
        yield f"retraining failed: {error.what}"
        return
    failed = [gate for gate in gates if not gate.passed]
    said = "; ".join(f"{gate.gate}: {gate.reason}" for gate in failed or gates)
    add_entry(
        store,
        incident,
        what="retrained",
        text=f"{version.reference} {'was refused by' if failed else 'passed'} its gates ({said})",
        at=situation.now,
        evidence={"version": version.version, "run_id": outcome.run_id},
    )
    yield f"retrained: {version.reference} {'refused' if failed else 'passed its gates'}"


def note_cut_short(situation: "Situation", incident: Incident) -> Iterator[str]:
    """Say in the incident that its last retraining never ended, and end its run; the next is free to begin at once.

    Only the one loop of a workspace retrains, and it writes how that ended. So a beginning without an end, which this
    loop finds when it holds the lock, was of a process that is no more.
    """
    tries = [entry for entry in incident.timeline if entry.what in (_BEGUN, *_ENDS)]
    if not tries or tries[-1].what != _BEGUN:
        return
    store, left = situation.workspace.store, []
    for run in list_runs(store):
        if run.status == "running" and run.tags.get(_TAG) == incident.incident_id:
            finish_run(store, run.run_id, "killed", situation.now)
            left.append(run.run_id)
    text = "its process ended before it was done: killed, out of memory, or without power; nothing of it serves"
    evidence = {"suspect": "infrastructure", "runs": left}
    add_entry(store, incident, what=_CUT_SHORT, text=text, at=situation.now, evidence=evidence)
    yield f"{_CUT_SHORT}: {text}"


def held_back(situation: "Situation", incident: Incident) -> str:
    """Return why retraining has to wait, or an empty text."""
    rules = situation.loop.retrain
    tried = [from_iso(entry.at) for entry in incident.timeline if entry.what in _ENDS]
    ended = [from_iso(entry.at) for entry in incident.timeline if entry.what in _ENDS and entry.what != _CUT_SHORT]
    if situation.incidents("data") or situation.incidents(INPUT_RULE):
        return "retraining waits: the data is under an incident, and would be learnt with its fault"
    if incident.diagnosis.get("suspect") == "data":
        return (
            "retraining waits: the diagnosis suspects the data, whose fault would be learnt; mend it and resolve this"
        )
    champion = situation.champion
    newest = list_versions(situation.workspace.store, situation.model)[0]
    deployed = {each.version for each in list_deployments(situation.workspace.store, situation.model)}
    if champion is not None and newest.status == "ready" and newest.version not in deployed:
        return f"{newest.reference} waits for approval: mainspring approve {newest.reference}"
    if ended and situation.now - max(ended) < rules.cooldown:
        return f"retraining waits: the last try was less than {rules.cooldown} ago"
    if sum(situation.now - each < timedelta(weeks=1) for each in tried) >= rules.max_per_week:
        return f"retraining waits: {rules.max_per_week} tries this week are enough"
    since = from_iso(champion.created_at) if champion is not None else situation.now
    labels = situation.workspace.log.labels_since(situation.model, since)
    if labels < rules.min_new_labels:
        return f"retraining waits: {labels} labels since the champion was made, {rules.min_new_labels} are wanted"
    return ""


def _parameters_of_retraining(situation: "Situation") -> dict[str, object]:
    """Take the parameters of the run that made the champion, with the moment and the production rows of today."""
    loop, workspace = situation.loop, situation.workspace
    names = loop.parameter_names()
    given: dict[str, object] = dict(loop.defaults())
    champion = situation.champion
    if champion is not None and champion.run_id is not None:
        texts: Mapping[str, str] = find_run(workspace.store, champion.run_id).parameters
        words = [f"{name}={text}" for name, text in texts.items() if name in names and name not in given]
        given |= parse_parameters(loop.pipeline, words, partial=True)
    if "until" in names:
        given["until"] = situation.now
    if "labelled" in names and champion is not None:
        signature = workspace.signature_of(loop.name, champion.version)
        given["labelled"] = export_labelled(
            workspace.log, signature, loop.name, workspace.home, situation.now, time=loop.time
        )
    return given
