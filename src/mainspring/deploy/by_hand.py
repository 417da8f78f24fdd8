"""Rollouts that people steer: a share of the traffic for a version, a shadow beside the answers, and their end.

The same table and the same canary as the loop's: a loop that watches the model goes on judging what was started here.
"""

from datetime import datetime

from mainspring.deploy.rollout import active_canary, find_deployment, read_deployments, roll_back, still_canary
from mainspring.domain.deployment import Deployment
from mainspring.domain.ids import new_id
from mainspring.domain.moments import to_iso
from mainspring.domain.version import ModelVersion
from mainspring.errors import Conflict, NotFound
from mainspring.registry.aliases import alias_now
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["active_shadows", "set_share", "start_shadow", "stop_rollouts"]


def active_shadows(store: Store, model: str) -> list[Deployment]:
    """Return the shadows that are under way."""
    return read_deployments(store, "WHERE model = ? AND status = 'shadow' ORDER BY started_at", model)


def set_share(store: Store, model: str, percent: float, *, reason: str, at: datetime, actor: str) -> Deployment:
    """Give the canary that is under way another share of the traffic.

    Raises:
        NotFound: no canary is under way.
        Conflict: it ended meanwhile.
    """
    canary = active_canary(store, model)
    if canary is None:
        raise NotFound(f"No canary of `{model}` is under way", next_step=f"mainspring rollout start {model}/VERSION")

    def write(transaction: Transaction) -> None:
        still_canary(transaction, canary)
        transaction.execute(
            "UPDATE deployments SET weight = ?, stage_at = ? WHERE deployment_id = ?",
            (percent, to_iso(at), canary.deployment_id),
        )

    details = {"weight": percent, "reason": reason}
    store.change(Event("canary.advanced", f"models/{model}/{canary.version}", details, actor=actor), write)
    return find_deployment(store, canary.deployment_id)


def start_shadow(
    store: Store, version: ModelVersion, percent: float, *, reason: str, at: datetime, actor: str
) -> Deployment:
    """Let a version compute a share of the requests once more; its answers are logged and never given.

    Raises:
        Conflict: it answers already, or is a shadow.
    """
    identifier, moment, model, number = new_id(), to_iso(at), version.model, version.version

    def write(transaction: Transaction) -> None:
        standing = transaction.execute(
            "SELECT status FROM deployments WHERE model = ? AND version = ? AND status IN ('canary', 'shadow')",
            (model, number),
        )
        if standing or alias_now(transaction, model, "champion") == number:
            what = standing[0][0] if standing else "champion"
            raise Conflict(f"{version.reference} is {what} already", next_step=f"mainspring rollout show {model}")
        transaction.execute(
            "INSERT INTO deployments (deployment_id, model, version, status, stage, weight, started_at, stage_at,"
            " ended_at, reason, state) VALUES (?, ?, ?, 'shadow', 0, ?, ?, ?, NULL, ?, '{}')",
            (identifier, model, number, percent, moment, moment, reason),
        )

    details = {"weight": percent, "reason": reason}
    store.change(Event("shadow.started", f"models/{version.reference}", details, actor=actor), write)
    return find_deployment(store, identifier)


def stop_rollouts(
    store: Store, model: str, version: int | None, *, reason: str, at: datetime, actor: str
) -> list[Deployment]:
    """End the canary and the shadows of a model, or of one of its versions; the champion answers everything.

    Raises:
        NotFound: none is under way.
    """
    canary = active_canary(store, model)
    found = [*([] if canary is None else [canary]), *active_shadows(store, model)]
    chosen = [each for each in found if version is None or each.version == version]
    if not chosen:
        raise NotFound(f"No canary or shadow of `{model}` is under way", next_step=f"mainspring rollout show {model}")
    for each in chosen:
        if each.status == "canary":
            roll_back(store, each, reason=reason, evidence={}, at=at, actor=actor)
        else:
            _end_shadow(store, each, reason, at, actor)
    return chosen


def _end_shadow(store: Store, shadow: Deployment, reason: str, at: datetime, actor: str) -> None:
    def write(transaction: Transaction) -> None:
        transaction.execute(
            "UPDATE deployments SET status = 'ended', ended_at = ?, reason = ? WHERE deployment_id = ?",
            (to_iso(at), reason, shadow.deployment_id),
        )

    subject = f"models/{shadow.model}/{shadow.version}"
    store.change(Event("shadow.ended", subject, {"reason": reason}, actor=actor), write)
