"""What a run is handed: where facts and bytes go, what time it is, who watches, and where steps run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.moments import Clock, SystemClock
from mainspring.pipeline.executor import Executor
from mainspring.pipeline.outcome import Progress
from mainspring.pipeline.processes import ProcessExecutor
from mainspring.store.protocol import Store

__all__ = ["PipelineContext"]


@dataclass(frozen=True, slots=True)
class PipelineContext:
    """The collaborators of a run.

    `experiment` groups the runs (default: the pipeline's name). `sleep` is what waits between two tries of a step.
    `seeds` replaces the seeds of calls, by their number: a reproduction takes those of the run it makes again.
    With `only`, the number of a call, just that call is made, of what others have kept (`apart`). `tags` are kept with
    the run.
    """

    store: Store
    artifacts: ArtifactStore
    clock: Clock = field(default_factory=SystemClock)
    progress: Progress | None = None
    executor: Executor = field(default_factory=ProcessExecutor)
    experiment: str = ""
    sleep: Callable[[float], None] = time.sleep
    seeds: Mapping[int, int] = field(default_factory=dict)
    only: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
