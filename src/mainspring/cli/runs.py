"""`mainspring runs`: what was tried and what came of it."""

from dataclasses import asdict
from pathlib import Path

import click

from mainspring.cli.output import json_option, print_fields, print_json, print_table, short, when
from mainspring.cli.progress import print_cost
from mainspring.cli.saving import save_rows, saving_option_help
from mainspring.errors import Invalid, nearest
from mainspring.pipeline.cost import StepCost, cost_of
from mainspring.pipeline.ledger import Ledger, steps_of
from mainspring.store.protocol import Store
from mainspring.tracking.experiment_search import search_experiments
from mainspring.tracking.experiments import experiments_named
from mainspring.tracking.groups import Measure, RunGroup, group_runs
from mainspring.tracking.run_search import search_runs
from mainspring.tracking.runs import Run, find_run
from mainspring.workspace import Workspace

__all__ = ["runs_command"]


@click.command("runs")
@click.argument("run_id", required=False)
@click.option("--experiment", help="Only runs of this experiment.")
@click.option("--filter", "wanted", default="", metavar="FILTER", help="Only runs of which this holds; see below.")
@click.option("--order-by", multiple=True, metavar="KEY [DESC]", help="Order by this; may be given more than once.")
@click.option("--sort", metavar="METRIC", help="Order by a metric, best first (prefix with - for smallest first).")
@click.option("--group-by", multiple=True, metavar="KEY", help="Put runs that agree in this into one line: mean ± sd.")
@click.option(
    "--measure",
    default="last",
    show_default=True,
    type=click.Choice(["last", "min", "max"]),
    help="Which value of a metric counts in a group.",
)
@click.option("--limit", default=30, show_default=True, type=click.IntRange(1, 10_000), help="How many at most.")
@click.option("--to", "path", type=click.Path(path_type=Path, dir_okay=False), help=saving_option_help)
@json_option
def runs_command(
    run_id: str | None,
    experiment: str | None,
    wanted: str,
    order_by: tuple[str, ...],
    sort: str | None,
    group_by: tuple[str, ...],
    measure: Measure,
    limit: int,
    path: Path | None,
    as_json: bool,
) -> None:  # fmt: skip
    """List runs, newest first, or show one.

    \b
    Example:
      mainspring runs --sort roc_auc
      mainspring runs 3f2a91bc
      mainspring runs --filter "metrics.loss < 0.2 and (params.model = 'tree' or tags.team is null)"
      mainspring runs --order-by "max(metrics.acc) desc" --to runs.parquet
      mainspring runs --group-by params.model --order-by metrics.loss
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
        experiments = _experiments(workspace.store, experiment)
        if group_by:
            by = [name.strip() for each in group_by for name in each.split(",")]
            groups = group_runs(
                workspace.store,
                experiments,
                by,
                filter=wanted,
                order_by=order_by[0] if order_by else "",
                measure=measure,
                limit=limit,
            )
            _show_groups(groups, by, path, as_json)
            return
        if sort:
            smallest = sort.startswith("-")
            order_by = (f"metrics.`{sort.removeprefix('-')}` {'ASC' if smallest else 'DESC'}", *order_by)
        found = _found(workspace.store, experiments, wanted, order_by, limit if path is None else None)
        if sort:
            key = sort.removeprefix("-")
            known = {name for run in found for name in run.metrics}
            if found and key not in known:
                raise Invalid(f"No run has the metric `{key}`", where="--sort", next_step=nearest(key, known))
            found = [run for run in found if key in run.metrics]
        if path is not None:
            save_rows(path, [_flat(run) for run in found])
            click.echo(f"{len(found)} runs in {path}")
            return
        if as_json:
            print_json(found)
            return
        rows = [
            [short(run.run_id), run.experiment, run.name, run.status, when(run.started_at), _listed(run.metrics)]
            for run in found
        ]
        print_table(["run", "experiment", "name", "status", "started", "metrics"], rows, empty="No runs yet.")


def _experiments(store: Store, name: str | None) -> list[int]:
    """Return the experiment of that name, or every active one."""
    if name is not None:
        return [each.experiment_id for each in experiments_named(store, name)]
    return [each.experiment_id for each in search_experiments(store, limit=50_000).experiments]


def _found(
    store: Store, experiments: list[int], wanted: str, order_by: tuple[str, ...], limit: int | None
) -> list[Run]:
    """Return the first runs of a search, or all of them."""
    page = search_runs(store, experiments, filter=wanted, order_by=order_by, limit=limit or 1000)
    found = page.runs
    while limit is None and page.token is not None:
        page = search_runs(store, experiments, filter=wanted, order_by=order_by, token=page.token)
        found += page.runs
    return found


def _flat(run: Run) -> dict[str, object]:
    row: dict[str, object] = {
        "run_id": run.run_id,
        "experiment": run.experiment,
        "name": run.name,
        "status": run.status,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }
    row |= {f"parameters.{key}": value for key, value in run.parameters.items()}
    row |= {f"metrics.{key}": value for key, value in run.metrics.items()}
    return row | {f"tags.{key}": value for key, value in run.tags.items()}


def _show_groups(groups: list[RunGroup], by: list[str], path: Path | None, as_json: bool) -> None:
    if path is not None:
        rows: list[dict[str, object]] = []
        for group in groups:
            row: dict[str, object] = {**group.key, "runs": group.runs}
            for name, summary in group.metrics.items():
                row |= {f"{name}.{part}": value for part, value in summary._asdict().items()}
            rows.append(row)
        save_rows(path, rows)
        click.echo(f"{len(groups)} groups in {path}")
        return
    if as_json:
        told = [{name: summary._asdict() for name, summary in group.metrics.items()} for group in groups]
        print_json(
            [{**group.key, "runs": group.runs, "metrics": each} for group, each in zip(groups, told, strict=True)]
        )
        return
    print_table(
        [*by, "runs", "metrics"],
        [[*group.key.values(), group.runs, _summed(group)] for group in groups],
        empty="No runs match.",
    )


def _summed(group: RunGroup) -> str:
    return "  ".join(
        f"{name}={summary.mean:.4g}" + ("" if summary.deviation is None else f"±{summary.deviation:.2g}")
        for name, summary in list(group.metrics.items())[:4]
    )


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
