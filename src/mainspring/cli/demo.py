"""`mainspring demo`: one model's life on real flights, with live progress and one table at the end."""

import time
from datetime import timedelta
from pathlib import Path

import click

from mainspring.cli.loading import load_file
from mainspring.cli.output import print_table
from mainspring.demo.life import Day, live
from mainspring.demo.report import stage_rows
from mainspring.demo.scene import set_scene
from mainspring.domain.moments import from_iso
from mainspring.workspace import Workspace

__all__ = ["demo_command"]


@click.command("demo")
@click.option("--fast", is_flag=True, help="On a sixth of the flights, under a minute.")
@click.option(
    "--home", default="mainspring-demo", show_default=True, type=click.Path(path_type=Path), help="Its folder."
)
@click.option("--fresh", is_flag=True, help="Start over: remove the demo that the folder holds.")
@click.option("--until", metavar="DAY", help="Go on to this day of 2013 even when the loop has closed before.")
@click.option("--acknowledged", type=click.Path(path_type=Path), help="A file that gets a line for every answer.")
def demo_command(fast: bool, home: Path, fresh: bool, until: str | None, acknowledged: Path | None) -> int:
    """Live one model's life through 2013: train, serve, decay, incident, retraining, canary, promotion, rollback.

    On 336,776 real flights out of New York. Nothing is staged; the exit code is 1 if the loop does not close. Killed at
    any moment and started again, it goes on where it stopped.

    \b
    Example:
      mainspring demo --fast && cd mainspring-demo && mainspring timeline
    """
    started = time.monotonic()
    home = home.absolute()
    last = None if until is None else from_iso(f"{until}T00:00:00Z")

    def say(text: str) -> None:
        click.echo(f"{time.monotonic() - started:6.1f} s  {text}")

    def tell(day: Day, workspace: Workspace) -> None:
        if day.day.day in (1, 15):
            say(f"{day.day:%d %b}  {day.requests} requests, {day.rows} flights")
        look = day.day + timedelta(days=1)  # the loop looks when the day is over
        for action in day.actions:
            for line in action.splitlines():
                say(f"{look:%d %b}  {line}")

    say("setting the scene: flights, weather and planes of 2013")
    set_scene(home, fast=fast, fresh=fresh)
    user = load_file(home / "loop.py")
    ledger = None if acknowledged is None else acknowledged.absolute()
    closed = live(user, home, fast=fast, until=last, acknowledged=ledger, say=say, tell=tell)
    with Workspace(home / ".mainspring") as workspace:
        rows = stage_rows(workspace, user["loop"].name)
    click.echo()
    print_table(["stage", "what happened", "figure", "where to look"], rows)
    if not closed:
        click.echo("The loop did not close: see the table for the stage that is missing.", err=True)
        return 1
    say(f"the loop has closed. Explore it: cd {home.name} && mainspring timeline")
    return 0
