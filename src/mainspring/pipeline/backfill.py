"""Backfill: a pipeline run once for each partition, skipping what is done and still current; SQL of `partition_runs`.

A partition is done when a run for it finished, with the same other parameters. It is still current when a plan would
find everything: after an edit or a change of its files it is stale, and the next backfill runs it again. A backfill
that was killed goes on where it stopped.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mainspring.domain.ids import RunId
from mainspring.domain.moments import to_iso
from mainspring.errors import Invalid
from mainspring.pipeline.outcome import RunFailed
from mainspring.pipeline.parameters import parameters_of
from mainspring.pipeline.partitions import Partition, partition
from mainspring.store.protocol import Store

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.step import Pipeline

__all__ = ["PartitionRun", "PartitionStatus", "backfill", "partition_parameter", "partition_runs"]

PartitionStatus = Literal["done", "stale", "failed", "missing"]


@dataclass(frozen=True, slots=True)
class PartitionRun:
    """One partition of one pipeline: how it stands, its last run if there was one, and why it is stale or failed."""

    partition: Partition
    status: PartitionStatus
    run_id: RunId | None = None
    ended_at: str = ""
    reason: str = ""
    skipped: bool = False


def partition_parameter(pipeline: "Pipeline[..., Any]") -> str:
    """Return the name of the parameter that takes the partition.

    Raises:
        Invalid: no parameter, or more than one, is annotated `ms.Partition`.
    """
    found = [each.name for each in parameters_of(pipeline) if each.annotation is Partition]
    if len(found) != 1:
        raise Invalid(
            f"`{pipeline.name}` has {len(found) or 'no'} parameters annotated `ms.Partition`",
            where=pipeline.where,
            next_step="give it one, such as `month: ms.Partition`",
        )
    return found[0]


def partition_runs(
    pipeline: "Pipeline[..., Any]",
    context: "PipelineContext",
    wanted: Iterable[Partition] | None = None,
    parameters: Mapping[str, object] | None = None,
) -> list[PartitionRun]:
    """Return how each partition stands, sorted by time; without `wanted`, those that were ever run.

    One plan for each partition that is done.
    """
    parameter, given = partition_parameter(pipeline), parameters or {}
    kept = _kept(context.store, pipeline.name, _text_of(given))
    asked = [partition(key) for key in kept] if wanted is None else list(wanted)
    return [
        _standing(pipeline, context, each, {**given, parameter: each}, kept.get(each.key))
        for each in sorted(asked, key=lambda one: one.start)
    ]


def backfill(
    pipeline: "Pipeline[..., Any]",
    context: "PipelineContext",
    wanted: Iterable[Partition],
    parameters: Mapping[str, object] | None = None,
    on_partition: Callable[[PartitionRun], None] = lambda run: None,
) -> list[PartitionRun]:
    """Run `pipeline` for each partition that is not done or not current; one that fails does not stop the others.

    `on_partition` is told of each as it ends.
    """
    parameter, given = partition_parameter(pipeline), parameters or {}
    text = _text_of(given)
    ended = []
    for standing in partition_runs(pipeline, context, wanted, given):
        made = standing
        if standing.status == "done":
            made = PartitionRun(
                standing.partition, "done", standing.run_id, standing.ended_at, standing.reason, skipped=True
            )
        else:
            made = _run(pipeline, context, standing, {**given, parameter: standing.partition}, text)
        ended.append(made)
        on_partition(made)
    return ended


def _run(
    pipeline: "Pipeline[..., Any]",
    context: "PipelineContext",
    standing: PartitionRun,
    arguments: Mapping[str, object],
    text: str,
) -> PartitionRun:
    reason, status, run_id = "", "done", RunId("")
    try:
        run_id = pipeline.run(context, **arguments).run_id
    except RunFailed as error:
        status, reason = "failed", error.what
        run_id = error.outcome.run_id if error.outcome is not None else run_id
    ended_at = to_iso(context.clock.now())
    values = (pipeline.name, text, standing.partition.key, run_id, status, ended_at)
    context.store.record(
        lambda transaction: transaction.execute(
            "INSERT INTO partition_runs (pipeline, parameters, partition, run_id, status, ended_at)"
            " VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (pipeline, parameters, partition) DO UPDATE SET"
            " run_id = excluded.run_id, status = excluded.status, ended_at = excluded.ended_at",
            values,
        )
    )
    return PartitionRun(standing.partition, "failed" if reason else "done", run_id, ended_at, reason)


def _standing(
    pipeline: "Pipeline[..., Any]",
    context: "PipelineContext",
    wanted: Partition,
    arguments: Mapping[str, object],
    kept: tuple[RunId, str, str] | None,
) -> PartitionRun:
    if kept is None:
        return PartitionRun(wanted, "missing")
    run_id, status, ended_at = kept
    if status == "failed":
        return PartitionRun(wanted, "failed", run_id, ended_at)
    plan = pipeline.plan(context, **arguments)
    if plan.is_current:
        return PartitionRun(wanted, "done", run_id, ended_at)
    why = next((f"{each.name}: {each.reason}" for each in plan.steps if each.verdict == "run" and not each.always), "")
    return PartitionRun(wanted, "stale", run_id, ended_at, why or plan.undecided)


def _kept(store: Store, pipeline: str, parameters: str) -> dict[str, tuple[RunId, str, str]]:
    rows = store.read(
        "SELECT partition, run_id, status, ended_at FROM partition_runs WHERE pipeline = ? AND parameters = ?",
        (pipeline, parameters),
    )
    return {key: (RunId(run_id), status, ended_at) for key, run_id, status, ended_at in rows}


def _text_of(parameters: Mapping[str, object]) -> str:
    """Return the other parameters in one spelling: a backfill with others is another backfill."""
    return "; ".join(f"{name}={parameters[name]!r}" for name in sorted(parameters))
