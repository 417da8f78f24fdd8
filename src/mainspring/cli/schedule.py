"""`mainspring schedule`: runs by the clock; `tick` runs what is due and ends."""

import os
import socket
from pathlib import Path
from typing import Any

import click

from mainspring.cli.loading import split_target, target_in
from mainspring.cli.output import json_option, print_json, print_table, short, when
from mainspring.domain.moments import to_iso
from mainspring.loop.definition import Loop
from mainspring.pipeline.parameters import parse_parameters
from mainspring.pipeline.schedules import (
    CatchUp,
    Schedule,
    Tick,
    add_schedule,
    list_schedules,
    list_ticks,
    remove_schedule,
    run_due,
)
from mainspring.workspace import Workspace

__all__ = ["run_scheduled", "schedule_command"]


@click.group("schedule")
def schedule_command() -> None:
    """Run loops and pipelines by the clock.

    Several machines may share one store: each tick is claimed by one of them.

    \b
    Example:
      mainspring schedule add nightly "0 6 * * *" report.py:report -p region=EU
      mainspring schedule tick
    """


@schedule_command.command("add")
@click.argument("name")
@click.argument("cron")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option("--catch-up", type=click.Choice(["latest", "all"]), default="latest", show_default=True,
              help="Of ticks missed while nobody looked: run the latest, or all.")  # fmt: skip
@click.option("--timezone", default="UTC", show_default=True, help="Whose clocks the expression means.")
@json_option
def _add(
    name: str, cron: str, target: str, given: tuple[str, ...], catch_up: CatchUp, timezone: str, as_json: bool
) -> None:
    """Keep a schedule: CRON is minute, hour, day, month, weekday, in quotes."""
    found = target_in(target)
    parse_parameters(found.pipeline if isinstance(found, Loop) else found, given, partial=isinstance(found, Loop))
    path, within = split_target(target)
    # Kept whole, because the scheduler may start in another folder.
    whole = f"{path.resolve()}:{within}" if within else str(path.resolve())
    with Workspace() as workspace:
        made = add_schedule(
            workspace.store, name, cron, whole,
            now=workspace.clock.now(), parameters=given, catch_up=catch_up, timezone=timezone,
        )  # fmt: skip
    if as_json:
        print_json(made)
    else:
        click.echo(
            f"{name} runs next at {when(to_iso(made.next_at))} UTC."
            " Keep `mainspring up` running, or call: mainspring schedule tick"
        )


@schedule_command.command("list")
@click.option("--ticks", is_flag=True, help="List the last ticks instead.")
@json_option
def _list(ticks: bool, as_json: bool) -> None:
    """List the schedules, the next to run first."""
    with Workspace() as workspace:
        made: list[Any] = list_ticks(workspace.store) if ticks else list_schedules(workspace.store)  # either kind
    if as_json:
        print_json(made)
    elif ticks:
        rows = [
            [each.schedule, when(to_iso(each.due_at)), each.status, short(each.run_id), each.error] for each in made
        ]
        print_table(["schedule", "due", "status", "run", "error"], rows, empty="No tick was due yet.")
    else:
        rows = [
            [each.name, each.cron, each.timezone, Path(each.target).name, when(to_iso(each.next_at))] for each in made
        ]
        print_table(["name", "cron", "clocks", "runs", "next (UTC)"], rows, empty="No schedules.")


@schedule_command.command("remove")
@click.argument("name")
def _remove(name: str) -> None:
    """Drop a schedule and its ticks."""
    with Workspace() as workspace:
        remove_schedule(workspace.store, name)
    click.echo(f"{name} removed.")


@schedule_command.command("tick")
@json_option
def _tick(as_json: bool) -> int:
    """Run what is due now, and end; exit 1 when something failed. For a system's own scheduler, or to try it out."""
    with Workspace() as workspace:
        ended = run_due(
            workspace.store,
            workspace.clock,
            lambda schedule, tick: run_scheduled(workspace, schedule, tick),
            holder=f"{socket.gethostname()}:{os.getpid()}",
        )
    if as_json:
        print_json(ended)
    else:
        rows = [
            [each.schedule, when(to_iso(each.due_at)), each.status, short(each.run_id), each.error] for each in ended
        ]
        print_table(["schedule", "due", "status", "run", "error"], rows, empty="Nothing is due.")
    return 1 if any(each.status == "failed" for each in ended) else 0


def _tick_row(tick: Tick) -> list[object]:
    return [tick.schedule, when(to_iso(tick.due_at)), tick.status, short(tick.run_id), tick.error]


def run_scheduled(workspace: Workspace, schedule: Schedule, tick: Tick) -> str:
    """Run what a schedule names, and return the id of the run."""
    found = target_in(schedule.target)
    if isinstance(found, Loop):
        given: dict[str, Any] = parse_parameters(found.pipeline, schedule.parameters, partial=True)
        return found.run(workspace, **given).outcome.run_id
    return found.run(workspace.pipeline_context, **parse_parameters(found, schedule.parameters)).run_id
