"""`mainspring data status`: a module of its own, for it needs neither the database nor the table engine."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json
from mainspring.data.pinned import PinStatus, status_of
from mainspring.data.pins import find_pins
from mainspring.workspace import Workspace

__all__ = ["status_command"]

_SHOWN = 20


@click.command("status")
@click.argument("pins", nargs=-1, type=click.Path(path_type=Path))
@json_option
@click.pass_context
def status_command(context: click.Context, pins: tuple[Path, ...], as_json: bool) -> None:
    """Say what has changed beside PINS (files, or folders that are searched); exit code 1 when something has.

    Files that have not changed since they were seen are not read.

    \b
    Example:
      mainspring data status
    """
    listed = [found for each in pins or (Path(),) for found in (find_pins(each) if each.is_dir() else [each])]
    with Workspace() as workspace:
        found = [status_of(each, workspace.artifacts, workspace.indexes) for each in listed]
    if as_json:
        print_json([each._asdict() for each in found])
    else:
        for each in found:
            _print(each)
        if not found:
            click.echo("No pins here. Make one with `mainspring data add PATH --pin`.")
    if any(each.state != "unchanged" for each in found):
        context.exit(1)


def _print(found: PinStatus) -> None:
    click.echo(f"{found.pin}: {found.state} ({found.version})")
    for sign, names in (("+", found.added), ("~", found.changed), ("-", found.removed)):
        for name in names[:_SHOWN]:
            click.echo(f"  {sign} {name}".rstrip())
        if len(names) > _SHOWN:
            click.echo(f"  {sign} and {len(names) - _SHOWN:,} more")
