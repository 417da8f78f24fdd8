"""`mainspring schedule`: what runs by the clock, and how it stands. Servers run what is due; `tick` does it once."""

import os
import signal
from pathlib import Path
from typing import Any

import click

from mainspring.cli.loading import loop_in, target_in
from mainspring.cli.output import as_json as plain
from mainspring.cli.output import json_option, print_json, print_table, short, when
from mainspring.domain.moments import to_iso
from mainspring.errors import MainspringError
from mainspring.loop.definition import Loop
from mainspring.loop.housekeeping import clean, drill
from mainspring.pipeline.parameters import parse_parameters
from mainspring.pipeline.scheduler import Answer, holder_name
from mainspring.pipeline.schedules import CatchUp, Schedule, add_schedule, find_schedule, remove_schedule, split_target
from mainspring.pipeline.ticks import Standing, Tick, list_standings, list_ticks, run_due
from mainspring.serve.process import end_with_parent
from mainspring.workspace import Workspace

__all__ = ["perform", "schedule_command"]

_GRACE_SECONDS = 20


@click.group("schedule")
def schedule_command() -> None:
    """Run loops and pipelines by the clock.

    `mainspring server` and `mainspring up` run what is due. Several may share one store: each tick is claimed by one of
    them, for as long as it renews its lease.

    \b
    Example:
      mainspring schedule add nightly "0 6 * * *" report.py:report -p region=EU
      mainspring schedule add watch "every 10m" loop.py --look
      mainspring schedule list
    """


@schedule_command.command("add")
@click.argument("name")
@click.argument("cron")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@click.option("--look", "is_look", is_flag=True, help="Let the loop look at production instead of training.")
@click.option("--catch-up", type=click.Choice(["latest", "all"]), default="latest", show_default=True,
              help="Of ticks missed while nobody looked: run the latest, or all.")  # fmt: skip
@click.option("--timezone", default="UTC", show_default=True, help="Whose clocks the expression means.")
@json_option
def _add(
    name: str,
    cron: str,
    target: str,
    given: tuple[str, ...],
    is_look: bool,
    catch_up: CatchUp,
    timezone: str,
    as_json: bool,
) -> None:
    """Keep a schedule: CRON is minute, hour, day, month, weekday, in quotes, or "every 10m"."""
    found = loop_in(target) if is_look else target_in(target)
    parse_parameters(found.pipeline if isinstance(found, Loop) else found, given, partial=isinstance(found, Loop))
    path, within = split_target(target)
    # Kept whole, because the scheduler may start in another folder.
    whole = f"{path.resolve()}:{within}" if within else str(path.resolve())
    with Workspace() as workspace:
        made = add_schedule(
            workspace.store, name, cron, whole,
            now=workspace.clock.now(), parameters=given, catch_up=catch_up, timezone=timezone,
            duty="look" if is_look else "run",
        )  # fmt: skip
    if as_json:
        print_json(made)
    else:
        click.echo(
            f"{name} runs next at {when(to_iso(made.next_at))} UTC."
            " Keep `mainspring server` or `mainspring up` running, or call: mainspring schedule tick"
        )


@schedule_command.command("list")
@click.option("--ticks", is_flag=True, help="List the last ticks instead.")
@json_option
def _list(ticks: bool, as_json: bool) -> None:
    """List the schedules, the next to run first: when each runs next, how it last ended, and who is at it now."""
    with Workspace() as workspace:
        standings = [] if ticks else list_standings(workspace.store)
        ended = list_ticks(workspace.store) if ticks else []
    if ticks:
        _print_ticks(ended, as_json, empty="No tick was due yet.")
    elif as_json:
        print_json([_standing(each) for each in standings])
    else:
        headings = ["name", "cron", "clocks", "runs", "next (UTC)", "last", "at work"]
        print_table(headings, [_row(each) for each in standings], empty="No schedules.")


def _standing(standing: Standing) -> dict[str, object]:
    made: Any = plain(standing.schedule)  # a dictionary, as every dataclass gives
    return {**made, "last": standing.last, "at_work": standing.at_work}


def _row(standing: Standing) -> list[object]:
    made, last, held = standing.schedule, standing.last, standing.at_work
    does = made.duty if not made.target else f"{'look of ' if made.duty == 'look' else ''}{Path(made.target).name}"
    return [
        made.name, made.cron, made.timezone, does, when(to_iso(made.next_at)),
        "" if last is None else f"{last.status} {when(to_iso(last.due_at))}", "" if held is None else held.holder,
    ]  # fmt: skip


@schedule_command.command("remove")
@click.argument("name")
def _remove(name: str) -> None:
    """Drop a schedule and its ticks."""
    with Workspace() as workspace:
        remove_schedule(workspace.store, name)
    click.echo(f"{name} removed.")


@schedule_command.command("run")
@click.argument("name")
@click.option("--answer", type=click.Path(path_type=Path), hidden=True, help="Of a scheduler: where to say the end.")
def _run(name: str, answer: Path | None) -> int:
    """Do now what a schedule does, whatever the clock says; its ticks stay as they are.

    \b
    Example:
      mainspring schedule run drill
    """
    if answer is not None:
        end_with_parent(lambda: os.kill(os.getpid(), signal.SIGINT), _GRACE_SECONDS)
    with Workspace() as workspace:
        try:
            run_id = perform(workspace, find_schedule(workspace.store, name))
        except MainspringError as error:
            if answer is None:
                raise
            Answer.write(answer, "", error.what)
            raise
    if answer is not None:
        Answer.write(answer, run_id)
    return 0


@schedule_command.command("tick")
@json_option
def _tick(as_json: bool) -> int:
    """Run what is due now, and end; exit 1 when something failed. For a system's own scheduler, or to try it out."""
    with Workspace() as workspace:
        ended = run_due(
            workspace.store,
            workspace.clock,
            lambda schedule, tick, lost: perform(workspace, schedule),
            holder=holder_name(),
            only=lambda schedule: schedule.is_here,
        )
    _print_ticks(ended, as_json, empty="Nothing is due.")
    return 1 if any(each.status == "failed" for each in ended) else 0


def _print_ticks(ticks: list[Tick], as_json: bool, *, empty: str) -> None:
    if as_json:
        print_json(ticks)
        return
    rows = [[each.schedule, when(to_iso(each.due_at)), each.status, short(each.run_id), each.error] for each in ticks]
    print_table(["schedule", "due", "status", "run", "error"], rows, empty=empty)


def perform(workspace: Workspace, schedule: Schedule) -> str:
    """Do what a schedule names, in this process, and return the id of the run; empty where it is none."""
    match schedule.duty:
        case "run":
            return _trained(workspace, schedule)
        case "look":
            for action in loop_in(schedule.target).tick(workspace):
                click.echo(f"{action.policy}: {action.text}", err=True)
        case "retention":
            workspace.seal()
            freed, forgotten = clean(workspace)
            rows = 0 if forgotten is None else forgotten.rows
            click.echo(f"retention: freed {freed.size_bytes:,} bytes, forgot {rows:,} predictions and labels", err=True)
        case "drill":
            done = drill(workspace)
            ready = ", ".join(f"{name} {seconds:g} s" for name, seconds in done.ready_seconds.items()) or "no model"
            click.echo(f"drill: {done.entries:,} entries hold; ready to answer: {ready}", err=True)
    return ""


def _trained(workspace: Workspace, schedule: Schedule) -> str:
    found = target_in(schedule.target)
    if isinstance(found, Loop):
        given: dict[str, Any] = parse_parameters(found.pipeline, schedule.parameters, partial=True)
        return found.run(workspace, **given).outcome.run_id
    return found.run(workspace.pipeline_context, **parse_parameters(found, schedule.parameters)).run_id
