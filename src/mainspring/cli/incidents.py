"""`mainspring incidents`: what is wrong, what was done, and by whom."""

import click

from mainspring.cli.output import json_option, print_fields, print_json, print_table, short, when
from mainspring.domain.incident import IncidentStatus
from mainspring.monitor.incidents import add_entry, find_incident, list_incidents, move_incident
from mainspring.workspace import Workspace

__all__ = ["incidents_command"]


@click.command("incidents")
@click.argument("incident_id", required=False)
@click.option("--open", "only_open", is_flag=True, help="Only incidents that still want something.")
@click.option("--ack", "move", flag_value="acknowledged", help="Say that you are on it.")
@click.option("--mitigate", "move", flag_value="mitigated", help="Say that users no longer suffer.")
@click.option("--resolve", "move", flag_value="resolved", help="Close it.")
@click.option("--note", default="", help="A line for the timeline.")
@json_option
def incidents_command(incident_id: str | None, only_open: bool, move: str | None, note: str, as_json: bool) -> None:
    """List incidents, or show one with its timeline; with --ack, --mitigate, --resolve or --note change it.

    \b
    Example:
      mainspring incidents --open
      mainspring incidents 3f2a91bc --ack --note "looking at the weather feed"
    """
    with Workspace() as workspace:
        store = workspace.store
        if incident_id is None:
            if move or note:
                raise click.UsageError("Name the incident: mainspring incidents ID --ack")
            found = list_incidents(store, only_open=only_open)
            if as_json:
                print_json(found)
                return
            rows = [
                [
                    short(each.incident_id),
                    each.status,
                    each.severity,
                    when(each.opened_at),
                    when(each.closed_at),
                    each.title,
                ]
                for each in found
            ]
            print_table(["incident", "status", "severity", "opened", "closed", "what"], rows, empty="No incidents.")
            return
        incident = find_incident(store, incident_id)
        now, actor = workspace.clock.now(), workspace.actor
        if move:
            status: IncidentStatus = move  # type: ignore[assignment]  # one of the three flag values above
            incident = move_incident(store, incident, status, text=note or "by hand", at=now, actor=actor)
        elif note:
            add_entry(store, incident, what="note", text=note, at=now, actor=actor)
            incident = find_incident(store, incident.incident_id)
    if as_json:
        print_json(incident)
        return
    print_fields(
        {
            "incident": incident.incident_id,
            "what": incident.title,
            "status": f"{incident.status}, {incident.severity}",
            "opened": when(incident.opened_at),
            "closed": when(incident.closed_at),
            "suspect": incident.diagnosis.get("suspect", ""),
            "because": incident.diagnosis.get("reason", ""),
        }
    )
    click.echo("timeline:")
    for entry in incident.timeline:
        click.echo(f"  {when(entry.at)}  {entry.actor}  {entry.what}: {entry.text}")
