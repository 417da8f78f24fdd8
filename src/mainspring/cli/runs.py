"""`mainspring runs`: what was tried and what came of it."""

import click

from mainspring.cli.output import json_option, print_fields, print_json, print_table, short, when
from mainspring.tracking.runs import find_run, list_runs
from mainspring.workspace import Workspace

__all__ = ["runs_command"]


@click.command("runs")
@click.argument("run_id", required=False)
@click.option("--experiment", help="Only runs of this experiment.")
@click.option("--sort", metavar="METRIC", help="Order by a metric, best first (prefix with - for smallest first).")
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="How many at most.")
@json_option
def runs_command(run_id: str | None, experiment: str | None, sort: str | None, limit: int, as_json: bool) -> None:
    """List runs, newest first, or show one.

    \b
    Example:
      mainspring runs --sort roc_auc
      mainspring runs 3f2a91bc
    """
    with Workspace() as workspace:
        if run_id:
            run = find_run(workspace.store, run_id)
            if as_json:
                print_json(run)
                return
            head = {"run": run.run_id, "experiment": run.experiment, "name": run.name, "status": run.status}
            print_fields({**head, "started": when(run.started_at), "ended": when(run.ended_at)})
            print_fields({"parameters": run.parameters, "metrics": run.metrics, "tags": run.tags})
            return
        found = list_runs(workspace.store, experiment=experiment, limit=limit)
        if sort:
            key, smallest = sort.removeprefix("-"), sort.startswith("-")
            found = [run for run in found if key in run.metrics]
            found.sort(key=lambda run: run.metrics[key], reverse=not smallest)
        if as_json:
            print_json(found)
            return
        rows = [
            [short(run.run_id), run.experiment, run.name, run.status, when(run.started_at), _listed(run.metrics)]
            for run in found
        ]
        print_table(["run", "experiment", "name", "status", "started", "metrics"], rows, empty="No runs yet.")


def _listed(metrics: dict[str, float]) -> str:
    shown = sorted(metrics.items())[:4]
    return "  ".join(f"{name}={value:.4g}" for name, value in shown)
