"""`mainspring data schema`, `check`, `diff`, `leaks`, `profile`: looking at tables, which needs the table engine."""

import tempfile
from pathlib import Path

import click
import msgspec

from mainspring.cli.gauge import Gauge
from mainspring.cli.output import json_option, print_fields, print_json, print_table
from mainspring.data.checks import Scan
from mainspring.data.difference import difference
from mainspring.data.draft import draft_schema
from mainspring.data.inferred import infer_file
from mainspring.data.leakage import leakage_suspects
from mainspring.data.overview import overview
from mainspring.data.overview_page import ColumnOverview, Overview, overview_page
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.suites import read_suite
from mainspring.data.table import Columns, read_columns
from mainspring.data.version_terms import refuse_expired
from mainspring.data.versions import checkout_dataset, find_dataset
from mainspring.errors import CheckFailed, Invalid
from mainspring.monitor.input_quality import take_batch
from mainspring.workspace import Workspace

__all__ = ["check_command", "diff_command", "leaks_command", "named_tables", "profile_command", "schema_command"]


@click.command("schema")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--from", "suite", type=click.Path(path_type=Path), help="Read a suite of Great Expectations or Pandera.")
def schema_command(files: tuple[Path, ...], suite: Path | None) -> None:
    """Print the schema that FILE has now, to be reviewed and kept beside the code.

    One file may be larger than memory. Several files are good batches of one table, which is held in memory. They tell
    how far a good batch may lie from the others, so shares, distributions and the number of rows are bounded too. With
    --from the schema is that of a suite of another library; what of it has no equal is told on the error output.

    \b
    Example:
      mainspring data schema january.csv february.csv march.csv > flights.schema.yaml
      mainspring data schema --from expectations.json > flights.schema.yaml
    """
    if bool(files) == (suite is not None):
        raise Invalid("Either files or a suite is wanted", where="FILE...", next_step="name files, or say --from SUITE")
    if suite is None:
        if len(files) == 1:
            with Gauge(files[0]) as gauge:
                schema = infer_file(files[0], tell=gauge)
        else:
            schema = draft_schema([read_columns(file) for file in files])
        click.echo(write_schema(schema), nl=False)
        return
    found = read_suite(suite)
    click.echo(write_schema(found.schema), nl=False)
    for each in found.left_out:
        click.echo(f"Left out: {each}", err=True)


@click.command("diff")
@click.argument("before")
@click.argument("after")
@click.option("--key", multiple=True, help="A column that tells rows apart; may be given more than once.")
@json_option
def diff_command(before: str, after: str, key: tuple[str, ...], as_json: bool) -> None:
    """Compare two files or dataset versions: rows added, removed, changed, columns, figures.

    \b
    Example:
      mainspring data diff flights/1 flights/2 --key carrier --key flight
    """
    with tempfile.TemporaryDirectory() as scratch:
        one, two = (_file_of(words, Path(scratch) / side) for words, side in ((before, "old"), (after, "new")))
        found = difference(one, two, key=key)
    if as_json:
        print_json(found)
        return
    changed = "" if found.changed is None else f", {found.changed:,} changed"
    click.echo(
        f"{found.rows[0]:,} -> {found.rows[1]:,} rows: {found.added:,} added, {found.removed:,} removed{changed}"
    )
    for sign, names in (("+", found.columns_added), ("-", found.columns_removed)):
        for name in names:
            click.echo(f"{sign} column {name}")
    rows = [
        [
            each.column,
            *(_arrow(pair) for pair in (each.types, each.missing, each.distinct, each.mean)),
            each.changed_rows,
        ]
        for each in found.columns
    ]
    print_table(["column", "type", "missing", "distinct (about)", "mean", "rows changed"], rows)
    for each in found.examples:
        click.echo(each)


def _file_of(words: str, folder: Path) -> Path:
    if Path(words).is_file():
        return Path(words)
    folder.mkdir()
    with Workspace() as workspace:
        found = find_dataset(workspace.store, words)
        refuse_expired(workspace.store, found.digest, at=workspace.clock.now())
        return checkout_dataset(workspace.store, workspace.artifacts, words, folder)


def _arrow(pair: tuple[object, object]) -> str:
    shown = [f"{each:.4g}" if isinstance(each, float) else "" if each is None else str(each) for each in pair]
    return shown[0] if shown[0] == shown[1] else f"{shown[0]} -> {shown[1]}"


@click.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("schema", type=click.Path(path_type=Path))
@click.option("--with", "others", multiple=True, metavar="NAME=FILE", help="Another table that a rule names.")
@click.option("--rows", type=click.Path(path_type=Path), help="Write every row that breaks a rule, with its reasons.")
@click.option("--model", default="", help="Open an incident of this model when FILE breaks a rule, else close it.")
@json_option
def check_command(
    file: Path, schema: Path, others: tuple[str, ...], rows: Path | None, model: str, as_json: bool
) -> None:
    """Check FILE against a SCHEMA file; exit code 1 when it breaks a rule that does not only warn.

    With --model what is broken becomes an incident of the model's data. While it is open nothing is retrained, and
    nobody is told of what follows from it; the next batch that breaks nothing resolves it.

    \b
    Example:
      mainspring data check flights.parquet flights.schema.yaml --with planes=planes.csv --rows broken.csv
      mainspring data check today.csv flights.schema.yaml --model late-flights
    """
    with Gauge(file) as gauge, Scan(file, read_schema(schema), named_tables(others), tell=gauge) as scan:
        found = scan.check()
        if rows is not None:
            scan.write_broken(rows)
    if as_json:
        print_json(found.violations)
    elif not found.violations:
        click.echo(f"{found.n_rows:,} rows fit {schema.name}.")
    warnings = [each for each in found.violations if each.severity == "warn"]
    broken = [each for each in found.violations if each.severity != "warn"]
    for each in warnings:
        click.echo(f"Warning: {each}", err=True)
    if model:
        with Workspace() as workspace:
            now = workspace.clock.now()
            # without the examples: an incident is read by more people than the data
            told = [f"{each.column or each.rule}: {each.message}" for each in broken]
            take_batch(workspace.store, model, file.name, told, at=now, actor=workspace.actor)
    if broken:
        listed = "\n  ".join(str(each) for each in broken)
        raise CheckFailed(f"{file.name} breaks {len(broken)} rules:\n  {listed}", where=str(schema))


def named_tables(words: tuple[str, ...]) -> dict[str, Columns | Path]:
    """Read options of the form NAME=FILE.

    Raises:
        Invalid: one is not of that form.
    """
    for each in words:
        if not all(each.partition("=")):
            raise Invalid(f"`{each}` is not NAME=FILE", where="--with", next_step="write it as planes=planes.csv")
    return {name: Path(path) for name, _, path in (each.partition("=") for each in words)}


@click.command("leaks")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", required=True, help="The column that is to be predicted.")
@click.option("--time", default="", help="The column that says when a row's prediction is made.")
@json_option
def leaks_command(file: Path, target: str, time: str, as_json: bool) -> None:
    """Name columns of FILE that know too much: the target itself, ids, moments after the event; exit code 1 if any.

    \b
    Example:
      mainspring data leaks flights.parquet --target late --time departs_at
    """
    found = leakage_suspects(read_columns(file), target=target, time=time)
    if as_json:
        print_json(found)
    elif not found:
        click.echo(f"No column of {file.name} is suspected of knowing `{target}`.")
    if found:
        listed = "\n  ".join(f"{each.column}: {each.message}" for each in found)
        raise CheckFailed(f"{len(found)} columns of {file.name} may know too much:\n  {listed}", where=str(file))


@click.command("profile")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--target", default="", help="Tell of each column how it goes with this one.")
@click.option("--against", type=click.Path(path_type=Path), help="Tell of each column how far it has moved from OTHER.")
@click.option("--html", "page", type=click.Path(path_type=Path), help="Write a page with pictures.")
@json_option
def profile_command(file: Path, target: str, against: Path | None, page: Path | None, as_json: bool) -> None:
    """Say what is in FILE, which may be larger than memory: types, gaps, distributions, common values, correlations.

    Memory does not grow with the rows (setting `memory` bounds it). In a notebook: mainspring.data.overview(path).

    \b
    Example:
      mainspring data profile flights.parquet --target late --html flights.html
      mainspring data profile may.csv --against april.csv
    """
    with Gauge(file) as gauge:
        found = overview(file, target=target, against=against, tell=gauge)
    if page is not None:
        page.write_text(overview_page(found), encoding="utf-8")
        click.echo(f"Wrote {page}", err=True)
    if as_json:
        print_json({**msgspec.to_builtins(found), "notes": found.notes})
        return
    print_fields({"file": file.name, "rows": f"{found.rows:,}"})
    rows = [
        [each.name, each.type, f"{each.missing:,}", f"{each.distinct:,}", _shown(each), *_asides(each, found)]
        for each in found.columns
    ]
    beside = [*(["explains"] if target else []), *(["moved"] if against else [])]
    print_table(["column", "type", "missing", "distinct", "values", *beside], rows)
    for note in found.notes:
        click.echo(f"Look: {note}")


def _shown(column: ColumnOverview) -> str:
    if column.minimum is not None:
        return f"{_plain(column.minimum)} to {_plain(column.maximum)}"
    return ", ".join(group.label for group in column.top[:4]) + (", ..." if len(column.top) > 4 else "")


def _plain(value: float | str | None) -> str:
    return f"{value:g}" if isinstance(value, float | int) else str(value)


def _asides(column: ColumnOverview, found: Overview) -> list[str]:
    explains = "" if column.relation is None else f"{column.relation.explains:.1%}"
    moved = "" if column.drift is None else f"{column.drift:.3f}"
    return [*([explains] if found.target else []), *([moved] if found.against else [])]
