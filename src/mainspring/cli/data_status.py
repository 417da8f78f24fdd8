"""`mainspring data status`: a module of its own, for it needs neither the database nor the table engine."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json
from mainspring.data.pinned import PinStatus, status_of
from mainspring.data.pins import find_pins
from mainspring.errors import MainspringError
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
    listed = [pin for each in pins or (Path(),) for pin in (find_pins(each) if each.is_dir() else [each])]
    found: list[PinStatus] = []
    failed: dict[Path, str] = {}
    with Workspace() as workspace:
        for pin in listed:
            try:
                found.append(status_of(pin, workspace.artifacts, workspace.indexes))
            except MainspringError as error:  # one pin that cannot be read does not hide the others
                if len(listed) == 1:
                    raise
                failed[pin] = error.what
    if as_json:
        told = [{"pin": pin, "state": "unreadable", "error": what} for pin, what in failed.items()]
        print_json([*(each._asdict() for each in found), *told])
    else:
        for each in found:
            _print(each)
        for pin, what in failed.items():
            click.echo(f"{pin}: unreadable: {what}")
        if not listed:
            click.echo("No pins here. Make one with `mainspring data add PATH --pin`.")
    if failed or any(each.state != "unchanged" for each in found):
        context.exit(1)


def _print(found: PinStatus) -> None:
    click.echo(f"{found.pin}: {found.state} ({found.version})")
    for sign, names in (("+", found.added), ("~", found.changed), ("-", found.removed)):
        for name in names[:_SHOWN]:
            click.echo(f"  {sign} {name}".rstrip())
        if len(names) > _SHOWN:
            click.echo(f"  {sign} and {len(names) - _SHOWN:,} more")
