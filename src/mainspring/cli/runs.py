"""`mainspring runs`: what was tried and what came of it."""

from dataclasses import asdict

import click

from mainspring.cli.output import json_option, print_fields, print_json, print_table, short, when
from mainspring.cli.progress import print_cost
from mainspring.errors import Invalid, nearest
from mainspring.pipeline.cost import StepCost, cost_of
from mainspring.pipeline.ledger import Ledger, steps_of
from mainspring.tracking.runs import Run, find_run, list_runs
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
            cost = cost_of(steps_of(workspace.store, run.run_id), Ledger(workspace.store, workspace.artifacts))
            if as_json:
                document = {name: getattr(run, name) for name in Run.__dataclass_fields__}
                steps = [{**asdict(each.row), "saved_seconds": each.saved_seconds} for each in cost.steps]
                print_json({**document, "steps": steps, "saved_seconds": cost.saved_seconds})
                return
            head = {"run": run.run_id, "experiment": run.experiment, "name": run.name, "status": run.status}
            print_fields({**head, "started": when(run.started_at), "ended": when(run.ended_at)})
            print_fields({"parameters": run.parameters, "metrics": run.metrics, "tags": run.tags})
            if cost.steps:
                click.echo()
                print_table(_STEP_COLUMNS, [_step_cells(each) for each in cost.steps])
                print_cost(cost)
            return
        found = list_runs(workspace.store, experiment=experiment, limit=limit)
        if sort:
            key, smallest = sort.removeprefix("-"), sort.startswith("-")
            known = {name for run in found for name in run.metrics}
            if found and key not in known:
                raise Invalid(f"No run has the metric `{key}`", where="--sort", next_step=nearest(key, known))
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


_STEP_COLUMNS = ["step", "", "", "seconds", "CPU", "memory", "saved", "seed", "said", "why"]


def _step_cells(step: StepCost) -> list[object]:
    row = step.row
    memory = f"{row.peak_memory_bytes / 1e6:.0f} MB" if row.peak_memory_bytes else ""
    cpu = "" if row.cached or row.cpu_seconds is None else f"{row.cpu_seconds:.2f}"
    return [
        row.number,
        row.name,
        "cached" if row.cached else row.status,
        _seconds(row.seconds),
        cpu,
        memory,
        _seconds(step.saved_seconds),
        row.seed,
        "logs" if row.log else "",
        row.error.partition("\n")[0] or row.reason,
    ]


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _listed(metrics: dict[str, float]) -> str:
    shown = sorted(metrics.items())[:4]
    return "  ".join(f"{name}={value:.4g}" for name, value in shown)
