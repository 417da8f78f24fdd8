"""`mainspring data pull`: rows of a database as versions of a dataset."""

from pathlib import Path
from typing import cast

import click

from mainspring.cli.output import json_option, print_json
from mainspring.data.sources import Evolve, pull, sqlite_source
from mainspring.errors import Invalid
from mainspring.workspace import Workspace

__all__ = ["pull_command"]


@click.command("pull")
@click.argument("source")
@click.option("--name", required=True, help="The dataset's name.")
@click.option("--cursor", default="", help="A column that grows; only rows beyond the newest version are fetched.")
@click.option(
    "--evolve", type=click.Choice(["refuse", "accept"]), default="refuse", show_default=True,
    help="What becomes of rows with other columns than the newest version has.",
)  # fmt: skip
@json_option
def pull_command(source: str, name: str, cursor: str, evolve: str, as_json: bool) -> None:
    """Fetch SOURCE, a table of a SQLite file written as sqlite:FILE#TABLE, as the next version of a dataset.

    \b
    Example:
      mainspring data pull sqlite:shop.db#orders --name orders --cursor updated_at
    """
    kind, _, rest = source.partition(":")
    path, _, table = rest.partition("#")
    if kind != "sqlite" or not path or not table:
        raise Invalid(f"`{source}` is not a source", where="SOURCE", next_step="write it as sqlite:shop.db#orders")

    def told(count: int, rate: float) -> None:
        click.echo(f"{count:,} rows, {rate:,.0f} a second", err=True)

    with Workspace() as workspace:
        found = pull(
            workspace.store, workspace.artifacts, sqlite_source(Path(path), table, cursor), name=name,
            at=workspace.clock.now(), source=source, cursor=cursor, evolve=cast("Evolve", evolve), progress=told,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.reference}: {found.n_rows or 0:,} rows, {found.digest[:16]}")
