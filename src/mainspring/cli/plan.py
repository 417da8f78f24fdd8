"""`mainspring plan`: what a run would do, and why, before anything runs."""

from dataclasses import asdict

import click

from mainspring.cli.loading import target_in
from mainspring.cli.output import json_option, print_json, print_table, short
from mainspring.loop.definition import Loop
from mainspring.pipeline.parameters import parse_parameters
from mainspring.pipeline.plan import Plan, PlannedStep
from mainspring.workspace import Workspace

__all__ = ["plan_command"]


@click.command("plan")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@json_option
def plan_command(target: str, given: tuple[str, ...], as_json: bool) -> int:
    """Say what `mainspring run` with the same words would do, and why.

    Each step is a hit, runs because of a change, or runs only if its input changes. No step runs and nothing is
    written; only the body of the pipeline runs. What no cache key can cover is listed below the steps.

    \b
    Example:
      mainspring plan train.py -p c=0.5
    """
    found = target_in(target)
    with Workspace() as workspace:
        if isinstance(found, Loop):
            parameters = found.arguments(workspace, parse_parameters(found.pipeline, given, partial=True))
            plan = found.pipeline.plan(workspace.pipeline_context, **parameters)
        else:
            plan = found.plan(workspace.pipeline_context, **parse_parameters(found, given))
    if as_json:
        print_json(_document(plan))
    else:
        _print(plan)
    return 0


def _document(plan: Plan) -> dict[str, object]:
    return {"pipeline": plan.pipeline, "steps": [asdict(each) for each in plan.steps], "undecided": plan.undecided}


def _print(plan: Plan) -> None:
    print_table(
        ["plan", "step", "why"], [[_word(each), each.name, _why(each)] for each in plan.steps], empty="No steps."
    )
    if plan.undecided:
        click.echo(f"What follows is {plan.undecided}.")
    unseen = {what: None for each in plan.steps for what in each.opaque}
    if unseen:
        click.echo("Not covered by any key:")
        for what in unseen:
            click.echo(f"  {what}")


def _word(step: PlannedStep) -> str:
    return "run?" if step.verdict == "maybe" else step.verdict


def _why(step: PlannedStep) -> str:
    return f"from run {short(step.from_run)}" if step.verdict == "hit" else step.reason
