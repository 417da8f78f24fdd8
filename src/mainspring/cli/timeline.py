"""`mainspring timeline`: what happened, in order."""

import click

from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.govern.timeline import timeline
from mainspring.registry.versions import find_version
from mainspring.store.events import verify_chain
from mainspring.workspace import Workspace

__all__ = ["timeline_command"]


@click.command("timeline")
@click.argument("model", required=False)
@click.option("--limit", default=0, type=click.IntRange(0), help="Only the newest so many (0: all).")
@click.option("--verify", is_flag=True, help="Recompute the audit chain first and fail if it was tampered with.")
@json_option
def timeline_command(model: str | None, limit: int, verify: bool, as_json: bool) -> None:
    """Tell what happened: trained, gated, approved, served, decayed, retrained, promoted, rolled back.

    \b
    Example:
      mainspring timeline late-flights --limit 20
    """
    with Workspace() as workspace:
        if verify:
            count = verify_chain(workspace.store)
            click.echo(f"The audit chain holds: {count} entries.", err=True)
        if model is not None:
            find_version(workspace.store, model)  # an unknown name is told with the nearest ones
        told = timeline(workspace.store, model=model)[-limit:]
    if as_json:
        print_json(told)
        return
    rows = [[when(each.at), each.actor, each.stage, each.subject, each.text] for each in told]
    print_table(["at", "who", "stage", "what", "what happened"], rows, empty="Nothing has happened yet.")
