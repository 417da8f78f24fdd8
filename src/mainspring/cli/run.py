"""`mainspring run`: run a loop or a pipeline once, with live progress, and say what came of it."""

import sys
from typing import Any

import click

from mainspring.cli.loading import target_in
from mainspring.cli.output import json_option, print_json, print_table
from mainspring.loop.definition import Loop
from mainspring.pipeline.outcome import RunFailed, RunOutcome, StepEvent
from mainspring.pipeline.parameters import parse_parameters
from mainspring.workspace import Workspace

__all__ = ["StepPrinter", "run_command"]


class StepPrinter:
    """Tells of each step on standard error: one line when it ends, so that it reads the same in a log."""

    def on_step(self, event: StepEvent) -> None:
        """Print what became of a step; that it has begun is shown on a terminal only."""
        if event.status == "running":
            if sys.stderr.isatty():
                click.echo(f"  .. {event.name}", err=True, nl=False)
                click.echo("\r", err=True, nl=False)
            return
        seconds = f" {event.seconds:.1f} s" if event.status == "finished" else ""
        click.echo(f"  {event.status:<9}{event.name}{seconds}  {event.reason}".rstrip(), err=True)


@click.command("run")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option("--author", default="", help="Who made the candidate (default: you).")
@json_option
def run_command(target: str, given: tuple[str, ...], author: str, as_json: bool) -> int:
    """Run the loop or pipeline that FILE defines, once.

    A loop trains, puts the candidate through its gates, registers it and lets it serve as far as approvals allow.
    With --json the last line is one object: run_id, status, result, steps.

    \b
    Example:
      mainspring run loop.py -p until=2013-04-01T00:00:00Z
      mainspring run loop.py:train -p rate=0.1 --json
    """
    found = target_in(target)
    if isinstance(found, Loop):  # what is not given comes from the loop's own definition and the moment
        parameters = parse_parameters(found.pipeline, given, partial=True)
    else:
        parameters = parse_parameters(found, given)
    with Workspace() as workspace:
        workspace.progress = None if as_json else StepPrinter()
        try:
            if isinstance(found, Loop):
                return _run_loop(found, workspace, parameters, author, as_json)
            outcome = found.run(workspace.pipeline_context, **parameters)
        except RunFailed as error:
            if as_json and error.outcome is not None:
                print_json({**_document(error.outcome), "error": str(error)})
            raise
    if as_json:
        print_json(_document(outcome))
    else:
        click.echo(f"Run {outcome.run_id[-8:]} {outcome.status}: {outcome.result}")
    return 0


def _run_loop(loop: Loop, workspace: Workspace, parameters: dict[str, Any], author: str, as_json: bool) -> int:
    done = loop.run(workspace, author=author, **parameters)
    refused = [gate for gate in done.gates if not gate.passed]
    if as_json:
        print_json({**_document(done.outcome), "version": done.version.reference, "gates": done.gates})
        return 1 if refused else 0
    rows = [[gate.gate, "passed" if gate.passed else "FAILED", gate.reason] for gate in done.gates]
    print_table(["gate", "", "why"], rows, empty="No gates.")
    if refused:
        click.echo(f"{done.version.reference} was refused. See: mainspring models {done.version.reference}", err=True)
        return 1
    role = loop.approve.role
    if "champion" in done.version.aliases:
        click.echo(f"{done.version.reference} is champion. Serve it: mainspring serve {loop.name}")
    elif role is not None:
        click.echo(
            f"{done.version.reference} waits for a {role}: mainspring approve {done.version.reference} --as NAME"
        )
    else:
        click.echo(
            f"{done.version.reference} passed its gates and is being rolled out: mainspring timeline {loop.name}"
        )
    return 0


def _document(outcome: RunOutcome[Any]) -> dict[str, object]:
    steps = [
        {"name": each.name, "status": each.status, "cached": each.cached, "reason": each.reason}
        for each in outcome.steps
    ]
    return {"run_id": outcome.run_id, "status": outcome.status, "result": outcome.result, "steps": steps}
