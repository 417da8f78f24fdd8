"""`mainspring models`, `promote`, `rollback`, `approve`, `comment`: the registry on the command line."""

import click

from mainspring.access.users import check_holds
from mainspring.cli.listed import ListedByDefault
from mainspring.cli.output import json_option, print_fields, print_json, print_table, when
from mainspring.cli.register import register_command
from mainspring.deploy.promotion import erase_model, erase_version, move_alias
from mainspring.deploy.rollout import roll_back_champion
from mainspring.domain.moments import end_of, to_iso
from mainspring.domain.version import ModelVersion, parse_model
from mainspring.errors import Invalid
from mainspring.registry.aliases import alias_history, version_at
from mainspring.registry.approvals import approve, list_approvals
from mainspring.registry.comments import comment_on, list_comments
from mainspring.registry.evidence import gate_results
from mainspring.registry.models import (
    ModelChange,
    find_model,
    set_model_tag,
    unset_model_tag,
    update_model,
)
from mainspring.registry.versions import (
    describe_version,
    find_version,
    list_versions,
    set_version_tag,
    unset_version_tag,
)
from mainspring.store.protocol import Store
from mainspring.workspace import Workspace

__all__ = ["approve_command", "comment_command", "models_command", "promote_command", "rollback_command"]


@click.group("models", cls=ListedByDefault)
def models_command() -> None:
    """List model versions, or show one with its gates and approvals.

    \b
    Example:
      mainspring models
      mainspring models late-flights@champion
      mainspring models history late-flights --as-of 2026-05-03
    """


models_command.add_command(register_command)


@models_command.command("list")
@click.argument("reference", required=False)
@click.option("--history", is_flag=True, help="The same as `mainspring models history`.")
@json_option
def list_command(reference: str | None, history: bool, as_json: bool) -> None:
    """List model versions, or show one: NAME, NAME/VERSION or NAME@ALIAS.

    \b
    Example:
      mainspring models list late-flights --json
    """
    if history:
        if reference is None:
            raise Invalid("A history is of one model", next_step="mainspring models history NAME")
        _tell_history(parse_model(reference)[0], None, None, as_json)
        return
    with Workspace() as workspace:
        store = workspace.store
        if reference is not None and parse_model(reference)[1:] != (None, None):
            _show(store, find_version(store, reference), as_json)
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
                    "stage": each.stage,
                    "run_id": each.run_id,
                    "bundle": each.bundle,
                    "source": each.source,
                    "description": each.description,
                    "tags": each.tags,
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


def _show(store: Store, version: ModelVersion, as_json: bool) -> None:
    gates, approvals, comments = (
        gate_results(store, version),
        list_approvals(store, version),
        list_comments(store, version),
    )
    if as_json:
        print_json({"version": version, "gates": gates, "approvals": approvals, "comments": comments})
        return
    print_fields(
        {
            "model version": version.reference,
            "aliases": ", ".join(version.aliases),
            "status": version.status,
            "made": f"{when(version.created_at)} by {version.created_by}",
            "run": version.run_id,
            "bundle": version.bundle,
            "source": version.source,
            "description": version.description,
            "chosen": f"{version.evidence.get('chosen', '')}: {version.evidence.get('reason', '')}",
            "gates": {each.gate: f"{'passed' if each.passed else 'FAILED'}: {each.reason}" for each in gates},
            "approvals": {each.approver: f"as {each.role}, {when(each.at)}" for each in approvals},
            "comments": {f"{each.author}, {when(each.at)}": each.text for each in comments},
        }
    )


@models_command.command("history")
@click.argument("model")
@click.option("--alias", help="Only this alias.")
@click.option("--as-of", "as_of", help="Where each alias pointed at that moment: a date, or ISO 8601.")
@json_option
def history_command(model: str, alias: str | None, as_of: str | None, as_json: bool) -> None:
    """Every move of every alias of a model, or where they pointed at a moment.

    \b
    Example:
      mainspring models history late-flights
      mainspring models history late-flights --as-of 2026-05-03T14:00:00Z
    """
    _tell_history(model, alias, as_of, as_json)


def _tell_history(model: str, alias: str | None, as_of: str | None, as_json: bool) -> None:
    with Workspace() as workspace:
        moves = alias_history(workspace.store, model, alias)
        if not moves:
            find_model(workspace.store, model)  # raises with the nearest names; the aliases of a deleted one stay known
        if as_of is not None:
            moment = end_of(as_of)
            at = {name: version_at(workspace.store, model, name, moment) for name in {each.alias for each in moves}}
            pointed = {name: number for name, number in sorted(at.items()) if number is not None}
            if as_json:
                print_json({"model": model, "as_of": to_iso(moment), "aliases": pointed})
            else:
                print_table(["alias", "version"], list(pointed.items()), empty="No alias pointed anywhere.")
            return
    if as_json:
        print_json(moves)
        return
    rows = [[when(each.at), each.alias, each.version, each.actor, each.reason] for each in moves]
    print_table(["at", "alias", "version", "who", "why"], rows)


@models_command.command("set")
@click.argument("reference")
@click.option("--description", help="What it is; of the model, or of a version.")
@click.option("--owner", help="Who answers for the model.")
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag; an empty value takes it away.")
def set_command(reference: str, description: str | None, owner: str | None, tags: tuple[str, ...]) -> None:
    """Change what is said of a model or a version: description, owner, tags.

    \b
    Example:
      mainspring models set late-flights --owner ada --tag team=operations
      mainspring models set late-flights/3 --description "with the weather"
    """
    with Workspace() as workspace:
        store, actor, at = workspace.store, workspace.actor, workspace.clock.now()
        number = parse_model(reference)[1:] != (None, None)
        version = find_version(store, reference) if number else None
        if version is not None and owner is not None:
            raise Invalid("An owner is of a whole model", next_step=f"mainspring models set {version.model} --owner")
        if version is not None and description is not None:
            describe_version(store, version, description, actor=actor, at=at)
        if version is None:
            update_model(store, reference, ModelChange(description, owner), actor=actor, at=at)
        for each in tags:
            key, equals, value = each.partition("=")
            if not key or not equals:
                raise Invalid(f"`{each}` is no tag", where="--tag", next_step="write KEY=VALUE")
            if version is not None:
                if value:
                    set_version_tag(store, version, key, value, actor=actor)
                else:
                    unset_version_tag(store, version, key, actor=actor)
            elif value:
                set_model_tag(store, reference, key, value, actor=actor)
            else:
                unset_model_tag(store, reference, key, actor=actor)
        click.echo(f"{reference} is changed.")


@models_command.command("delete")
@click.argument("reference")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_command(reference: str, yes: bool) -> None:
    """Delete a version, or a model with all its versions. What is in use is refused; the deletion is audited.

    \b
    Example:
      mainspring models delete late-flights/2
    """
    with Workspace() as workspace:
        store, actor, at = workspace.store, workspace.actor, workspace.clock.now()
        if not yes:
            click.confirm(f"Delete {reference} and its evidence for ever?", abort=True)
        if parse_model(reference)[1:] == (None, None):
            count = erase_model(store, reference, actor=actor, at=at)
            click.echo(f"{reference} and its {count} versions are deleted.")
            return
        version = find_version(store, reference)
        erase_version(store, version, actor=actor, at=at)
        click.echo(f"{version.reference} is deleted.")


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
        check_holds(workspace.store, who, role)
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
        version = find_version(workspace.store, reference)
        move_alias(
            workspace.store,
            version.model,
            "champion",
            version,
            mover=workspace.mover,
            reason=reason or ("" if override else "promoted by hand"),
            override=override,
            at=workspace.clock.now(),
        )
        if version.is_made_here:
            workspace.publish(version.model)
        click.echo(f"{version.reference} is champion. Back: mainspring rollback {version.model}")


@click.command("comment")
@click.argument("reference")
@click.argument("text")
def comment_command(reference: str, text: str) -> None:
    """Say something of a model version; everybody who looks at it reads it.

    \b
    Example:
      mainspring comment late-flights/3 "the storm week is in its training part"
    """
    with Workspace() as workspace:
        version = find_version(workspace.store, reference)
        comment_on(workspace.store, version, text, author=workspace.actor, at=workspace.clock.now())
        click.echo(f"{workspace.actor} commented on {version.reference}.")


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
