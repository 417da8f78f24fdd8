"""The table of policies: what follows from what is seen in production.

Rooms below decide and leave rows (a verdict, an incident, a canary's losses); here is what the loop does about them.
`POLICIES` stands at the end of the file; each line names one function, and each function reads its rows anew.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from mainspring.deploy.rollout import active_canary, advance, list_deployments, put_live, roll_back, start_canary
from mainspring.domain.deployment import Deployment
from mainspring.domain.incident import Incident
from mainspring.domain.moments import from_iso
from mainspring.domain.version import ModelVersion
from mainspring.errors import Invalid
from mainspring.loop.retraining import held_back, note_cut_short, retrain_for
from mainspring.loop.review import answers_reviewed
from mainspring.loop.watching import watch_inputs_of, watch_labels, watch_losses, watch_operations_of, watch_repeats
from mainspring.monitor.canary import judge_canary
from mainspring.monitor.decay import diagnose_decay
from mainspring.monitor.estimate import PATIENCE, outlook
from mainspring.monitor.incidents import add_entry, find_incident, list_incidents, move_incident, open_incident
from mainspring.monitor.quality import baseline_of, tell_verdict, watch_quality
from mainspring.registry.approvals import list_approvals, missing_approvals
from mainspring.registry.control import Mover, objections
from mainspring.registry.versions import find_champion, find_version, list_versions, set_status

if TYPE_CHECKING:
    from mainspring.loop.definition import Loop
    from mainspring.workspace import Workspace

__all__ = ["POLICIES", "Action", "Policy", "Situation", "roll_out"]


class Action(NamedTuple):
    """Something the loop did, in words."""

    policy: str
    text: str


@dataclass(frozen=True)
class Situation:
    """One look at production: the loop, its workspace, and the moment."""

    loop: "Loop"
    workspace: "Workspace"
    now: datetime

    @property
    def model(self) -> str:
        """The model's name."""
        return self.loop.name

    @property
    def champion(self) -> ModelVersion | None:
        """The version that serves."""
        return find_champion(self.workspace.store, self.model)

    @property
    def canary(self) -> Deployment | None:
        """The canary that is under way."""
        return active_canary(self.workspace.store, self.model)

    def incidents(self, rule: str) -> list[Incident]:
        """The open incidents that `rule` found, with their timelines, oldest first."""
        found = list_incidents(self.workspace.store, model=self.model, only_open=True)
        return [find_incident(self.workspace.store, each.incident_id) for each in reversed(found) if each.rule == rule]


class Policy(NamedTuple):
    """One line of the table: what it is about, and the function that acts on it and says what it did."""

    name: str
    act: Callable[[Situation], Iterator[str]]


def _judge_canary(situation: Situation) -> Iterator[str]:
    """Roll a canary back when it is surely worse; widen it when it has held its stage, and been reviewed if it must."""
    deployment = situation.canary
    if deployment is None:
        return

    loop, workspace = situation.loop, situation.workspace
    candidate = find_version(workspace.store, f"{situation.model}/{deployment.version}")
    champion = situation.champion
    if champion is None:
        return
    try:
        verdict = judge_canary(
            workspace.log,
            workspace.predictor(champion),
            deployment,
            until=situation.now,
            bound=candidate.evidence["loss"]["bound"],  # type: ignore[index]  # written by registry.submit
        )
    except Invalid as error:  # it can never be judged, so it must not go on answering unjudged
        roll_back(workspace.store, deployment, reason=error.what, evidence={"error": error.what}, at=situation.now)
        yield f"rolled back {candidate.reference} at {deployment.weight:g} %: {error.what}"
        return
    if verdict.status == "worse":
        roll_back(workspace.store, deployment, reason=str(verdict), evidence=verdict.to_json(), at=situation.now)
        yield f"rolled back {candidate.reference} at {deployment.weight:g} %: {verdict}"
        return
    held = situation.now - from_iso(deployment.stage_at)
    if held < loop.rollout.bake or verdict.rows < loop.rollout.min_rows * (deployment.stage + 1):
        return
    if _soaks(situation, deployment, candidate):
        return
    moved = advance(workspace.store, deployment, loop.rollout, reason=str(verdict), at=situation.now)
    if moved.status == "live":
        yield f"promoted {candidate.reference}: {verdict}"
    else:
        yield f"gave {candidate.reference} {moved.weight:g} % of the traffic: {verdict}"


def _soaks(situation: Situation, deployment: Deployment, candidate: ModelVersion) -> bool:
    """Whether a canary has to wait for people's reviews of its answers."""
    soak = situation.loop.soak
    if soak is None or situation.now - from_iso(deployment.started_at) >= soak.period:
        return False
    return answers_reviewed(situation.workspace, candidate) < soak.reviews


def _report_rollbacks(situation: Situation) -> Iterator[str]:
    """Open an incident, already mitigated, for each canary that was taken off the traffic."""
    store, now = situation.workspace.store, situation.now
    known = {each.version for each in list_incidents(store, model=situation.model) if each.rule == "canary"}
    for deployment in list_deployments(store, situation.model):
        # a weight of zero is what the judge leaves; whoever ends a deployment by hand knows why
        if deployment.status != "rolled_back" or deployment.weight != 0 or deployment.version in known:
            continue
        version = find_version(store, f"{situation.model}/{deployment.version}")
        if version.status == "ready":
            set_status(store, version, "refused", reason=f"rolled back: {deployment.reason}")
        incident = open_incident(
            store,
            model=situation.model,
            version=version.version,
            rule="canary",
            severity="ticket",
            title=f"{version.reference} did worse in production than in its tests",
            text=deployment.reason,
            diagnosis={
                "suspect": "model",
                "reason": f"it passed its gates, made by {version.created_by}, and lost on live traffic; look for rows"
                " of its test part that it had learnt from",
            },
            evidence={"deployment": deployment.deployment_id},
            at=now,
        )
        move_incident(store, incident, "mitigated", text="rolled back; the champion answers everything again", at=now)
        yield f"opened an incident for the rollback of {version.reference}"


def _note_new_champion(situation: Situation) -> Iterator[str]:
    """Mitigate an incident of quality whose version no longer serves."""
    champion = situation.champion
    for incident in situation.incidents("quality"):
        if champion is None or incident.version == champion.version or incident.status == "mitigated":
            continue
        text = f"{champion.reference} is champion in its place"
        move_incident(situation.workspace.store, incident, "mitigated", text=text, at=situation.now)
        yield f"mitigated the incident: {incident.title}"


def _watch_quality(situation: Situation) -> Iterator[str]:
    """Open an incident when the champion's live loss is surely above what was promised."""
    champion = situation.champion
    if champion is None:
        return
    workspace, rule = situation.workspace, situation.loop.monitor
    signature = workspace.signature_of(champion.model, champion.version)
    verdict = watch_quality(workspace.store, workspace.log, champion, signature, rule, now=situation.now)
    if verdict is None or verdict.status != "decayed":
        return
    if any(each.version == champion.version for each in situation.incidents("quality")):
        return
    text = tell_verdict(verdict, baseline_of(champion), rule.tolerance)
    bundle = workspace.served_bundle(champion)
    diagnosis = diagnose_decay(workspace.store, workspace.log, champion, signature, bundle, verdict, now=situation.now)
    incident = open_incident(
        workspace.store,
        model=situation.model,
        version=champion.version,
        rule="quality",
        severity="page",
        title=f"{champion.reference} is worse than promised",
        text=text,
        diagnosis=diagnosis.to_json(),
        evidence=verdict.to_json(),
        at=situation.now,
    )
    add_entry(workspace.store, incident, what="diagnosed", text=diagnosis.render(), at=situation.now, actor="monitor")
    yield f"opened an incident: {text}"


def _watch_estimate(situation: Situation) -> Iterator[str]:
    """Open a ticket when labels are outstanding and the scores let expect a loss over the limit; close it with them."""
    champion, workspace, rule = situation.champion, situation.workspace, situation.loop.monitor
    if champion is None:
        return
    signature = workspace.signature_of(champion.model, champion.version)
    found = outlook(workspace.log, champion, signature, rule, now=situation.now, at_least=PATIENCE)
    standing = situation.incidents("estimate")
    if found is not None and found.status == "over":
        if not any(each.version == champion.version for each in standing):
            open_incident(
                workspace.store,
                model=situation.model,
                version=champion.version,
                rule="estimate",
                severity="ticket",
                title=f"{champion.reference} is expected to be worse than promised",
                text=str(found),
                diagnosis={"suspect": "model", "reason": "requests became harder to answer; get labels to be sure"},
                evidence=found.to_json(),
                at=situation.now,
            )
            yield f"opened an incident: {found}"
        return
    for incident in standing:
        text = "labels have come" if found is None else str(found)
        move_incident(workspace.store, incident, "resolved", text=text, at=situation.now)
        yield f"closed the incident: {incident.title}"


def _answer_decay(situation: Situation) -> Iterator[str]:
    """Retrain, or advise it, for an incident of quality, within the guards."""
    for incident in situation.incidents("quality"):
        if incident.status == "mitigated" or situation.canary is not None:
            continue
        loop, store = situation.loop, situation.workspace.store
        if loop.retrain.mode == "suggest":
            if not any(entry.what == "suggested" for entry in incident.timeline):
                text = "retrain on newer rows: mainspring run loop.py"
                add_entry(store, incident, what="suggested", text=text, at=situation.now)
                yield f"suggested retraining for {incident.title}"
            continue
        yield from note_cut_short(situation, incident)
        incident = find_incident(store, incident.incident_id)
        waits = held_back(situation, incident)
        if waits:
            if not incident.timeline or incident.timeline[-1].text != waits:
                add_entry(store, incident, what="waiting", text=waits, at=situation.now)
            continue
        if incident.status == "triggered":
            incident = move_incident(store, incident, "acknowledged", text="the loop retrains", at=situation.now)
        yield from retrain_for(situation, incident)


def roll_out(situation: Situation) -> Iterator[str]:
    """Let the newest version that passed its gates and has its approvals serve: at once, or behind a canary."""
    store, model = situation.workspace.store, situation.model
    champion = situation.champion
    if situation.canary is not None:
        return
    deployed = {each.version for each in list_deployments(store, model)}
    for version in list_versions(store, model):
        if champion is not None and version.version <= champion.version:
            return
        if version.status != "ready" or version.version in deployed:
            continue
        if situation.loop.retrain.mode == "retrain" and version.created_by == "loop":
            continue
        if missing_approvals(situation.loop.approve, list_approvals(store, version)):
            continue
        if objections(store.read, model, "champion", version, Mover("loop", roles=None)):
            continue  # people have asked for more than the loop does
        if champion is None:
            put_live(store, version, reason="the first version that passed its gates", at=situation.now)
            yield f"put {version.reference} live"
        else:
            reason = "passed its gates and approvals"
            deployment = start_canary(store, version, situation.loop.rollout, reason=reason, at=situation.now)
            yield f"started a canary of {version.reference} with {deployment.weight:g} % of the traffic"
        return


def _close_incidents(situation: Situation) -> Iterator[str]:
    """Resolve what has been mitigated and stayed well for a bake."""
    store, champion = situation.workspace.store, situation.champion
    for rule in ("quality", "canary"):
        for incident in situation.incidents(rule):
            if incident.status != "mitigated":
                continue
            since = situation.now - from_iso(incident.timeline[-1].at)
            if since < situation.loop.rollout.bake:
                continue
            serving = "nothing" if champion is None else champion.reference
            text = f"{serving} has served for {since.total_seconds() / 86400:.1f} days without harm"
            move_incident(store, incident, "resolved", text=text, at=situation.now)
            yield f"closed the incident: {incident.title}"


#: What follows from what, in the order it is looked at. A reader who wants to know why the loop did something finds the
#: line here, the rows it looked at in the timeline, and the rule that made those rows in `monitor`.
POLICIES: tuple[Policy, ...] = (
    Policy("a canary is judged by its own traffic", _judge_canary),
    Policy("a rollback is reported", _report_rollbacks),
    Policy("a new champion ends the harm", _note_new_champion),
    Policy("a service that is not as usual is told", watch_operations_of),
    Policy("a broken source of inputs is told", watch_inputs_of),
    Policy("requests that could not be answered are told", watch_losses),
    Policy("labels that stay away are told", watch_labels),
    Policy("requests that come again are told", watch_repeats),
    Policy("live quality is watched", _watch_quality),
    Policy("quality is estimated where labels are outstanding", _watch_estimate),
    Policy("decay is answered", _answer_decay),
    Policy("a version may serve", roll_out),
    Policy("what stayed well is closed", _close_incidents),
)
