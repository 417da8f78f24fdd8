"""`mainspring data pull`: rows and files from elsewhere as versions of a dataset."""

from typing import cast

import click

from mainspring.cli.output import json_option, print_json
from mainspring.data.pulling import Evolve, pull_from
from mainspring.data.sources import Wanted, source_at
from mainspring.workspace import Workspace

__all__ = ["pull_command"]

_FORMS = ("arrow", "csv", "json", "jsonl", "parquet", "tsv", "xlsx")


@click.command("pull")
@click.argument("source")
@click.option("--name", required=True, help="The dataset's name.")
@click.option("--cursor", default="", help="A column that grows; only rows beyond the newest version are fetched.")
@click.option(
    "--evolve", type=click.Choice(["refuse", "accept"]), default="refuse", show_default=True,
    help="What becomes of rows with other columns than the newest version has.",
)  # fmt: skip
@click.option("--format", "form", type=click.Choice(_FORMS), default=None, help="How a file of the web is read.")
@click.option("--most-bytes", type=click.IntRange(min=1), default=100 << 30, help="The largest file to take [100 GiB].")
@json_option
def pull_command(
    source: str, name: str, cursor: str, evolve: str, form: str | None, most_bytes: int, as_json: bool
) -> None:
    """Fetch SOURCE as the next version of a dataset.

    SOURCE is a table (sqlite:FILE#TABLE, postgresql://..., mysql://...), a file of the web, one in a bucket or all
    below a prefix that ends in / (s3://, gs://, az://), or a file or folder of this machine: CSV, JSON, JSON lines,
    Parquet, Arrow, or a workbook (FILE.xlsx#SHEET). Files that did not change are not read again.

    \b
    Example:
      mainspring data pull sqlite:shop.db#orders --name orders --cursor updated_at
      mainspring data pull postgresql://reader@db.example/shop#public.orders --name orders --cursor id
      mainspring data pull https://example.org/weather.csv --name weather
      mainspring data pull s3://lake/flights/2013/ --name flights
    """

    def told(count: int, rate: float) -> None:
        click.echo(f"{count:,} rows, {rate:,.0f} a second", err=True)

    opened = source_at(source, Wanted(cursor, form or "", most_bytes))
    with Workspace() as workspace:
        found = pull_from(
            workspace.store, workspace.artifacts, opened, name=name, at=workspace.clock.now(), cursor=cursor,
            evolve=cast("Evolve", evolve), progress=told,
        )  # fmt: skip
    if as_json:
        print_json(found)
        return
    click.echo(f"{found.reference}: {found.n_rows or 0:,} rows, {found.digest[:16]}")
