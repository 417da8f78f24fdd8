"""`mainspring sql`: questions about runs and metrics in SQL, which can read and do nothing else."""

from pathlib import Path

import click

from mainspring.cli.output import json_option, print_json, print_table
from mainspring.cli.saving import save_rows, saving_option_help
from mainspring.tracking.questions import TABLES, ask_sql
from mainspring.workspace import Workspace

__all__ = ["sql_command"]


@click.command("sql", epilog="Tables: " + ", ".join(TABLES) + ".")
@click.argument("query")
@click.option("--limit", default=1000, show_default=True, type=click.IntRange(1, 1_000_000), help="How many rows.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.1, 3600), help="Stop after these.")
@click.option("--to", "path", type=click.Path(path_type=Path, dir_okay=False), help=saving_option_help)
@json_option
def sql_command(query: str, limit: int, seconds: float, path: Path | None, as_json: bool) -> int:
    """Ask QUERY of the tables of runs, metrics and logged models.

    \b
    Example:
      mainspring sql "SELECT e.name, count(*) FROM runs r JOIN experiments e USING (experiment_id) GROUP BY 1"
    """
    with Workspace() as workspace:
        found = ask_sql(workspace.store, query, seconds=seconds, limit=limit)
    rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
    if path is not None:
        save_rows(path, rows)
        click.echo(f"{len(rows)} rows in {path}")
    elif as_json:
        print_json(rows)
    else:
        print_table(found.columns, found.rows, empty="No rows.")
    if not found.complete:
        click.echo(f"These are the first {limit} rows; ask for more with --limit.", err=True)
    return 0
