"""`mainspring monitor`: one look at production, and what follows from it."""

import click

from mainspring.cli.loading import loop_in
from mainspring.cli.output import json_option, print_json, print_table
from mainspring.domain.policy import Monitor
from mainspring.domain.policy import monitor as default_monitor
from mainspring.monitor.estimate import outlook
from mainspring.monitor.quality import baseline_of, quality_of, tell_verdict, watch_quality
from mainspring.registry.versions import list_versions
from mainspring.workspace import Workspace

__all__ = ["monitor_command"]


@click.command("monitor")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--watch-only", is_flag=True, help="Say what is seen, do nothing about it.")
@json_option
def monitor_command(file: str | None, watch_only: bool, as_json: bool) -> None:
    """Look at production once. With FILE, the loop in it acts on what is seen: incident, retraining, canary, rollback.

    \b
    Example:
      mainspring monitor
      mainspring monitor loop.py
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
            text = (
                "no label has come yet" if found is None else tell_verdict(found, baseline_of(version), rule.tolerance)
            )
            status = "waiting" if found is None else found.status
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
