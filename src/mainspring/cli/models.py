"""`mainspring models`, `promote`, `rollback`, `approve`: the registry on the command line."""

from typing import Any

import click

from mainspring.cli.output import json_option, print_fields, print_json, print_table, when
from mainspring.deploy.rollout import put_live, roll_back_champion
from mainspring.domain.policy import Approval
from mainspring.domain.version import ApprovalGiven, ModelVersion, parse_model
from mainspring.errors import GateFailed, Invalid
from mainspring.registry.aliases import alias_history
from mainspring.registry.approvals import approve, list_approvals, missing_approvals
from mainspring.registry.versions import find_version, gate_results, list_versions
from mainspring.store.events import Event
from mainspring.workspace import Workspace

__all__ = ["approve_command", "models_command", "promote_command", "rollback_command"]


@click.command("models")
@click.argument("reference", required=False)
@click.option("--history", is_flag=True, help="Every move of every alias of the model.")
@json_option
def models_command(reference: str | None, history: bool, as_json: bool) -> None:
    """List model versions, or show one with its gates and approvals.

    \b
    Example:
      mainspring models
      mainspring models late-flights@champion
      mainspring models late-flights --history
    """
    with Workspace() as workspace:
        store = workspace.store
        if history:
            if reference is None:
                raise Invalid("A history is of one model", next_step="mainspring models NAME --history")
            moves = alias_history(store, find_version(store, reference).model)
            if as_json:
                print_json(moves)
                return
            rows = [[when(each.at), each.alias, each.version, each.actor, each.reason] for each in moves]
            print_table(["at", "alias", "version", "who", "why"], rows)
            return
        if reference is not None and parse_model(reference)[1:] != (None, None):
            version = find_version(store, reference)
            gates, approvals = gate_results(store, version), list_approvals(store, version)
            if as_json:
                print_json({"version": version, "gates": gates, "approvals": approvals})
                return
            print_fields(
                {
                    "model version": version.reference,
                    "aliases": ", ".join(version.aliases),
                    "status": version.status,
                    "made": f"{when(version.created_at)} by {version.created_by}",
                    "run": version.run_id,
                    "bundle": version.bundle,
                    "chosen": f"{version.evidence.get('chosen', '')}: {version.evidence.get('reason', '')}",
                    "gates": {each.gate: f"{'passed' if each.passed else 'FAILED'}: {each.reason}" for each in gates},
                    "approvals": {each.approver: f"as {each.role}, {when(each.at)}" for each in approvals},
                }
            )
            return
        found = list_versions(store, reference)
        if reference is not None and not found:
            find_version(store, reference)  # raises with the nearest names
    if as_json:
        print_json(
            [
                {
                    "name": each.model,
                    "version": each.version,
                    "aliases": each.aliases,
                    "status": each.status,
                    "run_id": each.run_id,
                    "bundle": each.bundle,
                    "created_at": each.created_at,
                    "created_by": each.created_by,
                }
                for each in found
            ]
        )
        return
    rows = [
        [each.model, each.version, ", ".join(each.aliases), each.status, when(each.created_at), each.created_by]
        for each in found
    ]
    print_table(["model", "version", "aliases", "status", "made", "by"], rows, empty="No models yet: mainspring run")


@click.command("approve")
@click.argument("reference")
@click.option("--as", "approver", help="Who approves (default: you).")
@click.option("--role", default="reviewer", show_default=True, help="In which role.")
@click.option("--comment", default="", help="What you looked at.")
def approve_command(reference: str, approver: str | None, role: str, comment: str) -> None:
    """Agree that a model version may serve. Its author cannot.

    \b
    Example:
      mainspring approve late-flights/2 --comment "looked at the slices"
    """
    with Workspace() as workspace:
        version = find_version(workspace.store, reference)
        who = (approver or workspace.actor).strip()
        approve(workspace.store, version, approver=who, role=role, comment=comment, at=workspace.clock.now())
        click.echo(f"{who} approved {version.reference} as {role}. It serves at the loop's next look.")


@click.command("promote")
@click.argument("reference")
@click.option("--reason", default="", help="Why; needed to promote a version that its gates refused.")
@click.option("--override", is_flag=True, help="Promote although a gate refused it; audited.")
def promote_command(reference: str, reason: str, override: bool) -> None:
    """Make a version champion at once, without a canary.

    \b
    Example:
      mainspring promote late-flights/2
      mainspring promote late-flights/3 --override --reason "the hold-out had a storm"
    """
    with Workspace() as workspace:
        store, now = workspace.store, workspace.clock.now()
        version = find_version(store, reference)
        refused = [each for each in gate_results(store, version) if not each.passed]
        waits = _approvals_missing(version, list_approvals(store, version))
        if (refused or waits or version.status != "ready") and not override:
            said = "; ".join(f"{each.gate}: {each.reason}" for each in refused) or waits
            said = said or f"its status is {version.status}"
            raise GateFailed(
                f"{version.reference} may not serve: {said}",
                next_step=f"mainspring promote {version.reference} --override --reason WHY",
            )
        if override and not reason:
            raise Invalid("An override needs a reason", where="--reason", next_step='say --reason "why"')
        if override:
            details = {"reason": reason, "gates": [each.gate for each in refused]}
            store.change(Event("model.overridden", f"models/{version.reference}", details), lambda _: None)
        put_live(store, version, reason=reason or "promoted by hand", at=now, actor=workspace.actor)
        workspace.publish(version.model)
        click.echo(f"{version.reference} is champion. Back: mainspring rollback {version.model}")


def _approvals_missing(version: ModelVersion, given: list[ApprovalGiven]) -> str:
    """Say whose approval the version's loop asks for and has not got; an empty text when nobody's."""
    asked: dict[str, Any] = dict(version.evidence.get("approval") or {})  # type: ignore[call-overload]  # by submit
    wanted = Approval(asked.get("role"), int(asked.get("count", 1)))
    missing = missing_approvals(wanted, given)
    return f"it waits for the approval of {missing} {wanted.role}" if missing else ""


@click.command("rollback")
@click.argument("model")
@click.option("--reason", default="rolled back by hand", show_default=True, help="Why.")
def rollback_command(model: str, reason: str) -> None:
    """Make the champion before this one champion again; a canary that is under way ends.

    \b
    Example:
      mainspring rollback late-flights --reason "answers look wrong"
    """
    with Workspace() as workspace:
        name = find_version(workspace.store, model).model
        number = roll_back_champion(
            workspace.store, name, reason=reason, at=workspace.clock.now(), actor=workspace.actor
        )
        workspace.publish(name)
        click.echo(f"{name}/{number} is champion again.")
