"""`mainspring monitor`: one look at production and what follows from it, and rules replayed before they are armed."""

import click

from mainspring.cli.listed import ListedByDefault
from mainspring.cli.loading import loop_in
from mainspring.cli.output import json_option, print_json, print_table
from mainspring.domain.policy import Monitor
from mainspring.domain.policy import monitor as default_monitor
from mainspring.monitor.estimate import outlook
from mainspring.monitor.quality import (
    backtest_quality,
    baseline_of,
    has_baseline,
    quality_of,
    tell_verdict,
    watch_quality,
)
from mainspring.registry.versions import find_version, list_versions
from mainspring.workspace import Workspace

__all__ = ["monitor_command"]


class _LooksByDefault(ListedByDefault):
    default = "look"


@click.group("monitor", cls=_LooksByDefault)
def monitor_command() -> None:
    """Look at production once, or replay a rule over history before it is armed.

    \b
    Example:
      mainspring monitor
      mainspring monitor loop.py
      mainspring monitor backtest late-flights@champion --tolerance 0.2
    """


@monitor_command.command("look")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--watch-only", is_flag=True, help="Say what is seen, do nothing about it.")
@json_option
def look_command(file: str | None, watch_only: bool, as_json: bool) -> None:
    """Look at production once. With FILE, the loop in it acts on what is seen: incident, retraining, canary, rollback.

    \b
    Example:
      mainspring monitor look
      mainspring monitor look loop.py --watch-only
    """
    loop = loop_in(file) if file is not None else None
    rule: Monitor = loop.monitor if loop is not None else default_monitor()
    with Workspace() as workspace:
        workspace.seal()
        done = loop.tick(workspace) if loop is not None and not watch_only else []
        seen = []
        for version in list_versions(workspace.store):
            if "champion" not in version.aliases:
                continue
            signature = workspace.signature_of(version.model, version.version)
            if loop is None:
                watch_quality(workspace.store, workspace.log, version, signature, rule, now=workspace.clock.now())
            found = quality_of(workspace.store, version, rule, now=workspace.clock.now())
            asked, labelled = workspace.log.counts(version.model)
            expected = outlook(workspace.log, version, signature, rule, now=workspace.clock.now())
            text, status = "no label has come yet", "waiting"
            if not has_baseline(version):
                text, status = "registered without rows to judge it by", "not judged"
            elif found is not None:
                text, status = tell_verdict(found, baseline_of(version), rule.tolerance), found.status
            seen.append(
                {
                    "model": version.reference,
                    "status": status,
                    "predictions": asked,
                    "labels": labelled,
                    "seen": text,
                    "verdict": None if found is None else found.to_json(),
                    "expected": "" if expected is None else str(expected),
                    "outlook": None if expected is None else expected.to_json(),
                }
            )
    if as_json:
        print_json({"seen": seen, "done": [each._asdict() for each in done]})
        return
    rows = [[each["model"], each["status"], each["predictions"], each["labels"], each["seen"]] for each in seen]
    print_table(["champion", "", "predictions", "labels", "quality"], rows, empty="No model serves yet.")
    for each in seen:
        if each["expected"]:
            click.echo(f"{each['model']}: {each['expected']}")
    for action in done:
        click.echo(f"{action.policy}: {action.text}")


@monitor_command.command("backtest")
@click.argument("model")
@click.option("--every", default="1d", show_default=True, help="Length of a block, such as 1h or 1d.")
@click.option(
    "--tolerance",
    type=float,
    default=default_monitor().tolerance,
    show_default=True,
    help="Rise of the mean loss that nobody needs to hear of.",
)
@click.option(
    "--alpha",
    type=float,
    default=default_monitor().alpha,
    show_default=True,
    help="Stated rate of false alarms a block.",
)
@json_option
def backtest_command(model: str, every: str, tolerance: float, alpha: float, as_json: bool) -> None:
    """Say when a rule would have alerted on all labelled answers of MODEL: NAME, NAME@ALIAS or NAME/VERSION.

    Nothing is written and nobody is told. The rule is the one that pages: the loss of labelled rows above its limit.

    \b
    Example:
      mainspring monitor backtest late-flights@champion --every 1d --tolerance 0.2
    """
    rule = default_monitor(every=every, tolerance=tolerance, alpha=alpha)
    with Workspace() as workspace:
        workspace.seal()
        version = find_version(workspace.store, model)
        signature = workspace.signature_of(version.model, version.version)
        found = backtest_quality(workspace.log, version, signature, rule, now=workspace.clock.now())
    if as_json:
        print_json({"model": version.reference, **found.to_json()})
        return
    click.echo(f"{version.reference}: {found}")
    for began in found.began:
        click.echo(f"  {began}")
