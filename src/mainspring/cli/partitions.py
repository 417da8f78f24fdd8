"""`mainspring partitions`: how each partition of a pipeline stands; and the backfill behind `mainspring run`."""

from typing import Any

import click

from mainspring.cli.loading import target_in
from mainspring.cli.output import json_option, print_json, print_table, short, when
from mainspring.errors import Invalid
from mainspring.pipeline.backfill import PartitionRun, backfill, partition_parameter, partition_runs
from mainspring.pipeline.parameters import parse_parameters
from mainspring.pipeline.partitions import parse_range
from mainspring.pipeline.step import Pipeline
from mainspring.workspace import Workspace

__all__ = ["partitions_command", "run_partitions"]


@click.command("partitions")
@click.argument("target", metavar="FILE[:NAME]")
@click.option("--partitions", "wanted", default="", metavar="FIRST..LAST", help="Which ones (default: those ever run).")
@click.option("-p", "--parameter", "given", multiple=True, metavar="NAME=VALUE", help="Another parameter.")
@json_option
def partitions_command(target: str, wanted: str, given: tuple[str, ...], as_json: bool) -> None:
    """List how each partition of a pipeline stands: done, stale, failed or missing.

    A partition is stale when a plan finds that its result would not be found any more, and says why.

    \b
    Example:
      mainspring partitions report.py --partitions 2013-01..2013-12
    """
    pipeline, parameters = _pipeline_in(target, given)
    with Workspace() as workspace:
        asked = parse_range(wanted) if wanted else None
        found = partition_runs(pipeline, workspace.pipeline_context, asked, parameters)
    if as_json:
        print_json([_document(each) for each in found])
        return
    rows = [[each.partition.key, each.status, short(each.run_id), when(each.ended_at), each.reason] for each in found]
    print_table(["partition", "status", "run", "ended", "why"], rows, empty="No partition was ever run.")


def run_partitions(target: str, wanted: str, given: tuple[str, ...], as_json: bool) -> int:
    """Run the pipeline for each partition that is not done, telling of each; 1 when one failed."""
    pipeline, parameters = _pipeline_in(target, given)
    asked = parse_range(wanted)

    def tell(run: PartitionRun) -> None:
        if not as_json:
            word = "kept" if run.skipped else run.status
            click.echo(f"  {run.partition.key}  {word:<7} {short(run.run_id)}  {run.reason}".rstrip(), err=True)

    with Workspace() as workspace:
        ended = backfill(pipeline, workspace.pipeline_context, asked, parameters, tell)
    failed = sum(each.status == "failed" for each in ended)
    if as_json:
        print_json({"status": "failed" if failed else "finished", "partitions": [_document(each) for each in ended]})
    else:
        ran = sum(not each.skipped for each in ended) - failed
        click.echo(f"{ran} partitions ran, {len(ended) - ran - failed} were done already, {failed} failed.")
    return 1 if failed else 0


def _pipeline_in(target: str, given: tuple[str, ...]) -> tuple[Pipeline[..., Any], dict[str, object]]:
    found = target_in(target)
    if not isinstance(found, Pipeline):
        raise Invalid(f"`{target}` is a loop", next_step="name a pipeline with a parameter annotated `ms.Partition`")
    parameter = partition_parameter(found)
    parameters = parse_parameters(found, given, partial=True)
    if parameter in parameters:
        raise Invalid(f"`{parameter}` is the partition", where=f"-p {parameter}", next_step="give it with --partitions")
    return found, parameters


def _document(run: PartitionRun) -> dict[str, object]:
    return {
        "partition": run.partition.key, "status": run.status, "run_id": run.run_id, "ended_at": run.ended_at,
        "reason": run.reason, "skipped": run.skipped,
    }  # fmt: skip
