"""The policies that only say what is wrong: each opens an incident when its watcher finds something, and closes it.

What is decided about an incident of quality, and what serves, is in `policies`.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from mainspring.domain.moments import from_iso, to_iso
from mainspring.monitor.arrivals import overdue_labels
from mainspring.monitor.finding import Finding
from mainspring.monitor.incidents import move_incident, open_incident
from mainspring.monitor.inputs import INPUT_RULE, watch_inputs
from mainspring.monitor.losses import lost_requests
from mainspring.monitor.operations import SPAN, Signal, watch_operations
from mainspring.monitor.repeats import repeated_requests
from mainspring.predictions.hours import served_hours
from mainspring.predictions.segments import hourly_traffic

if TYPE_CHECKING:
    from mainspring.loop.policies import Situation

__all__ = ["watch_inputs_of", "watch_labels", "watch_losses", "watch_operations_of", "watch_repeats"]

#: So far back one looks for when labels came.
_SPAN = timedelta(days=90)
#: What is said when a signal is as usual again.
_OVER: dict[Signal, str] = {
    "errors": "requests are answered again",
    "traffic": "the traffic is as usual, or has stayed as it is for half a week",
    "latency": "answers take as long as usual",
    "refusals": "requests are taken as usual",
}


def watch_inputs_of(situation: "Situation") -> Iterator[str]:
    """Open a ticket when columns bear the marks of a broken source; close it when it is mended."""
    champion, workspace, rule = situation.champion, situation.workspace, situation.loop.monitor
    reference = None if champion is None else workspace.profile_of(champion.model, champion.version)
    if champion is None or reference is None:
        return
    if situation.incidents("refusals"):
        return  # what is answered then is no fair sample of what is sent
    is_open = bool(situation.incidents(INPUT_RULE))
    found = watch_inputs(workspace.store, workspace.log, champion, reference, rule, is_open=is_open, now=situation.now)
    yield from _tell(situation, INPUT_RULE, found, over="the inputs are as they were before")


def watch_losses(situation: "Situation") -> Iterator[str]:
    """Page when requests were refused because they could not be written down; close it a block later."""
    champion = situation.champion
    if champion is None:
        return
    found = lost_requests(situation.workspace.store, champion, situation.loop.monitor, now=situation.now)
    yield from _tell(situation, "log", found, over="every request since then was written down and answered")


def watch_labels(situation: "Situation") -> Iterator[str]:
    """Open a ticket when labels are away for longer than they ever were; close it when they come."""
    champion = situation.champion
    if champion is None:
        return
    rule, now = situation.loop.monitor, situation.now
    sealed = hourly_traffic(situation.workspace.store, champion.model, since=to_iso(now - max(_SPAN, 60 * rule.every)))
    found = overdue_labels(champion, sealed, rule, now=now)
    yield from _tell(situation, "labels", found, over="labels have come")


def watch_repeats(situation: "Situation") -> Iterator[str]:
    """Open a ticket when requests come more than once; close it when they do no more."""
    champion = situation.champion
    if champion is None:
        return
    found = repeated_requests(situation.workspace.log, champion, situation.loop.monitor, now=situation.now)
    yield from _tell(situation, "repeats", found, over="each request comes once again")


def watch_operations_of(situation: "Situation") -> Iterator[str]:
    """Page for errors and silence, open a ticket for odd traffic, latency or refusals; close it when it is over."""
    if situation.champion is None:
        return
    now, every = situation.now, situation.loop.monitor.every
    hours = list(served_hours(situation.workspace.store, situation.model, since=now - SPAN - every, until=now))
    standing = {signal: situation.incidents(signal) for signal in _OVER}
    since = {signal: from_iso(found[0].opened_at) - every for signal, found in standing.items() if found}
    for signal, found in watch_operations(situation.model, hours, now=now, every=every, since=since).items():
        if signal == "traffic" and situation.incidents("repeats"):
            found = None  # said better there
        yield from _tell(situation, signal, found, over=_OVER[signal])


def _tell(situation: "Situation", rule: str, found: Finding | None, *, over: str) -> Iterator[str]:
    """Open the model's incident of a finding where none is open; close the open one when nothing is found any more."""
    store, now, standing = situation.workspace.store, situation.now, situation.incidents(rule)
    if found is None:
        for incident in standing:
            move_incident(store, incident, "resolved", text=over, at=now)
            yield f"closed the incident: {incident.title}"
    elif not standing:
        open_incident(
            store,
            model=situation.model,
            version=None,
            rule=rule,
            severity=found.severity,
            title=found.title,
            text=found.text,
            diagnosis=found.diagnosis,
            evidence=found.evidence,
            at=now,
        )
        yield f"opened an incident: {found.text}"
