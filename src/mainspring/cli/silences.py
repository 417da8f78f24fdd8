"""`mainspring incidents silence`, `silences`, `unsilence`: for a while, tell nobody."""

import click

from mainspring.cli.output import json_option, print_json, print_table, short, when
from mainspring.domain.moments import parse_duration
from mainspring.monitor.silences import end_silence, list_silences, start_silence
from mainspring.workspace import Workspace

__all__ = ["silence_command", "silences_command", "unsilence_command"]


@click.command("silence")
@click.argument("pattern")
@click.option("--for", "lasts", required=True, metavar="DURATION", help="How long: 2h, 3d; at most 90d.")
@click.option("--reason", required=True, help="Why; kept in the audit log.")
@json_option
def silence_command(pattern: str, lasts: str, reason: str, as_json: bool) -> None:
    """Tell nobody of incidents of PATTERN for a while: MODEL, or MODEL/VERSION/RULE with * and ?.

    A bare MODEL must be known. What only an Alertmanager knows is silenced as "NAME/*".
    Incidents are opened, recorded and acted on all the same; only webhooks, chats and mail stay quiet.

    \b
    Example:
      mainspring incidents silence late-flights --for 2h --reason "the weather feed is being moved"
      mainspring incidents silence "*/*/latency" --for 1d --reason "load test"
    """
    with Workspace() as workspace:
        made = start_silence(
            workspace.store,
            pattern,
            lasts=parse_duration(lasts),
            reason=reason,
            author=workspace.actor,
            at=workspace.clock.now(),
        )
    if as_json:
        print_json(made)
        return
    click.echo(f"{made.pattern} is silent until {when(made.ends_at)}.")
    click.echo(f"Undo: mainspring incidents unsilence {short(made.silence_id)}")


@click.command("silences")
@click.option("--all", "every", is_flag=True, help="Also those that are over.")
@json_option
def silences_command(every: bool, as_json: bool) -> None:
    """List silences that hold.

    \b
    Example:
      mainspring incidents silences --all --json
    """
    with Workspace() as workspace:
        found = list_silences(workspace.store, at=None if every else workspace.clock.now())
    if as_json:
        print_json(found)
        return
    rows = [
        [short(each.silence_id), each.pattern, when(each.starts_at), when(each.ends_at), each.author, each.reason]
        for each in found
    ]
    print_table(["silence", "of", "from", "until", "by", "why"], rows, empty="Nothing is silenced.")


@click.command("unsilence")
@click.argument("silence_id", metavar="ID")
def unsilence_command(silence_id: str) -> None:
    """End a silence before its time.

    \b
    Example:
      mainspring incidents unsilence 3f2a91bc
    """
    with Workspace() as workspace:
        ended = end_silence(workspace.store, silence_id, actor=workspace.actor, at=workspace.clock.now())
    click.echo(f"{ended.pattern} is silent no more.")
