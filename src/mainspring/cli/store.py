"""`mainspring store`: copy the metadata database while it is in use, and prove that it is whole."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json
from mainspring.store.backup import back_up, check
from mainspring.workspace import Workspace

__all__ = ["store_command"]


@click.group("store")
def store_command() -> None:
    """Look after the metadata database.

    \b
    Example:
      mainspring store backup before-upgrade.sqlite
    """


@store_command.command("backup")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def _backup(file: Path, as_json: bool) -> None:
    """Copy the database, as it is at one instant, into the new FILE. Nobody who writes has to wait."""
    with Workspace() as workspace:
        size = back_up(workspace.store, file)
    if as_json:
        print_json({"file": file, "size_bytes": size})
    else:
        click.echo(f"{file}: {size:,} bytes.")


@store_command.command("check")
@json_option
def _check(as_json: bool) -> None:
    """Read the whole database and prove its pages, references and audit chain; exit 3 when something is broken."""
    with Workspace() as workspace:
        entries = check(workspace.store)
    if as_json:
        print_json({"is_whole": True, "events": entries})
    else:
        click.echo(f"The database is whole, and its audit chain of {entries:,} entries holds.")
