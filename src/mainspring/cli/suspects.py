"""`mainspring data suspects`: the rows of a table that a person should look at first."""

import time as clock
from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json, print_table
from mainspring.data.table import read_columns
from mainspring.train.row_suspects import suspects
from mainspring.train.suspects_page import HEADINGS, suspects_page

__all__ = ["suspects_command"]

#: Rows of each kind that the terminal shows.
_SHOWN = 10


@click.command("suspects")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="The column that is to be predicted.")
@click.option("--time", default="", help="The column that says when: the newest rows are held out, losses go by day.")
@click.option(
    "--ignore", multiple=True, help="A column that is no feature, such as an id; may be given more than once."
)
@click.option(
    "--top", default=100, show_default=True, type=click.IntRange(1), help="Rows of each kind to tell and try."
)
@click.option("--trial/--no-trial", default=True, help="Fit again without them and compare [default: yes].")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with the rows and their values.")
@json_option
def suspects_command(
    file: Path, target: str, time: str, ignore: tuple[str, ...], top: int, trial: bool, page: Path | None, as_json: bool
) -> None:
    """Order the rows of FILE that are likely wrong: label errors, values far out, repeated rows, each with a reason.

    Then the default model is fitted again without the first of each kind, and with the labels that it would give them,
    and judged on a hold-out that is left as it is: better, worse, or undecided.

    \b
    Example:
      mainspring data suspects flights.parquet --target late --time departs_at --html suspects.html
    """
    told = clock.monotonic()

    def tell(what: str) -> None:
        nonlocal told
        if clock.monotonic() - told > 1:  # what is done in no time needs no news
            click.echo(f"  {what} ...", err=True)
            told = clock.monotonic()

    columns = read_columns(file)
    found = suspects(columns, target=target, time=time, ignore=ignore, fix=top if trial else 0, tell=tell)
    if page is not None:
        page.write_text(suspects_page(found, columns, name=file.name, top=top), encoding="utf-8")
        click.echo(f"Wrote {page}", err=True)
    if as_json:
        print_json(
            {
                "file": file.name,
                "rows": found.rows,
                "unlabelled": found.unlabelled,
                "held_out": found.held_out,
                "counts": {kind: len(found.of(kind)) for kind in HEADINGS},
                "suspects": {kind: found.of(kind)[:top] for kind in HEADINGS},
                "trials": found.trials,
            }
        )
        return
    for kind, heading in HEADINGS.items():
        of_kind = found.of(kind)
        click.echo(f"{heading}: {len(of_kind):,}")
        rows = [[each.row, f"{each.score:.3f}", each.reason] for each in of_kind[: min(top, _SHOWN)]]
        print_table(["row", "score", "reason"], rows, empty="")
    for each in found.trials:
        click.echo(f"Trial: {each}")
    if found.unlabelled:
        click.echo(f"{found.unlabelled:,} rows without a {target} were left out")
