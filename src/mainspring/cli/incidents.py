"""`mainspring incidents`: what is wrong, whose it is, what was done, and the draft of a post-mortem."""

import click

from mainspring.cli.listed import ListedByDefault
from mainspring.cli.output import json_option, print_fields, print_json, print_table, short, when
from mainspring.cli.silences import silence_command, silences_command, unsilence_command
from mainspring.domain.incident import Incident, IncidentStatus
from mainspring.monitor.incidents import add_entry, assign_incident, find_incident, list_incidents, move_incident
from mainspring.monitor.postmortem import draft_postmortem
from mainspring.workspace import Workspace

__all__ = ["incidents_command"]

_note_option = click.option("--note", default="", help="A line for the timeline.")


@click.group("incidents", cls=ListedByDefault)
def incidents_command() -> None:
    """List incidents, or show one with its timeline; take, hand over and close them.

    ID is an incident's id, or at least four digits of its start or end.

    \b
    Example:
      mainspring incidents --open
      mainspring incidents 3f2a91bc
      mainspring incidents ack 3f2a91bc --note "looking at the weather feed"
      mainspring incidents postmortem 3f2a91bc > postmortem.md
    """


for _command in (silence_command, silences_command, unsilence_command):
    incidents_command.add_command(_command)


@incidents_command.command("list")
@click.argument("incident_id", metavar="[ID]", required=False)
@click.option("--open", "only_open", is_flag=True, help="Only incidents that still want something.")
@json_option
def list_command(incident_id: str | None, only_open: bool, as_json: bool) -> None:
    """List incidents, or show one.

    \b
    Example:
      mainspring incidents list --open --json
    """
    with Workspace() as workspace:
        if incident_id is not None:
            _print(find_incident(workspace.store, incident_id), as_json)
            return
        found = list_incidents(workspace.store, only_open=only_open)
    if as_json:
        print_json(found)
        return
    rows = [
        [
            short(each.incident_id),
            each.status,
            each.severity,
            each.owner,
            when(each.opened_at),
            when(each.closed_at),
            each.title,
        ]
        for each in found
    ]
    print_table(["incident", "status", "severity", "owner", "opened", "closed", "what"], rows, empty="No incidents.")


@incidents_command.command("show")
@click.argument("incident_id", metavar="ID")
@json_option
def show_command(incident_id: str, as_json: bool) -> None:
    """Show an incident with its diagnosis and timeline.

    \b
    Example:
      mainspring incidents show 3f2a91bc
    """
    with Workspace() as workspace:
        _print(find_incident(workspace.store, incident_id), as_json)


@incidents_command.command("ack")
@click.argument("incident_id", metavar="ID")
@_note_option
@json_option
def ack_command(incident_id: str, note: str, as_json: bool) -> None:
    """Say that somebody is on it.

    \b
    Example:
      mainspring incidents ack 3f2a91bc --note "looking at the weather feed"
    """
    _move(incident_id, "acknowledged", note, as_json)


@incidents_command.command("mitigate")
@click.argument("incident_id", metavar="ID")
@_note_option
@json_option
def mitigate_command(incident_id: str, note: str, as_json: bool) -> None:
    """Say that users no longer suffer.

    \b
    Example:
      mainspring incidents mitigate 3f2a91bc --note "the feed is back"
    """
    _move(incident_id, "mitigated", note, as_json)


@incidents_command.command("resolve")
@click.argument("incident_id", metavar="ID")
@_note_option
@json_option
def resolve_command(incident_id: str, note: str, as_json: bool) -> None:
    """Close an incident for good; the next alarm opens another.

    \b
    Example:
      mainspring incidents resolve 3f2a91bc --note "the feed is checked at arrival now"
    """
    _move(incident_id, "resolved", note, as_json)


@incidents_command.command("assign")
@click.argument("incident_id", metavar="ID")
@click.argument("owner")
@_note_option
@json_option
def assign_command(incident_id: str, owner: str, note: str, as_json: bool) -> None:
    """Hand an open incident to a person or a team.

    \b
    Example:
      mainspring incidents assign 3f2a91bc weather-team --note "the station sends Celsius"
    """
    with Workspace() as workspace:
        store, now = workspace.store, workspace.clock.now()
        incident = find_incident(store, incident_id)
        _print(assign_incident(store, incident, owner, text=note, at=now, actor=workspace.actor), as_json)


@incidents_command.command("note")
@click.argument("incident_id", metavar="ID")
@click.argument("text")
@json_option
def note_command(incident_id: str, text: str, as_json: bool) -> None:
    """Add a line to an incident's timeline, open or closed.

    \b
    Example:
      mainspring incidents note 3f2a91bc "the vendor confirms: new firmware on 3 May"
    """
    with Workspace() as workspace:
        store, now = workspace.store, workspace.clock.now()
        incident = find_incident(store, incident_id)
        add_entry(store, incident, what="note", text=text, at=now, actor=workspace.actor)
        _print(find_incident(store, incident.incident_id), as_json)


@incidents_command.command("postmortem")
@click.argument("incident_id", metavar="ID")
@json_option
def postmortem_command(incident_id: str, as_json: bool) -> None:
    """Draft a post-mortem in Markdown from what is recorded; what only people know is left to be filled in.

    \b
    Example:
      mainspring incidents postmortem 3f2a91bc > postmortem.md
    """
    with Workspace() as workspace:
        incident = find_incident(workspace.store, incident_id)
    text = draft_postmortem(incident)
    if as_json:
        print_json({"incident_id": incident.incident_id, "markdown": text})
        return
    click.echo(text, nl=False)


def _move(incident_id: str, status: IncidentStatus, note: str, as_json: bool) -> None:
    with Workspace() as workspace:
        store, now = workspace.store, workspace.clock.now()
        incident = find_incident(store, incident_id)
        moved = move_incident(store, incident, status, text=note or "by hand", at=now, actor=workspace.actor)
        _print(moved, as_json)


def _told(quiet: str) -> str:
    if not quiet:
        return "who asked to be"
    return "nobody: it is silenced" if quiet == "silence" else "nobody: it may follow from broken input"


def _print(incident: Incident, as_json: bool) -> None:
    if as_json:
        print_json(incident)
        return
    print_fields(
        {
            "incident": incident.incident_id,
            "what": incident.title,
            "status": f"{incident.status}, {incident.severity}",
            "told": _told(incident.quiet),
            "owner": incident.owner or "nobody",
            "opened": when(incident.opened_at),
            "closed": when(incident.closed_at),
            "suspect": incident.diagnosis.get("suspect", ""),
            "because": incident.diagnosis.get("reason", ""),
        }
    )
    click.echo("timeline:")
    for entry in incident.timeline:
        click.echo(f"  {when(entry.at)}  {entry.actor}  {entry.what}: {entry.text}")
