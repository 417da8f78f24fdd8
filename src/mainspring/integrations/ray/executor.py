"""Steps as Ray tasks, on a cluster that runs already or on one started here on request.

Ray moves a small task and a small answer; tables and models go through the artifact store, which the machines of the
cluster must share. A task whose worker dies is tried again by Ray, once. Code must be importable on the workers: the
same folder, or Ray's own ``working_dir``; the engine compares what it comes to there with what it comes to here.
"""

import sys
from concurrent.futures import Future
from typing import Any, Self

from mainspring.errors import MissingExtra, Unavailable
from mainspring.pipeline.executor import Crew, WorkerLost
from mainspring.pipeline.options import StepOptions
from mainspring.pipeline.processes import perform_elsewhere
from mainspring.pipeline.runner import Answer, Task

try:
    import ray
except ImportError as error:
    raise MissingExtra("Ray is not installed", next_step="pip install 'mainspring[ray]'") from error

__all__ = ["RayExecutor"]

# Ray queues what it has no room for; this bounds how many steps are shown as running.
_WIDTH = 64


class RayExecutor:
    """Runs steps on the Ray cluster at `address` (``auto``: the one this machine belongs to).

    `resources` is what each step asks of Ray, such as ``{"num_cpus": 2, "num_gpus": 1}``; `width` bounds how many
    steps are handed over at once. It connects at the first step that has to run, and never starts a cluster by itself.
    """

    def __init__(
        self, address: str = "auto", *, width: int = _WIDTH, resources: dict[str, Any] | None = None
    ) -> None:  # Ray's own options, of several types
        self._address = address
        self._width = width
        self._resources = resources or {}
        self._started = False

    @classmethod
    def start_local(cls, num_cpus: int = 2, *, width: int = _WIDTH) -> Self:
        """Start a cluster of this machine alone, for the loopback address only; `close` ends it.

        Raises:
            Unavailable: Ray did not come up; on a busy machine it gives up after its own 30 seconds.
        """
        executor = cls("local", width=width)
        try:
            ray.init(
                address="local",
                _node_ip_address="127.0.0.1",
                include_dashboard=False,
                num_cpus=num_cpus,
                log_to_driver=False,
            )
        except Exception as error:  # Ray raises many kinds where it cannot start
            ray.shutdown()
            raise Unavailable(f"Ray did not start: {error}", next_step="try again when the machine is quiet") from error
        executor._started = True
        return executor

    def crew(self) -> Crew:
        """Return the workers for one run."""
        return _RayCrew(self._width, self._resources, self._connect)

    def close(self) -> None:
        """End the cluster that `start_local` started; one that ran already is left alone."""
        if self._started:
            ray.shutdown()
            self._started = False

    def _connect(self) -> None:
        if ray.is_initialized():
            return
        try:
            ray.init(address=self._address, log_to_driver=False)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise Unavailable(
                f"There is no Ray cluster at `{self._address}`: {error}",
                next_step="give the address of one, or use RayExecutor.start_local()",
            ) from error


class _RayCrew:
    def __init__(self, width: int, resources: dict[str, Any], connect: Any) -> None:
        self.width = width
        self._resources = resources
        self._connect = connect
        self._running: dict[Future[Answer], Any] = {}

    def wants(self, options: StepOptions, ready: int, seconds: float | None) -> bool:
        return True

    def submit(self, task: Task) -> "Future[Answer]":
        self._connect()
        remote = ray.remote(max_retries=1, **self._resources)(perform_elsewhere) if self._resources else _plain()
        reference = remote.remote(task, list(sys.path))
        future: Future[Answer] = Future()
        self._running[future] = reference

        def finish(inner: "Future[Answer]") -> None:
            self._running.pop(future, None)
            error = inner.exception()
            if isinstance(error, ray.exceptions.WorkerCrashedError | ray.exceptions.NodeDiedError):
                error = WorkerLost(str(error).partition("\n")[0])
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(inner.result())

        reference.future().add_done_callback(finish)
        return future

    def close(self) -> None:
        for reference in list(self._running.values()):
            ray.cancel(reference, force=True)


def _plain() -> Any:  # Ray's own class of remote functions
    return ray.remote(max_retries=1)(perform_elsewhere)
