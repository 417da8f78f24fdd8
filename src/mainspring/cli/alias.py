"""`mainspring alias`: move aliases, undo moves, and say who may move them."""

import click

from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.deploy.promotion import move_alias, undo_move
from mainspring.domain.policy import Approval, by
from mainspring.registry.aliases import alias_history
from mainspring.registry.control import alias_rules, protect_alias, unprotect_alias
from mainspring.registry.models import find_model
from mainspring.registry.versions import find_champion, find_version
from mainspring.workspace import Workspace

__all__ = ["alias_command"]


@click.group("alias")
def alias_command() -> None:
    """Move the aliases of models, and say who may.

    \b
    Example:
      mainspring alias set late-flights staging 3 --reason "to be tried"
      mainspring alias protect late-flights champion --role reviewer --approvals reviewer:2
    """


@alias_command.command("set")
@click.argument("model")
@click.argument("alias")
@click.argument("version", type=int)
@click.option("--reason", default="by hand", show_default=True, help="Why.")
@click.option("--override", is_flag=True, help="Go past missing gates and approvals; needs a reason, is audited.")
def set_command(model: str, alias: str, version: int, reason: str, override: bool) -> None:
    """Point an alias at a version.

    \b
    Example:
      mainspring alias set late-flights champion 3
    """
    with Workspace() as workspace:
        found = find_version(workspace.store, f"{model}/{version}")
        why = "" if override and reason == "by hand" else reason
        move_alias(
            workspace.store,
            model,
            alias,
            found,
            mover=workspace.mover,
            reason=why,
            override=override,
            at=workspace.clock.now(),
        )
        _publish(workspace, model, alias)
        click.echo(f"{model}@{alias} is version {version}. Back: mainspring alias undo {model} {alias}")


@alias_command.command("remove")
@click.argument("model")
@click.argument("alias")
@click.option("--reason", default="by hand", show_default=True, help="Why.")
def remove_command(model: str, alias: str, reason: str) -> None:
    """Take an alias away.

    \b
    Example:
      mainspring alias remove late-flights staging
    """
    with Workspace() as workspace:
        find_model(workspace.store, model)
        at = workspace.clock.now()
        move_alias(workspace.store, model, alias, None, mover=workspace.mover, reason=reason, at=at)
        click.echo(f"{model}@{alias} points nowhere.")


@alias_command.command("undo")
@click.argument("model")
@click.argument("alias")
@click.option("--reason", default="undone by hand", show_default=True, help="Why.")
def undo_command(model: str, alias: str, reason: str) -> None:
    """Move an alias back to where it was before its last move.

    \b
    Example:
      mainspring alias undo late-flights staging
    """
    with Workspace() as workspace:
        at = workspace.clock.now()
        number = undo_move(workspace.store, model, alias, mover=workspace.mover, reason=reason, at=at)
        _publish(workspace, model, alias)
        click.echo(f"{model}@{alias} points {'nowhere' if number is None else f'at version {number}'} again.")


@alias_command.command("history")
@click.argument("model")
@click.argument("alias", required=False)
@json_option
def history_command(model: str, alias: str | None, as_json: bool) -> None:
    """Every move of an alias, or of all of a model.

    \b
    Example:
      mainspring alias history late-flights champion --json
    """
    with Workspace() as workspace:
        moves = alias_history(workspace.store, model, alias)
        if not moves:
            find_model(workspace.store, model)
    if as_json:
        print_json(moves)
        return
    rows = [[when(each.at), each.alias, each.version, each.actor, each.reason] for each in moves]
    print_table(["at", "alias", "version", "who", "why"], rows)


@alias_command.command("protect")
@click.argument("model")
@click.argument("alias")
@click.option("--role", "roles", multiple=True, help="A role that may move it; may be given again.")
@click.option("--gates", is_flag=True, help="Only to a version whose gates passed.")
@click.option("--approvals", metavar="ROLE:N", help="Only to a version that N people of a role approved.")
def protect_command(model: str, alias: str, roles: tuple[str, ...], gates: bool, approvals: str | None) -> None:
    """Say what the move of an alias asks for. MODEL may be '*' for every model.

    \b
    Example:
      mainspring alias protect late-flights champion --role operator --gates --approvals reviewer:2
    """
    with Workspace() as workspace:
        if model != "*":
            find_model(workspace.store, model)
        protect_alias(
            workspace.store,
            model,
            alias,
            roles=roles,
            gates=gates,
            approval=_approval(approvals),
            actor=workspace.actor,
            at=workspace.clock.now(),
        )
        click.echo(f"{model}@{alias} is protected.")


@alias_command.command("unprotect")
@click.argument("model")
@click.argument("alias")
def unprotect_command(model: str, alias: str) -> None:
    """Take away what people asked of an alias; what the model's loop asks stays.

    \b
    Example:
      mainspring alias unprotect late-flights champion
    """
    with Workspace() as workspace:
        gone = unprotect_alias(workspace.store, model, alias, actor=workspace.actor)
        click.echo(f"{model}@{alias} " + ("is no longer protected." if gone else "had no rule of people."))


@alias_command.command("rules")
@click.argument("model", required=False)
@json_option
def rules_command(model: str | None, as_json: bool) -> None:
    """List what the moves of aliases ask for.

    \b
    Example:
      mainspring alias rules late-flights
    """
    with Workspace() as workspace:
        rules = alias_rules(workspace.store.read, model)
    if as_json:
        print_json(rules)
        return
    rows = [
        [
            each.model,
            each.alias,
            ", ".join(each.roles),
            "passed" if each.gates else "",
            _said(each.approval),
            each.origin,
        ]
        for each in rules
    ]
    print_table(["model", "alias", "roles", "gates", "approvals", "made by"], rows, empty="No alias is protected.")


def _publish(workspace: Workspace, model: str, alias: str) -> None:
    """Let prediction servers follow a new champion, where it has files to serve."""
    champion = find_champion(workspace.store, model) if alias == "champion" else None
    if champion is not None and champion.is_made_here:
        workspace.publish(model)


def _approval(text: str | None) -> Approval | None:
    if text is None:
        return None
    role, _, count = text.partition(":")
    if count and not count.isdecimal():
        raise click.BadParameter(f"`{text}` is not ROLE:N", param_hint="--approvals")
    return by(role, count=int(count or 1))


def _said(approval: Approval) -> str:
    return "" if approval.role is None else f"{approval.count} {approval.role}"
