"""`mainspring staleness`: how fast a model ages, and what retraining it is worth."""

import click

from mainspring.cli.loading import loop_in
from mainspring.cli.output import json_option, print_json, print_table
from mainspring.cli.progress import progress_for_people
from mainspring.domain.moments import parse_duration
from mainspring.loop.staleness import Age, Staleness, staleness
from mainspring.pipeline.parameters import parse_parameters
from mainspring.workspace import Workspace

__all__ = ["staleness_command"]


@click.command("staleness")
@click.argument("file", default="loop.py")
@click.option(
    "--ages", default="7d,30d,60d,90d,180d", show_default=True, metavar="DURATIONS", help="How much earlier to train."
)
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline.")
@json_option
def staleness_command(file: str, ages: str, given: tuple[str, ...], as_json: bool) -> None:
    """Train FILE's loop as it would have been at earlier moments, and score all on the newest rows.

    The table says what each age costs, with an interval by day, and what is saved by retraining as often. Nothing is
    registered and nothing serves.

    \b
    Example:
      mainspring staleness loop.py --ages 7d,30d,90d
    """
    loop = loop_in(file)
    wanted = [parse_duration(each.strip()) for each in ages.split(",") if each.strip()]
    with Workspace() as workspace:
        workspace.progress = progress = progress_for_people()
        with progress:
            found = staleness(loop, workspace, wanted, **parse_parameters(loop.pipeline, given, partial=True))
    if as_json:
        print_json(found.to_json())
        return
    print_table(
        ["age", "trained until", "loss", "costs", "surely", "worth"],
        [_row(each) for each in found.ages],
        empty="No ages.",
    )
    click.echo(_said(found))


def _row(age: Age) -> list[str]:
    cost = age.cost
    return [
        f"{age.days:g} d",
        age.trained_until[:10],
        f"{age.loss:.4f}",
        "" if cost is None else f"{cost.difference:+.4f} [{cost.low:+.4f}, {cost.high:+.4f}]",
        "" if cost is None else {"worse": "yes", "better": "no, it is better"}.get(cost.verdict, "no"),
        f"{age.worth:.4f}" if age.days else "",
    ]


def _said(found: Staleness) -> str:
    first, last = found.tested
    span = f" from {first} to {last}" if first else ""
    told = f"Mean {found.loss} on {found.rows:,} rows{span} that no model learnt from."
    if found.half_life_days is None:
        return (
            f"{told}\nThe oldest is not surely worse than the newest: nothing here speaks against retraining as seldom."
        )
    return (
        f"{told}\nHalf of what the oldest loses is lost after {found.half_life_days:.0f} days. `worth` is the mean loss"
        " saved by retraining as often, instead of as seldom as the oldest."
    )
