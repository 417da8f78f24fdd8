"""`mainspring audit`: read the log of who changed what, and prove that nobody altered it."""

import click

from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.errors import Invalid
from mainspring.store.events import events, verify_chain
from mainspring.workspace import Workspace

__all__ = ["audit_command"]


@click.group("audit")
def audit_command() -> None:
    """Read the audit log, and verify its chain.

    \b
    Example:
      mainspring audit verify
      mainspring audit list --subject "models/late-flights*" --verb "alias.*"
    """


@audit_command.command("verify")
@click.option("--noted", metavar="NUMBER:HASH", help="An entry written down elsewhere, which must be in the chain.")
@json_option
def verify_command(noted: str | None, as_json: bool) -> None:
    """Recompute every hash of the chain; exit code 3 when an entry was altered, removed or put in.

    \b
    Example:
      mainspring audit verify --noted 812:9f2c...
    """
    known = None
    if noted is not None:
        number, _, seal = noted.partition(":")
        if not number.isdecimal() or not seal:
            raise Invalid(f"`{noted}` is not NUMBER:HASH", where="--noted")
        known = (int(number), seal)
    with Workspace() as workspace:
        count = verify_chain(workspace.store, noted=known)
        last = events(workspace.store, after=count - 1, limit=1)
    seal = last[0].hash if last else ""
    if as_json:
        print_json({"entries": count, "last_hash": seal, "verified": True})
        return
    click.echo(f"{count} entries, and the chain holds.")
    if last:
        click.echo(f"Write this down elsewhere: {count}:{seal}")


@audit_command.command("list")
@click.option("--subject", help="What it was done to; with * at the end: whatever begins so.")
@click.option("--verb", help="What was done; with * at the end: whatever begins so.")
@click.option("--actor", help="Who did it.")
@click.option("--after", default=0, show_default=True, help="Only entries behind this number.")
@click.option("--limit", default=100, show_default=True, help="At most so many, the newest.")
@json_option
def list_command(
    subject: str | None, verb: str | None, actor: str | None, after: int, limit: int, as_json: bool
) -> None:
    """List entries of the audit log, oldest first.

    \b
    Example:
      mainspring audit list --verb "access.*" --json
    """
    with Workspace() as workspace:
        found = events(workspace.store, subject=subject, verb=verb, after=after)
    found = [each for each in found if actor is None or each.actor == actor][-limit:]
    if as_json:
        print_json(found)
        return
    rows = [[each.number, when(each.at), each.actor, each.verb, each.subject, _said(each.details)] for each in found]
    print_table(["number", "at", "who", "what", "to", "details"], rows, empty="No such entries.")


def _said(details: dict[str, object]) -> str:
    text = ", ".join(f"{key}={value}" for key, value in details.items() if value not in (None, "", [], {}))
    return text if len(text) <= 100 else text[:99] + "…"
