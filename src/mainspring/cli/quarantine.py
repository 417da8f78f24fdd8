"""`mainspring data clean`, `quarantine`, `release`: ingestion by rules, and what happens to the rows set aside."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json, print_table, when
from mainspring.data.quarantine import ingest, list_ingestions, release, set_aside_rows
from mainspring.data.schema_file import read_schema
from mainspring.workspace import Workspace

__all__ = ["clean_command", "quarantine_command", "release_command"]


@click.command("clean")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("schema", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The dataset that the accepted rows become a version of.")
@click.option("--source", default="", help="Where the bytes came from (default: the file's name).")
@json_option
def clean_command(file: Path, schema: Path, name: str, source: str, as_json: bool) -> None:
    """Clean FILE by the rules of SCHEMA; accepted rows become a version, the others stay in quarantine.

    \b
    Example:
      mainspring data clean flights.csv flights.schema.yaml --name flights
    """
    with Workspace() as workspace:
        at = workspace.clock.now()
        found = ingest(workspace.store, workspace.artifacts, file, read_schema(schema), name=name, at=at, source=source)
    if as_json:
        print_json(found)
        return
    rows = [
        [each.rule, each.column, f"{each.changed:,}", f"{each.set_aside:,}", _samples(each.samples)]
        for each in found.effects
    ]
    print_table(["rule", "column", "changed", "set aside", "samples"], rows, empty="No rule did anything.")
    for each in found.warnings:
        click.echo(f"Warning: {each}", err=True)
    click.echo(
        f"{name}/{found.version}: {found.n_ingested:,} rows ingested = {found.n_accepted:,} accepted"
        f" + {found.n_set_aside:,} in quarantine"
    )


def _samples(samples: tuple[tuple[int, str | None, str | None], ...]) -> str:
    return "; ".join(
        f"rows[{row}] {before!r}" + ("" if after is None else f" -> {after!r}") for row, before, after in samples[:2]
    )


@click.command("quarantine")
@click.argument("name", required=False)
@click.option("--number", type=int, help="Which ingestion of NAME (default: the newest).")
@click.option("--most", type=click.IntRange(1), default=20, show_default=True, help="How many rows to show.")
@json_option
def quarantine_command(name: str | None, number: int | None, most: int, as_json: bool) -> None:
    """List ingestions with the account of their rows, or the rows of NAME that are in quarantine.

    \b
    Example:
      mainspring data quarantine
      mainspring data quarantine flights --most 100 --json
    """
    with Workspace() as workspace:
        if name is None:
            found = list_ingestions(workspace.store)
        else:
            at = workspace.clock.now()
            rows = set_aside_rows(workspace.store, workspace.artifacts, name, number, at=at, most=most)
    if name is not None:
        if as_json:
            print_json(rows)
            return
        shown = [[each.row, "; ".join(each.reasons), str(each.values)] for each in rows]
        print_table(["row", "reasons", "as it came"], shown, empty="No row is in quarantine.")
        return
    if as_json:
        print_json(found)
        return
    table = [
        [f"{each.name} {each.number}", when(each.created_at), f"{each.name}/{each.version}", f"{each.n_ingested:,}",
         f"{each.n_accepted:,}", f"{each.n_set_aside:,}", f"{each.n_released:,}"]
        for each in found
    ]  # fmt: skip
    columns = ["ingestion", "at", "version", "ingested", "accepted", "in quarantine", "released"]
    print_table(columns, table, empty="Nothing has been ingested yet.")


@click.command("release")
@click.argument("name")
@click.argument("rows", type=int, nargs=-1, required=True)
@click.option("--reason", required=True, help="Why the rows are good; it goes into the audit log.")
@json_option
def release_command(name: str, rows: tuple[int, ...], reason: str, as_json: bool) -> None:
    """Let ROWS of the newest ingestion of NAME out of quarantine, into a new version.

    \b
    Example:
      mainspring data release flights 17 204 --reason "checked with the airline"
    """
    with Workspace() as workspace:
        at = workspace.clock.now()
        found = release(workspace.store, workspace.artifacts, name, rows, reason=reason, by=workspace.actor, at=at)
    if as_json:
        print_json(found)
        return
    click.echo(f"{name}/{found.version}: {found.n_accepted:,} accepted + {found.n_set_aside:,} in quarantine")
