"""Steps and pipelines: plain functions whose results are kept, found again, and never stale.

Nouns: `Step` and `Pipeline` (decorated functions), lazy value (what a step call gives in a pipeline body),
`Fingerprint` (the cache key of a call and its parts), `RunOutcome` (what a run came to), `Executor` (where steps run),
`Crew` (its workers in one run).
Start in `step.py`, then `lazy.py` (what a body sees), `engine.py` (look up, else run), `fingerprint.py` (the key).
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.executor import Crew, Executor, InProcessExecutor, executor_named
    from mainspring.pipeline.fingerprint import Fingerprint, Part
    from mainspring.pipeline.ledger import StepRow, steps_of
    from mainspring.pipeline.outcome import Progress, RunFailed, RunOutcome, StepEvent
    from mainspring.pipeline.parameters import Parameter, parse_parameters
    from mainspring.pipeline.processes import ProcessExecutor
    from mainspring.pipeline.step import Pipeline, Step, pipeline, step

__all__ = [
    "Crew",
    "Executor",
    "Fingerprint",
    "InProcessExecutor",
    "Parameter",
    "Part",
    "Pipeline",
    "PipelineContext",
    "ProcessExecutor",
    "Progress",
    "RunFailed",
    "RunOutcome",
    "Step",
    "StepEvent",
    "StepRow",
    "executor_named",
    "parse_parameters",
    "pipeline",
    "step",
    "steps_of",
]

# Lazy, because whoever only decorates a function needs neither the engine nor the store.
_HOMES = {
    "Crew": "executor",
    "Executor": "executor",
    "Fingerprint": "fingerprint",
    "InProcessExecutor": "executor",
    "Parameter": "parameters",
    "Part": "fingerprint",
    "Pipeline": "step",
    "PipelineContext": "context",
    "ProcessExecutor": "processes",
    "Progress": "outcome",
    "RunFailed": "outcome",
    "RunOutcome": "outcome",
    "Step": "step",
    "StepEvent": "outcome",
    "StepRow": "ledger",
    "executor_named": "executor",
    "parse_parameters": "parameters",
    "pipeline": "step",
    "step": "step",
    "steps_of": "ledger",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
