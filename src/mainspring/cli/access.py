"""`mainspring users`, `tokens`, `roles`: who may do what, kept in the workspace."""

import sys
from datetime import datetime, timedelta
from pathlib import Path

import click

from mainspring.access.roles import BUILT_IN, Grant, list_roles, remove_role, roles_of_document, set_role
from mainspring.access.tokens import create_token, list_tokens, revoke_token
from mainspring.access.users import create_user, list_users, set_password, set_roles, switch_user
from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.domain.moments import from_iso, parse_duration
from mainspring.errors import Invalid
from mainspring.workspace import Workspace

__all__ = ["roles_command", "tokens_command", "users_command"]


@click.group("users")
def users_command() -> None:
    """Keep users, their roles and passwords.

    \b
    Example:
      mainspring users create ada --role admin
      mainspring users set eve --role reviewer --role viewer
    """


@users_command.command("create")
@click.argument("name")
@click.option("--role", "roles", multiple=True, required=True, help="A role to hold; may be given again.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--no-password", is_flag=True, help="A user who comes in by tokens only.")
@click.option("--sso", is_flag=True, help="A user whom the configured issuer knows by this name.")
def create_user_command(name: str, roles: tuple[str, ...], password_stdin: bool, no_password: bool, sso: bool) -> None:
    """Make a user; the password is asked for, or read from standard input.

    \b
    Example:
      mainspring users create ada --role admin
      mainspring users create ci --role data-scientist --no-password
    """
    with Workspace() as workspace:
        password = None if no_password or sso else _password(password_stdin)
        at = workspace.clock.now()
        create_user(workspace.store, name, roles=roles, password=password, is_sso=sso, actor=workspace.actor, at=at)
        click.echo(f"{name} is a user, as {', '.join(sorted(roles))}.")


@users_command.command("list")
@json_option
def list_users_command(as_json: bool) -> None:
    """List users with their roles.

    \b
    Example:
      mainspring users list
    """
    with Workspace() as workspace:
        users = list_users(workspace.store)
    if as_json:
        print_json(users)
        return
    rows = [
        [each.name, ", ".join(each.roles), "" if each.is_active else "off", "yes" if each.is_sso else ""]
        for each in users
    ]
    print_table(
        ["name", "roles", "state", "sso"], rows, empty="No users yet: mainspring users create NAME --role admin"
    )


@users_command.command("set")
@click.argument("name")
@click.option("--role", "roles", multiple=True, help="A role to hold, in the place of those held; may be given again.")
@click.option("--password", "asks_password", is_flag=True, help="Ask for another password.")
@click.option("--password-stdin", is_flag=True, help="Read another password from standard input.")
@click.option("--on/--off", "is_active", default=None, help="Let the user in again, or no longer.")
def set_user_command(
    name: str, roles: tuple[str, ...], asks_password: bool, password_stdin: bool, is_active: bool | None
) -> None:
    """Change a user's roles or password, or switch the user off with all tokens.

    \b
    Example:
      mainspring users set eve --off
    """
    with Workspace() as workspace:
        store, actor = workspace.store, workspace.actor
        if roles:
            set_roles(store, name, roles, actor=actor)
        if asks_password or password_stdin:
            set_password(store, name, _password(password_stdin), actor=actor)
        if is_active is not None:
            switch_user(store, name, is_active=is_active, actor=actor)
        click.echo(f"{name} is changed.")


@click.group("tokens")
def tokens_command() -> None:
    """Make, list and revoke tokens.

    \b
    Example:
      mainspring tokens create --for ci --scope read --scope write:runs --expires 90d
    """


@tokens_command.command("create")
@click.option("--for", "owner", required=True, help="Whose token it is.")
@click.option("--name", default="", help="What it is for.")
@click.option("--scope", multiple=True, help="What it is good for: VERBS[:KIND[/NAME]]; default: all its owner may.")
@click.option("--expires", help="How long it lasts (90d, 12h), or until when.")
@json_option
def create_token_command(owner: str, name: str, scope: tuple[str, ...], expires: str | None, as_json: bool) -> None:
    """Make a token and show it, this once: only its hash is kept.

    \b
    Example:
      export MLFLOW_TRACKING_TOKEN=$(mainspring tokens create --for ci --expires 90d)
    """
    with Workspace() as workspace:
        now = workspace.clock.now()
        token, text = create_token(
            workspace.store,
            owner,
            name=name,
            scope=scope,
            lasts=None if expires is None else _lasts(expires, now),
            actor=workspace.actor,
            at=now,
        )
        if as_json:
            print_json({"token": text, "token_id": token.token_id, "expires_at": token.expires_at})
        else:
            click.echo(text)


@tokens_command.command("list")
@click.option("--for", "owner", help="Only of this user.")
@json_option
def list_tokens_command(owner: str | None, as_json: bool) -> None:
    """List tokens, without their secrets.

    \b
    Example:
      mainspring tokens list --for ci
    """
    with Workspace() as workspace:
        tokens = list_tokens(workspace.store, owner)
    if as_json:
        print_json(tokens)
        return
    rows = [
        [each.token_id, each.owner, each.name, " ".join(each.scope), when(each.expires_at), when(each.revoked_at)]
        for each in tokens
    ]
    print_table(["token", "of", "name", "scope", "expires", "revoked"], rows, empty="No tokens yet.")


@tokens_command.command("revoke")
@click.argument("token_id")
def revoke_token_command(token_id: str) -> None:
    """End a token at once.

    \b
    Example:
      mainspring tokens revoke 3f2a90c41b7e
    """
    with Workspace() as workspace:
        revoke_token(workspace.store, token_id, actor=workspace.actor, at=workspace.clock.now())
        click.echo(f"{token_id} lets nobody in any more.")


@click.group("roles")
def roles_command() -> None:
    """List roles, and keep roles of your own.

    \b
    Example:
      mainspring roles apply roles.yaml
    """


@roles_command.command("list")
@json_option
def list_roles_command(as_json: bool) -> None:
    """List every role with what it allows.

    \b
    Example:
      mainspring roles list
    """
    with Workspace() as workspace:
        roles = list_roles(workspace.store)
    if as_json:
        print_json(roles)
        return
    rows = [
        [each.name, "built in" if each.built_in else "yours", _said(grant)] for each in roles for grant in each.grants
    ]
    print_table(["role", "whose", "allows"], rows)


@roles_command.command("apply")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def apply_command(file: Path) -> None:
    """Keep the roles of a YAML file, in the place of earlier ones of their names.

    \b
    Example:
      mainspring roles apply roles.yaml
    """
    import yaml

    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid(f"The file is no YAML: {error}", where=str(file)) from error
    roles = roles_of_document(document)
    with Workspace() as workspace:
        for role in roles:
            set_role(workspace.store, role, actor=workspace.actor, at=workspace.clock.now())
    click.echo(f"Kept {', '.join(role.name for role in roles)}.")


@roles_command.command("remove")
@click.argument("name")
def remove_command(name: str) -> None:
    """Forget a role of your own.

    \b
    Example:
      mainspring roles remove steward
    """
    if name in BUILT_IN:
        raise Invalid(f"`{name}` is built in", next_step="take it from its users: mainspring users set NAME --role ...")
    with Workspace() as workspace:
        remove_role(workspace.store, name, actor=workspace.actor)
        click.echo(f"{name} is forgotten.")


def _password(from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _lasts(text: str, now: datetime) -> timedelta:
    try:
        return parse_duration(text)
    except Invalid:
        moment = f"{text}T00:00:00Z" if len(text) == 10 else text
        return from_iso(moment) - now


def _said(grant: Grant) -> str:
    where = [f"{key}={value}" for key, value in grant.tags.items()]
    where += [f"aliases {', '.join(grant.aliases)}"] if grant.aliases else []
    return f"{', '.join(grant.allow)} on {', '.join(grant.resources)}" + (
        f" where {' and '.join(where)}" if where else ""
    )
