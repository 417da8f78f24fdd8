"""`mainspring logs`: what the steps of a run printed and logged."""

import click

from mainspring.cli.output import json_option, print_json, short
from mainspring.errors import NotFound, nearest
from mainspring.pipeline.ledger import Ledger, StepRow, steps_of
from mainspring.pipeline.step_logs import LogLine, read_log
from mainspring.tracking.runs import find_run
from mainspring.workspace import Workspace

__all__ = ["logs_command"]


@click.command("logs")
@click.argument("run_id", metavar="RUN")
@click.argument("step", required=False)
@json_option
def logs_command(run_id: str, step: str | None, as_json: bool) -> None:
    """Show what the steps of a run printed and logged; STEP is a name or a number.

    Of a step that was found in the cache, what it said when its result was made is shown. What native code or child
    processes write is not kept.

    \b
    Example:
      mainspring logs 3f2a91bc fit
    """
    with Workspace() as workspace:
        run = find_run(workspace.store, run_id)
        ledger = Ledger(workspace.store, workspace.artifacts)
        rows = _chosen(steps_of(workspace.store, run.run_id), step)
        told = []
        for row in rows:
            made_by = ledger.first_made(row) if row.cached else row
            told.append((row, made_by, read_log(workspace.artifacts, made_by.log) if made_by is not None else ()))
    if as_json:
        print_json([_document(*each) for each in told])
        return
    for row, made_by, lines in told:
        if lines or step is not None:
            said_then = f", said in run {short(made_by.run_id)}" if row.cached and made_by is not None else ""
            click.echo(f"{row.number} {row.name} ({'cached' if row.cached else row.status}{said_then})")
            for line in lines or [LogLine(0.0, "stdout", "(nothing)")]:
                click.echo(f"  {line.seconds:8.2f}  {line.stream:<7}  {line.text}".rstrip())
    if not any(lines for _, _, lines in told) and step is None:
        click.echo("No step of this run printed or logged anything.")


def _chosen(rows: list[StepRow], step: str | None) -> list[StepRow]:
    if step is None:
        return rows
    found = [row for row in rows if step in (row.name, str(row.number))]
    if not found:
        raise NotFound(f"The run has no step `{step}`", next_step=nearest(step, {row.name for row in rows}))
    return found


def _document(row: StepRow, made_by: StepRow | None, lines: tuple[LogLine, ...]) -> dict[str, object]:
    return {
        "number": row.number,
        "name": row.name,
        "status": row.status,
        "cached": row.cached,
        "run_id": made_by.run_id if made_by is not None else row.run_id,
        "lines": [line._asdict() for line in lines],
    }
