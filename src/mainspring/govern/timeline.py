"""The story of a workspace in order: the audit events, told in sentences, with the traffic between them counted.

The events are the memory; this only reads them. A verb without a sentence of its own is shown as it is, so nothing
that happened is left out.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mainspring.predictions.segments import traffic as sealed_traffic
from mainspring.store.events import EventRow, events
from mainspring.store.protocol import Store

__all__ = ["Moment", "tell", "timeline"]


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the story. `at` is the workspace's clock; `stage` groups what belongs together."""

    at: str
    actor: str
    stage: str
    subject: str
    text: str
    number: int


def timeline(store: Store, *, model: str | None = None, after: int = 0, limit: int = 100_000) -> list[Moment]:
    """Return what happened, oldest first; of one model when `model` is given. Traffic is summed up between events."""
    told: list[Moment] = []
    told_before = events(store, after=after - 1, limit=1) if after > 0 else []
    since = told_before[0].at if told_before else ""
    traffic = [each for each in sealed_traffic(store, model) if each[0] > since]
    passed = 0
    previous = ""
    for event in events(store, after=after, limit=limit):
        if model is not None and not _concerns(event, model):
            continue
        asked = labelled = 0
        while passed < len(traffic) and traffic[passed][0] <= event.at:
            _, kind, rows = traffic[passed]
            asked, labelled = asked + rows * (kind == "predictions"), labelled + rows * (kind == "labels")
            passed += 1
        if asked or labelled:
            text = f"{asked:,} predictions answered, {labelled:,} labels came"
            told.append(Moment(event.at, "server", "traffic", model or "", text, event.number))
        stage, text = tell(event)
        told.append(Moment(event.at, event.actor, stage, _subject(event), text, event.number))
        previous = event.at
    rest = [each for each in traffic[passed:] if each[0] >= previous]
    if rest:
        asked = sum(rows for _, kind, rows in rest if kind == "predictions")
        labelled = sum(rows for _, kind, rows in rest if kind == "labels")
        text = f"{asked:,} predictions answered, {labelled:,} labels came"
        told.append(Moment(rest[-1][0], "server", "traffic", model or "", text, 0))
    return told


def tell(event: EventRow) -> tuple[str, str]:
    """Return the stage an event belongs to, and what happened in words."""
    stage, sentence = _SENTENCES.get(event.verb, (event.verb.partition(".")[0], None))
    if sentence is None:
        details = ", ".join(f"{key} {value}" for key, value in event.details.items())
        return stage, f"{event.verb.replace('.', ' ')}{': ' if details else ''}{details}"
    return stage, sentence(event.details)


def _subject(event: EventRow) -> str:
    kind, _, rest = event.subject.partition("/")
    if kind == "incidents":  # the key of one that is of no version says so
        model, version, rule = rest.split("/", 2)
        return f"{model}/{rule}" if version == "None" else rest
    return rest


def _concerns(event: EventRow, model: str) -> bool:
    kind, _, rest = event.subject.partition("/")
    if kind in ("models", "incidents", "endpoints"):
        return rest.partition("/")[0] == model
    return kind not in _NOT_OF_A_LIFE


def _metric(details: Mapping[str, Any]) -> str:
    shown = [
        each for name, each in details["metrics"].items() if name in ("roc_auc", "brier", "rmse", "r2", "accuracy")
    ]
    return ", ".join(
        f"{each['name']} {each['value']:.3f}"
        + (f" [{each['low']:.3f}, {each['high']:.3f}]" if each["low"] is not None else "")
        for each in shown
        if each["value"] is not None
    )


def _gates(details: Mapping[str, Any]) -> str:
    parts = [
        f"{gate} {'passed' if passed else 'FAILED'} ({details['reasons'][gate]})"
        for gate, passed in details["passed"].items()
    ]
    return "; ".join(parts)


def _contenders(details: Mapping[str, Any]) -> str:
    board = ", ".join(f"{each['name']} {each['loss']:.4f}" for each in details["contenders"])
    return f"chose {details['chosen']}: {details['reason']} (losses: {board})"


#: What the audit log tells of people and of others' runs is no part of a model's life.
_NOT_OF_A_LIFE = ("artifacts", "experiments", "roles", "runs", "tokens", "users", "webhooks")
#: The metrics that stand in a sentence; all are in the event.
_HEADLINES = ("roc_auc", "brier", "accuracy", "rmse", "r2")

_Sentence = Callable[[Mapping[str, Any]], str]

_SENTENCES: dict[str, tuple[str, _Sentence | None]] = {
    "data.added": ("data", lambda d: f"kept a new version of the data from {d['source']}"),
    "data.checked": ("check", lambda d: f"{d['rows']:,} rows fit the schema, {d['columns']} features"),
    "data.split": ("split", lambda d: ", ".join(f"{rows:,} to {part}" for part, rows in d["rows"].items())),
    "model.chosen": ("candidates", _contenders),
    "model.evaluated": ("evaluate", lambda d: f"on the test part {_metric(d)}"),
    "model.registered": ("register", lambda d: f"registered bundle {str(d['bundle'])[:12]}"),
    "model.gated": ("gates", _gates),
    "model.ready": ("gates", lambda d: str(d["reason"])),
    "model.refused": ("gates", lambda d: str(d["reason"])),
    "model.approved": ("approve", lambda d: f"approved as {d['role']}" + (f": {d['comment']}" if d["comment"] else "")),
    "model.promoted": ("promote", lambda d: f"became champion: {d['reason']}"),
    "model.rolled_back": ("rollback", lambda d: f"rolled back to version {d['to']}: {d['reason']}"),
    "model.overridden": ("approve", lambda d: f"overridden: {d['reason']}"),
    "alias.refused": ("gates", lambda d: str(d["reason"])),
    "alias.protected": ("rule", lambda d: f"{d['alias']} moves by rule of the {d['origin']}"),
    "alias.moved": ("alias", lambda d: f"{d['alias']} moved from {d['from']} to {d['to']}: {d['reason']}"),
    "endpoint.changed": ("serve", lambda d: "answers now: " + ", ".join(d["routes"])),
    "canary.started": ("canary", lambda d: f"takes {d['weight']:g} % of the traffic: {d['reason']}"),
    "canary.advanced": ("canary", lambda d: f"takes {d['weight']:g} % of the traffic: {d['reason']}"),
    "canary.rolled_back": ("rollback", lambda d: f"taken off the traffic: {d['reason']}"),
    "incident.opened": ("incident", lambda d: f"{d['severity']}: {d['title']}"),
    "incident.noted": ("incident", lambda d: f"{d['what']}: {d['text']}"),
    "incident.assigned": ("incident", lambda d: f"assigned to {d['owner']}{': ' if d['text'] else ''}{d['text']}"),
    "incident.acknowledged": ("incident", lambda d: f"acknowledged: {d['text']}"),
    "incident.mitigated": ("incident", lambda d: f"mitigated: {d['text']}"),
    "incident.released": ("incident", lambda d: f"people are told: {d['title']}"),
    "incident.resolved": ("incident", lambda d: f"resolved: {d['text']}"),
}
