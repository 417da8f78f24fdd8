"""`mainspring run`: run a loop or a pipeline once, with live progress, and say what came of it."""

import contextlib
from dataclasses import replace
from typing import Any

import click

from mainspring.cli.loading import target_in
from mainspring.cli.output import json_option, print_json, print_table
from mainspring.cli.progress import print_cost, progress_for_people
from mainspring.loop.definition import Loop, LoopRun
from mainspring.pipeline.cost import cost_of
from mainspring.pipeline.ledger import Ledger
from mainspring.pipeline.outcome import RunFailed, RunOutcome
from mainspring.pipeline.parameters import parse_parameters
from mainspring.pipeline.step import Pipeline
from mainspring.workspace import Workspace

__all__ = ["run_command"]


@click.command("run")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option("--partitions", default="", metavar="FIRST..LAST", help="Run once for each partition not done yet.")
@click.option("--step", type=int, default=None, metavar="NUMBER", help="Make only this step, of kept inputs.")
@click.option("--wait", default="", metavar="DURATION", help="Wait until others have kept what it needs, such as 1d.")
@click.option("--author", default="", help="Who made the candidate (default: you).")
@json_option
def run_command(
    target: str, given: tuple[str, ...], partitions: str, step: int | None, wait: str, author: str, as_json: bool
) -> int:
    """Run the loop or pipeline that FILE defines, once.

    A loop trains, puts the candidate through its gates, registers it and lets it serve as far as approvals allow.
    With --step just one step is made, of results that other processes keep in the same workspace; that is what the
    Jobs of `mainspring export` do. With --json the last line is one object: run_id, status, result, steps.

    \b
    Example:
      mainspring run loop.py
      mainspring run pipeline.py:train -p rate=0.1 --json
      mainspring run report.py:report --partitions 2013-01..2013-06
    """
    if partitions:
        from mainspring.cli.partitions import run_partitions  # brings planning, which a plain run does not need

        return run_partitions(target, partitions, given, as_json)
    found = target_in(target)
    parameters: dict[str, Any]  # each has the type its annotation names
    if isinstance(found, Loop):  # what is not given comes from the loop's own definition and the moment
        parameters = parse_parameters(found.pipeline, given, partial=True)
    else:
        parameters = parse_parameters(found, given)
    with Workspace() as workspace:
        progress = None if as_json else progress_for_people()
        workspace.progress = progress
        context = replace(workspace.pipeline_context, only=step)
        if wait or step is not None:
            from mainspring.pipeline.apart import wait_for  # brings planning, which a plain run does not need

            if isinstance(found, Loop):
                parameters = found.arguments(workspace, parameters)
            wait_for(_pipeline_of(found), context, parameters, step, wait)
            found = found if step is None else _pipeline_of(found)
        done: LoopRun | None = None
        outcome: RunOutcome[Any]  # of whatever the pipeline returns
        try:
            with progress or contextlib.nullcontext():
                if isinstance(found, Loop):
                    done = found.run(workspace, author=author, **parameters)
                    outcome = done.outcome
                else:
                    outcome = found.run(context, **parameters)
        except RunFailed as error:
            if as_json and error.outcome is not None:
                print_json({**_document(error.outcome), "error": str(error)})
            raise
        if not as_json:
            print_cost(cost_of(outcome.steps, Ledger(workspace.store, workspace.artifacts)))
    if done is not None and isinstance(found, Loop):
        return _say_version(found, done, as_json)
    if as_json:
        print_json(_document(outcome))
    else:
        click.echo(f"Run {outcome.run_id[-8:]} {outcome.status}: {outcome.result}")
    return 0


def _pipeline_of(found: Loop | Pipeline[..., Any]) -> Pipeline[..., Any]:
    return found.pipeline if isinstance(found, Loop) else found


def _say_version(loop: Loop, done: LoopRun, as_json: bool) -> int:
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
