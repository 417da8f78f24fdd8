"""`mainspring data`: datasets by name and version, their schema, and checks."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_fields, print_json, print_table, when
from mainspring.data.checks import check_table
from mainspring.data.profile import profile
from mainspring.data.schema import infer_schema
from mainspring.data.schema_file import read_schema, write_schema
from mainspring.data.table import Columns, n_rows, read_columns
from mainspring.data.versions import add_dataset, checkout_dataset, find_dataset, list_datasets
from mainspring.errors import CheckFailed, Invalid
from mainspring.workspace import Workspace

__all__ = ["data_command"]


@click.group("data")
def data_command() -> None:
    """Add, list, check out, describe and check datasets.

    \b
    Example:
      mainspring data add customers.csv --name customers
      mainspring data schema customers.csv > customers.schema.yaml
      mainspring data check new.csv customers.schema.yaml
    """


@data_command.command("add")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The dataset's name.")
@click.option("--source", default="", help="Where the bytes came from (default: the file's name).")
@json_option
def _add(file: Path, name: str, source: str, as_json: bool) -> None:
    """Keep the bytes of FILE (or a folder) as the next version of a dataset."""
    with Workspace() as workspace:
        added = add_dataset(
            workspace.store, workspace.artifacts, file, name=name, source=source, at=workspace.clock.now()
        )
    if as_json:
        print_json(added)
        return
    rows = "" if added.n_rows is None else f", {added.n_rows:,} rows"
    click.echo(f"{added.reference}: {added.size_bytes:,} bytes{rows}, {added.digest[:16]}")


@data_command.command("list")
@click.argument("name", required=False)
@json_option
def _list(name: str | None, as_json: bool) -> None:
    """List dataset versions, newest first."""
    with Workspace() as workspace:
        if name is not None:
            find_dataset(workspace.store, name)
        found = list_datasets(workspace.store, name)
    if as_json:
        print_json(found)
        return
    rows = [
        [each.reference, when(each.created_at), f"{each.size_bytes:,}", each.n_rows, each.digest[:16], each.source]
        for each in found
    ]
    print_table(["version", "added", "bytes", "rows", "digest", "source"], rows, empty="No datasets yet.")


@data_command.command("checkout")
@click.argument("reference")
@click.option("--to", "target", required=True, type=click.Path(path_type=Path), help="The file or folder to write.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
def _checkout(reference: str, target: Path, force: bool) -> None:
    """Write the bytes of NAME/VERSION, exactly as they were added."""
    with Workspace() as workspace:
        path = checkout_dataset(workspace.store, workspace.artifacts, reference, target, force=force)
    click.echo(str(path))


@data_command.command("schema")
@click.argument("file", type=click.Path(path_type=Path))
def _schema(file: Path) -> None:
    """Print the schema that FILE has now, to be reviewed and kept beside the code."""
    click.echo(write_schema(infer_schema(read_columns(file))), nl=False)


@data_command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("schema", type=click.Path(path_type=Path))
@click.option("--with", "others", multiple=True, metavar="NAME=FILE", help="A table that a found_in rule names.")
@json_option
def _check(file: Path, schema: Path, others: tuple[str, ...], as_json: bool) -> None:
    """Check FILE against a SCHEMA file; exit code 1 when it breaks a rule that does not only warn.

    \b
    Example:
      mainspring data check flights.parquet flights.schema.yaml --with planes=planes.csv
    """
    found = check_table(file, read_schema(schema), tables=named_tables(others))
    if as_json:
        print_json(found.violations)
    elif not found.violations:
        click.echo(f"{found.n_rows:,} rows fit {schema.name}.")
    warnings = [each for each in found.violations if each.severity == "warn"]
    broken = [each for each in found.violations if each.severity != "warn"]
    for each in warnings:
        click.echo(f"Warning: {each}", err=True)
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


@data_command.command("profile")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def _profile(file: Path, as_json: bool) -> None:
    """Print what is in FILE, column by column: type, missing values, range or top values."""
    columns = read_columns(file)
    found = profile(columns).to_json()
    if as_json:
        print_json(found)
        return
    print_fields({"file": file.name, "rows": f"{n_rows(columns):,}"})
    schema = infer_schema(columns)
    rows = []
    for name, rule in schema.columns.items():
        array = columns[name]
        if array.dtype == object:
            missing = sum(value is None for value in array)
            values = sorted({value for value in array if value is not None})
            shown = f"{len(values):,} values: {', '.join(values[:4])}" + (", ..." if len(values) > 4 else "")
        else:
            missing = int((array != array).sum())
            shown = "" if rule.min is None else f"{rule.min:g} to {rule.max:g}"
        rows.append([name, rule.type, f"{missing:,}", shown])
    print_table(["column", "type", "missing", "values"], rows)
