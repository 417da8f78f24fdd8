"""A run in parts: each step in a process of its own, on any machine, with the kept results as the way between them.

One process makes one step and finds the results that it needs; the last one makes the whole run, which finds what the
others made and runs what only a run can decide. `parts_of` says which steps those are, `wait_for` holds a process back
until its inputs are there. Nothing is sent from one to the other but through the store and the artifacts they share.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mainspring.domain.moments import parse_duration
from mainspring.errors import NotFound, Unavailable
from mainspring.pipeline.drawing import graph_of
from mainspring.pipeline.options import StepOptions
from mainspring.pipeline.plan import plan_pipeline

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.step import Pipeline

__all__ = ["Part", "parts_of", "wait_for"]

_POLL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """One step that can be made alone: its number in the run, its name, and the parts whose results it takes."""

    number: int
    name: str
    needs: tuple[int, ...]
    options: StepOptions


def parts_of(pipeline: "Pipeline[..., Any]", arguments: Mapping[str, object]) -> tuple[Part, ...]:
    """Return the steps of a run that can each be made in a process of their own.

    Left to the last process are steps whose results are not kept, what takes their results, and what the body only
    calls once it has seen a result.

    Raises:
        Invalid: the body fails.
    """
    calls = graph_of(pipeline, arguments)[0].calls
    parts: dict[int, Part] = {}
    for call in calls:
        if call.step.options.cache and parts.keys() >= set(call.needs):
            parts[call.index] = Part(call.index, call.step.name, call.needs, call.step.options)
    return tuple(parts.values())


def wait_for(
    pipeline: "Pipeline[..., Any]",
    context: "PipelineContext",
    arguments: Mapping[str, object],
    number: int | None,
    wait: str = "",
) -> None:
    """Wait until the results that one part needs are kept; for the whole run (None) those of all parts.

    `wait` is for how long, such as ``1d``; empty: look once. It looks every two seconds, by planning the run.

    Raises:
        Invalid: `wait` is no duration.
        NotFound: there is no such part.
        Unavailable: they were not kept in time.
    """
    seconds = parse_duration(wait).total_seconds() if wait else 0.0
    parts = {part.number: part for part in parts_of(pipeline, arguments)}
    if number is not None and number not in parts:
        raise NotFound(
            f"`{pipeline.name}` has no step {number} that can be made alone",
            where=pipeline.where,
            next_step="mainspring graph FILE lists the steps with their numbers",
        )
    needed = tuple(parts) if number is None else parts[number].needs
    until = time.monotonic() + seconds
    while missing := _missing(pipeline, context, arguments, needed):
        if time.monotonic() >= until:
            names = ", ".join(f"`{parts[each].name}` ({each})" for each in missing)
            raise Unavailable(
                f"No results are kept yet of {names}",
                where=pipeline.where,
                next_step="see whether these steps failed, or wait longer (--wait 1d)",
            )
        context.sleep(min(_POLL_SECONDS, max(until - time.monotonic(), 0.0)))


def _missing(
    pipeline: "Pipeline[..., Any]", context: "PipelineContext", arguments: Mapping[str, object], needed: tuple[int, ...]
) -> list[int]:
    if not needed:
        return []
    found = {each.number for each in plan_pipeline(pipeline, context, (), arguments).steps if each.verdict == "hit"}
    return [each for each in needed if each not in found]
