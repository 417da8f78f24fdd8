"""`mainspring data status`: its words; what it says is in `pin_report`."""

from pathlib import Path

import click

from mainspring.cli.output import json_option
from mainspring.cli.pin_report import report_pins

__all__ = ["status_command"]


@click.command("status")
@click.argument("pins", nargs=-1, type=click.Path(path_type=Path))
@json_option
def status_command(pins: tuple[Path, ...], as_json: bool) -> int:
    """Say what has changed beside PINS (files, or folders that are searched); exit code 1 when something has.

    Files that have not changed since they were seen are not read.

    \b
    Example:
      mainspring data status
    """
    return report_pins(pins, as_json=as_json)
