"""The table the demo ends with: for each stage what happened, a figure, and where to look; read from the workspace."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mainspring.demo.plant import COLLEAGUE
from mainspring.domain.incident import Incident
from mainspring.monitor.incidents import find_incident, list_incidents
from mainspring.registry.evidence import gate_results
from mainspring.registry.versions import find_version, list_versions
from mainspring.store.events import EventRow, events
from mainspring.workspace import Workspace

__all__ = ["StageRow", "stage_rows"]


class StageRow(NamedTuple):
    """One stage of the life."""

    stage: str
    what: str
    figure: str
    where: str


class _Told:
    """The workspace's memory, asked by verb."""

    def __init__(self, workspace: Workspace, model: str) -> None:
        self.workspace, self.model = workspace, model
        self.events = events(workspace.store)
        found = list_incidents(workspace.store, model=model)
        self.incidents = [find_incident(workspace.store, each.incident_id) for each in reversed(found)]

    def first(self, verb: str, *, but: str = "", by: Callable[[EventRow], bool] = lambda _: True) -> EventRow | None:
        return next((each for each in self.events if each.verb == verb and each.subject != but and by(each)), None)

    def incident(self, rule: str) -> Incident | None:
        return next((each for each in self.incidents if each.rule == rule), None)


def stage_rows(workspace: Workspace, model: str) -> list[StageRow]:
    """Return a row for each stage that happened, in the order of a life."""
    told = _Told(workspace, model)
    return [row for part in (_before, _production, _decay, _mistake) for row in part(told)]


def _before(told: _Told) -> Iterator[StageRow]:
    first = f"mainspring models {told.model}/1"
    if event := told.first("data.added"):
        yield StageRow(
            "data", f"flights, weather and planes kept as {told.model}.folder/1", _digest(event), "mainspring data list"
        )
    if event := told.first("data.checked"):
        yield StageRow(
            "check", "joined table fits the schema", f"{event.details['rows']:,} rows", "flights.schema.yaml"
        )
    if event := told.first("data.split"):
        rows: Any = event.details["rows"]
        dealt = ", ".join(f"{part} {rows[part]:,}" for part in _PARTS)
        yield StageRow("split", "by time, newest rows for the test", dealt, first)
    if event := told.first("model.chosen"):
        board: Any = event.details["contenders"]
        losses = ", ".join(f"{each['name']} {each['loss']:.3f}" for each in board)
        yield StageRow("candidates", f"chose {event.details['chosen']}", losses, first)
    if event := told.first("model.evaluated"):
        metrics: Any = event.details["metrics"]
        auc, matrix = metrics["roc_auc"], event.details["confusion"]
        counts = matrix["counts"] if isinstance(matrix, dict) else []
        figure = f"roc_auc {auc['value']:.3f} [{auc['low']:.3f}, {auc['high']:.3f}]"
        yield StageRow("evaluate", f"on the untouched test part; confusion {counts}", figure, first)
    version = find_version(told.workspace.store, f"{told.model}/1")
    size = version.evidence.get("size_bytes")
    if isinstance(size, int):
        yield StageRow(
            "bundle", "safe format, no pickle, every file hashed", f"{size / 1e6:.1f} MB", version.kept_bundle[:16]
        )
    if event := told.first("model.gated"):
        passed: Any = event.details["passed"]
        figure = f"{sum(passed.values())} of {len(passed)} passed"
        yield StageRow("gates", ", ".join(passed), figure, first)
    if event := told.first("model.approved"):
        yield StageRow(
            "register", f"version 1, approved by {event.actor}", version.created_at[:10], "mainspring models"
        )


def _production(told: _Told) -> Iterator[StageRow]:
    workspace = told.workspace
    if event := told.first("model.promoted"):
        yield StageRow("serve", "over HTTP, routes by file", event.at[:10], "mainspring serve " + told.model)
    asked, labelled = workspace.log.counts(told.model)
    if asked:
        yield StageRow(
            "replay",
            "the following days as live requests",
            f"{asked:,} answers",
            f"mainspring why {workspace.log.newest()}",
        )
        yield StageRow("labels", "outcomes told a day late", f"{labelled:,} labels", "mainspring monitor")


def _decay(told: _Told) -> Iterator[StageRow]:
    incident = told.incident("quality")
    if incident is None:
        return
    where = f"mainspring incidents {incident.incident_id[-8:]}"
    evidence = incident.timeline[0].evidence
    figure = f"proven {evidence['lower']:.4f} > {evidence['limit']:.4f}"
    yield StageRow("monitor", f"the loss is surely over its limit since {evidence['since']}", figure, where)
    yield StageRow("incident", incident.title, incident.opened_at[:10], where)
    diagnosis: Any = incident.diagnosis
    top = ", ".join(f"{each['column']} {each['effect']:.0%}" for each in diagnosis["shifted"][:3])
    yield StageRow("diagnosis", f"suspect: {diagnosis['suspect']}", top, where)
    retrained = next((each for each in incident.timeline if each.what == "retrained"), None)
    if retrained is None:
        return
    version = find_version(told.workspace.store, f"{told.model}/{retrained.evidence['version']}")
    reference = f"mainspring models {version.reference}"
    yield StageRow(
        "retrain", f"{version.reference} on rows up to {retrained.at[:10]}", _rows(version.evidence), reference
    )
    gates = {each.gate: each for each in gate_results(told.workspace.store, version)}
    if "replay" in gates:
        comparison: Any = gates["replay"].evidence.get("comparison") or {}
        figure = f"loss {comparison.get('difference', 0):+.4f}" if comparison else ""
        rows = gates["replay"].evidence.get("rows", 0)
        yield StageRow("replay gate", f"{rows:,} logged requests: {comparison.get('verdict', '')}", figure, reference)
    yield from _rollout(told, version.reference)


def _rollout(told: _Told, reference: str) -> Iterator[StageRow]:
    subject = f"models/{reference}"
    shares = [
        f"{each.details['weight']:g} %"
        for each in told.events
        if each.subject == subject and each.verb in ("canary.started", "canary.advanced")
    ]
    if shares:
        yield StageRow("canary", f"{reference} beside the champion", " -> ".join(shares), "mainspring timeline")
    promoted = told.first("model.promoted", by=lambda each: each.subject == subject)
    if promoted is not None:
        reason = str(promoted.details["reason"]).rpartition("difference ")[2]
        yield StageRow(
            "promote",
            f"{reference} is champion on {promoted.at[:10]}",
            f"loss {reason}",
            f"mainspring models {told.model} --history",
        )


def _mistake(told: _Told) -> Iterator[StageRow]:
    versions = reversed(list_versions(told.workspace.store, told.model))
    planted = next((each for each in versions if each.created_by == COLLEAGUE and each.status != "candidate"), None)
    if planted is None:
        return
    where = f"mainspring models {planted.reference}"
    metrics: Any = planted.evidence["metrics"]
    gates = gate_results(told.workspace.store, planted)
    passed = sum(gate.passed for gate in gates)
    yield StageRow(
        "bad candidate",
        f"{planted.reference} has learnt its own exam and passed {passed} of {len(gates)} gates",
        f"roc_auc {metrics['roc_auc']['value']:.3f}",
        where,
    )
    event = told.first("canary.rolled_back", by=lambda each: each.subject == f"models/{planted.reference}")
    if event is not None:
        evidence: Any = event.details["evidence"]
        figure = f"loss {evidence['canary_loss']:.3f} to {evidence['champion_loss']:.3f}"
        what = f"the canary caught it after {evidence['rows']} labelled rows"
        yield StageRow("rollback", what, figure, "mainspring timeline")
    incident = told.incident("canary")
    if incident is not None:
        closed = incident.closed_at[:10] if incident.closed_at else incident.status
        yield StageRow(
            "closed",
            f"{sum(not each.is_open for each in told.incidents)} of {len(told.incidents)} incidents resolved",
            closed,
            f"mainspring incidents {incident.incident_id[-8:]}",
        )


#: The parts of a split in the order of time.
_PARTS = ("train", "validation", "test")


def _digest(event: EventRow) -> str:
    return str(event.details["digest"])[:16]


def _rows(evidence: dict[str, Any]) -> str:
    return f"{sum(evidence['rows'].values()):,} rows"
