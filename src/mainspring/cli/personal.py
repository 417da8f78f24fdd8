"""`mainspring data personal`: which columns of a file hold personal data."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json, print_table
from mainspring.data.personal import personal_data
from mainspring.errors import CheckFailed

__all__ = ["personal_command"]


@click.command("personal")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--sample", type=click.IntRange(1), help="Look at as many rows, drawn from the whole file [all].")
@json_option
def personal_command(file: Path, sample: int | None, as_json: bool) -> None:
    """Name columns of FILE that hold personal data, by forms with checksums and by names; exit code 1 if any.

    No value is printed: examples show the form alone, a for a letter and 9 for a digit. No network is asked.

    \b
    Example:
      mainspring data personal customers.csv --json
    """
    found = personal_data(file, sample=sample)
    if as_json:
        print_json(found)
    else:
        rows = [
            [each.column, each.kind, each.by, f"{each.cells:,}", f"{each.share:.1%}", "  ".join(each.examples)]
            for each in found.findings
        ]
        none = f"No personal data was seen in {found.columns} columns and {found.rows:,} rows of {file.name}."
        print_table(["column", "kind", "told by", "cells", "share", "forms"], rows, empty=none)
    if found.findings:
        listed = ", ".join(dict.fromkeys(each.column for each in found.findings))
        raise CheckFailed(
            f"{file.name} holds personal data in: {listed}",
            where=str(file),
            next_step="mask or drop the columns by cleaning rules (docs/personal_data.md)",
        )
