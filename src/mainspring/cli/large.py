"""`mainspring data join` and `split`: from file to file, of any size."""

from pathlib import Path
from typing import cast

import click

from mainspring.cli.gauge import Gauge
from mainspring.cli.output import json_option, print_json
from mainspring.data.join_files import join_files
from mainspring.data.matching import Cardinality, Duplicates, Match, Orphans
from mainspring.data.split_files import split_file
from mainspring.errors import Invalid

__all__ = ["join_command", "split_command"]


@click.command("join")
@click.argument("left", type=click.Path(path_type=Path))
@click.argument("right", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--on", "keys", multiple=True, help="A column that both tables share; may be given more than once.")
@click.option("--left-time", default="", help="The column of LEFT that says by when a row of RIGHT had to be known.")
@click.option("--right-time", default="", help="The column of RIGHT that says when a row came about.")
@click.option("--delay", default="", help="How long after its time a row of RIGHT is known, such as 1h or 0.")
@click.option(
    "--orphans", type=click.Choice(["keep", "drop", "refuse"]), default="keep", show_default=True,
    help="What becomes of rows of LEFT that find nothing.",
)  # fmt: skip
@click.option(
    "--duplicates", type=click.Choice(["refuse", "first", "last"]), default="refuse", show_default=True,
    help="Without times: which row of RIGHT counts when its keys stand more than once.",
)  # fmt: skip
@click.option("--one-to-one", is_flag=True, help="Without times: refuse keys that stand twice in LEFT as well.")
@json_option
def join_command(
    left: Path,
    right: Path,
    target: Path,
    keys: tuple[str, ...],
    left_time: str,
    right_time: str,
    delay: str,
    orphans: str,
    duplicates: str,
    one_to_one: bool,
    as_json: bool,
) -> None:
    """Write the rows of LEFT, in their order, with the columns of the row of RIGHT that belongs to each to OUT.

    With times it is the newest row of RIGHT that was known by then; without, the one with equal keys. OUT is CSV,
    Parquet or JSON lines, and comes whole or not at all. LEFT may be larger than memory; OUT needs its space twice.

    \b
    Example:
      mainspring data join flights.parquet weather.csv joined.parquet --on origin \\
        --left-time departs_at --right-time observed_at --delay 1h
      mainspring data join flights.parquet planes.csv joined.parquet --on tailnum --orphans refuse
    """
    timed = [bool(each) for each in (left_time, right_time, delay)]
    if any(timed) and not all(timed):
        raise Invalid(
            "An as-of join needs both times and the delay",
            where="join",
            next_step="say --left-time, --right-time, --delay",
        )
    if any(timed) and (one_to_one or duplicates != "refuse"):
        raise Invalid(
            "An as-of join takes the newest row", where="join", next_step="leave --duplicates, --one-to-one out"
        )
    if left_time:
        match = Match.known(keys, left_time=left_time, right_time=right_time, delay=delay)
    else:
        cardinality: Cardinality = "one-to-one" if one_to_one else "many-to-one"
        match = Match.equal(keys, cardinality=cardinality, duplicates=cast("Duplicates", duplicates))
    with Gauge(left) as gauge:
        found = join_files(left, right, target, match, orphans=cast("Orphans", orphans), tell=gauge)
    if as_json:
        print_json(found)
        return
    twice = f", {found.duplicates:,} rows of {right.name} left out as duplicates" if found.duplicates else ""
    click.echo(f"{target}: {found.rows:,} rows, {found.matched:,} matched, {found.orphans:,} found nothing{twice}")


@click.command("split")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--into", "folder", required=True, type=click.Path(path_type=Path), help="The new folder of the parts.")
@click.option("--time", default="", help="The column with the moments; without it rows are dealt at random.")
@click.option("--validation", type=float, default=0.15, show_default=True, help="The share of rows for validation.")
@click.option("--test", type=float, default=0.15, show_default=True, help="The share of rows for the test.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random deal.")
@json_option
def split_command(
    file: Path, folder: Path, time: str, validation: float, test: float, seed: int, as_json: bool
) -> None:
    """Deal the rows of FILE into train.parquet, validation.parquet and test.parquet of a new folder.

    With --time the newest rows are for the test, and rows of one moment stay together. The folder comes whole or not at
    all. With --time FILE may be larger than memory.

    \b
    Example:
      mainspring data split joined.parquet --time departs_at --into parts
    """
    with Gauge(file) as gauge:
        sizes = split_file(file, folder, time=time, validation=validation, test=test, seed=seed, tell=gauge)
    if as_json:
        print_json(sizes)
        return
    for name, rows in sizes.items():
        click.echo(f"{folder / name}.parquet: {rows:,} rows")
