"""`mainspring cache`: what is kept of each step, an audit of it, and dropping what is old."""

import random
from datetime import UTC

import click

from mainspring.cli.output import json_option, print_json, print_table, short, when
from mainspring.domain.moments import parse_duration, to_iso
from mainspring.pipeline.audit import Audit, audit_cache
from mainspring.pipeline.ledger import Ledger
from mainspring.workspace import Workspace

__all__ = ["cache_command"]


@click.group("cache")
def cache_command() -> None:
    """Look after the kept results of steps.

    \b
    Example:
      mainspring cache audit --sample 20
    """


@cache_command.command("audit")
@click.option("--sample", default=10, show_default=True, type=click.IntRange(1), help="How many results to make again.")
@click.option("--seed", type=int, help="Choose the same sample again.")
@json_option
def _audit(sample: int, seed: int | None, as_json: bool) -> int:
    """Make a sample of the kept results again and compare; exit 1 when one comes out otherwise."""
    with Workspace() as workspace:
        found = audit_cache(workspace.pipeline_context, sample=sample, rng=random.Random(seed))
    if as_json:
        print_json({"kept": found.kept, "checked": found.checked, "is_sound": found.is_sound, "results": found.results})
    else:
        _print(found)
    return 0 if found.is_sound else 1


def _print(found: Audit) -> None:
    rows = [[each.finding, each.step, short(each.run_id), each.detail] for each in found.results]
    print_table(["finding", "step", "of run", "where or why"], rows, empty="Nothing is kept yet.")
    click.echo(f"{found.checked} of {found.kept} kept results were made again.")
    for each in found.results:
        if each.finding in ("differs", "failed"):
            causes = "; ".join(each.opaque) or "nothing was named: look for state outside the arguments"
            click.echo(f"`{each.step}` gives another result now. Not covered by its key: {causes}", err=True)


@cache_command.command("list")
@json_option
def _list(as_json: bool) -> None:
    """List what is kept, by step."""
    with Workspace() as workspace:
        entries = Ledger(workspace.store, workspace.artifacts).entries()
    if as_json:
        print_json([each._asdict() for each in entries])
        return
    rows = [[each.step, each.results, when(each.last_at), f"{each.size_bytes:,}"] for each in entries]
    print_table(["step", "results", "last", "bytes"], rows, empty="Nothing is kept yet.")


@cache_command.command("clear")
@click.option("--older-than", required=True, metavar="DURATION", help="Drop what was kept longer ago, such as 30d.")
@click.option("--step", default="", help="Only results of this step.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def _clear(older_than: str, step: str, yes: bool, as_json: bool) -> int:
    """Drop old results. Runs, metrics and models stay; a step whose result is gone runs again when it is needed."""
    age = parse_duration(older_than)
    with Workspace() as workspace:
        before = to_iso(workspace.clock.now().astimezone(UTC) - age)
        ledger = Ledger(workspace.store, workspace.artifacts)
        count = ledger.count_older(before, step)
        if count and not yes:
            click.confirm(f"Drop {count} kept results from before {when(before)}?", abort=True)
        dropped = ledger.forget_older(before, step)
    if as_json:
        print_json({"dropped": dropped})
    else:
        click.echo(f"{dropped} results dropped.")
    return 0
