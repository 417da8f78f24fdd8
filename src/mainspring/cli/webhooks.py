"""`mainspring webhooks`: who is told what happens here."""

import sys

import click

from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.config import value_of
from mainspring.notify.courier import try_webhook
from mainspring.notify.deliveries import list_deliveries
from mainspring.notify.forms import MAIL, split_form
from mainspring.notify.news import NEWS, example_of
from mainspring.notify.webhooks import (
    Webhook,
    WebhookChange,
    create_webhook,
    delete_webhook,
    find_webhook,
    list_webhooks,
    new_secret,
    parse_threshold,
    update_webhook,
)
from mainspring.workspace import Workspace

__all__ = ["webhooks_command"]


@click.group("webhooks")
def webhooks_command() -> None:
    """Tell other programs, chats and people what happens. The control server does the telling.

    \b
    Example:
      mainspring webhooks create ci https://ci.example.org/hook --event deployment.live
      mainspring webhooks deliveries ID
    """


@webhooks_command.command("create")
@click.argument("name")
@click.argument("url")
@click.option("--event", "events", multiple=True, required=True, help="What to tell; may be given again.")
@click.option("--description", default="", help="What it is for.")
@click.option("--unsigned", is_flag=True, help="Make no secret; nobody can tell that a delivery is from here.")
@click.option("--secret-stdin", is_flag=True, help="Read the secret from standard input; of mail, the password.")
@click.option("--threshold", metavar="'METRIC < VALUE'", help="For metric.crossed: when.")
@click.option("--experiment", default="", help="For metric.crossed: of whose runs.")
@json_option
def create_command(
    name: str,
    url: str,
    events: tuple[str, ...],
    description: str,
    unsigned: bool,
    secret_stdin: bool,
    threshold: str | None,
    experiment: str,
    as_json: bool,
) -> None:
    """Make a webhook and show the secret that signs its deliveries, this once.

    URL is https://..., slack:https://..., alertmanager:http://..., smtp://USER@HOST:587/?from=...&to=... for mail, or
    apprise:... for one of the many services of apprise (needs mainspring[notify]).

    \b
    Example:
      mainspring webhooks create ci https://ci.example.org/hook --event deployment.live --event incident.opened
      mainspring webhooks create best https://ci.example.org/hook --event metric.crossed \\
        --threshold "val_auc > 0.9" --experiment churn
      mainspring webhooks create mail "smtp://bot@mail.example.org/?from=bot@example.org&to=ops@example.org" \\
        --event incident.opened --event incident.resolved --secret-stdin < password.txt
      mainspring webhooks create chat apprise:slack://TokenA/TokenB/TokenC --event incident.opened --unsigned
    """
    is_mail = split_form(url)[0] in MAIL
    secret = "" if unsigned or is_mail else new_secret()
    if secret_stdin:
        secret = sys.stdin.readline().rstrip("\n")
    with Workspace() as workspace:
        webhook = create_webhook(
            workspace.store,
            name,
            url,
            events,
            description=description,
            secret=secret,
            threshold=None if threshold is None else parse_threshold(threshold, experiment),
            allow_private=_allow_private(),
            actor=workspace.actor,
            at=workspace.clock.now(),
        )
    if as_json:
        print_json({**_shown(webhook), "secret": "" if secret_stdin else secret})
        return
    click.echo(f"{webhook.webhook_id} is told {', '.join(webhook.events)}.")
    if secret and not secret_stdin:
        click.echo(f"Its secret, shown once: {secret}")


@webhooks_command.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List webhooks.

    \b
    Example:
      mainspring webhooks list --json
    """
    with Workspace() as workspace:
        found = list_webhooks(workspace.store)
    if as_json:
        print_json([_shown(each) for each in found])
        return
    rows = [[each.webhook_id, each.name, each.shown_url, ", ".join(each.events), each.status] for each in found]
    print_table(["webhook", "name", "url", "events", "status"], rows, empty="Nobody is told anything yet.")


@webhooks_command.command("events")
def events_command() -> None:
    """List what can be told.

    \b
    Example:
      mainspring webhooks events
    """
    for name in NEWS:
        click.echo(name)


@webhooks_command.command("deliveries")
@click.argument("webhook_id")
@click.option("--limit", default=100, show_default=True, help="At most so many, the newest.")
@json_option
def deliveries_command(webhook_id: str, limit: int, as_json: bool) -> None:
    """List what was, or is to be, told to a webhook, and what came of it.

    \b
    Example:
      mainspring webhooks deliveries 5f0c...
    """
    with Workspace() as workspace:
        find_webhook(workspace.store, webhook_id)
        found = list_deliveries(workspace.store, webhook_id, limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        [when(each.created_at), each.event, each.status, each.attempts, each.response_status, each.error[:60]]
        for each in found
    ]
    print_table(["at", "event", "status", "tries", "answer", "error"], rows, empty="Nothing was told yet.")


@webhooks_command.command("test")
@click.argument("webhook_id")
def test_command(webhook_id: str) -> int:
    """Send an example to a webhook now and tell what it answered; exit code 1 when it was not taken.

    \b
    Example:
      mainspring webhooks test 5f0c...
    """
    with Workspace() as workspace:
        webhook = find_webhook(workspace.store, webhook_id)
        sent = try_webhook(
            workspace.store,
            webhook,
            webhook.events[0],
            example_of(webhook.events[0]),
            clock=workspace.clock,
            allow_private=_allow_private(),
        )
    click.echo(f"{sent.status} {sent.body}" if sent.status is not None else f"Not sent: {sent.error}")
    return 0 if sent.status is not None and sent.status < 300 else 1


@webhooks_command.command("set")
@click.argument("webhook_id")
@click.option("--event", "events", multiple=True, help="What to tell, in the place of what was told.")
@click.option("--url", help="Another address.")
@click.option("--on/--off", "is_active", default=None, help="Tell it again, or no longer.")
def set_command(webhook_id: str, events: tuple[str, ...], url: str | None, is_active: bool | None) -> None:
    """Change a webhook.

    \b
    Example:
      mainspring webhooks set 5f0c... --off
    """
    status = None if is_active is None else "ACTIVE" if is_active else "DISABLED"
    change = WebhookChange(url=url, events=events or None, status=status)
    with Workspace() as workspace:
        actor, at = workspace.actor, workspace.clock.now()
        update_webhook(workspace.store, webhook_id, change, allow_private=_allow_private(), actor=actor, at=at)
        click.echo(f"{webhook_id} is changed.")


@webhooks_command.command("delete")
@click.argument("webhook_id")
def delete_command(webhook_id: str) -> None:
    """Delete a webhook with its deliveries.

    \b
    Example:
      mainspring webhooks delete 5f0c...
    """
    with Workspace() as workspace:
        delete_webhook(workspace.store, webhook_id, actor=workspace.actor)
        click.echo(f"{webhook_id} is told nothing any more.")


def _allow_private() -> bool:
    return value_of("webhooks_private") == "on"


def _shown(webhook: Webhook) -> dict[str, object]:
    return {
        "webhook_id": webhook.webhook_id,
        "name": webhook.name,
        "url": webhook.shown_url,
        "events": webhook.events,
        "status": webhook.status,
        "threshold": webhook.threshold,
        "description": webhook.description,
        "created_at": webhook.created_at,
    }
