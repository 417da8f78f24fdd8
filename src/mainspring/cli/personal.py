"""`mainspring data personal`: which columns of a file hold personal data."""

from dataclasses import asdict
from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json, print_table
from mainspring.data.personal import personal_data
from mainspring.data.schema_file import read_schema
from mainspring.errors import CheckFailed

__all__ = ["personal_command"]


@click.command("personal")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sample", type=click.IntRange(1), help="Look at as many rows, drawn from the whole file [all].")
@click.option("--schema", type=click.Path(path_type=Path), help="Columns that it marks as `personal` are known.")
@json_option
def personal_command(file: Path, sample: int | None, schema: Path | None, as_json: bool) -> None:
    """Name columns of FILE that hold personal data, by forms with checksums and by names; exit code 1 if any.

    With --schema only columns that it does not mark as personal count.

    No value is printed: examples show the form alone, a for a letter and 9 for a digit. No network is asked.

    \b
    Example:
      mainspring data personal customers.csv --json
      mainspring data personal customers.csv --schema customers.schema.yaml
    """
    known = set() if schema is None else {n for n, each in read_schema(schema).columns.items() if each.personal}
    found = personal_data(file, sample=sample)
    unknown = [each.column for each in found.findings if each.column not in known]
    if as_json:
        print_json({**asdict(found), "undeclared": list(dict.fromkeys(unknown))})
    else:
        rows = [
            [each.column, each.kind, each.by, f"{each.cells:,}", f"{each.share:.1%}", "  ".join(each.examples)]
            for each in found.findings
        ]
        none = f"No personal data was seen in {found.columns} columns and {found.rows:,} rows of {file.name}."
        print_table(["column", "kind", "told by", "cells", "share", "forms"], rows, empty=none)
    if unknown:
        listed = ", ".join(dict.fromkeys(unknown))
        raise CheckFailed(
            f"{file.name} holds personal data in: {listed}",
            where=str(file),
            next_step="hide the columns by cleaning rules, or mark them in the schema: {type: string, personal: email}",
        )
