"""Steps as Dask tasks, on a scheduler that runs already or on local worker processes started on request.

Dask moves a small task and a small answer; tables and models go through the artifact store, which the workers must
share. A task whose worker dies is tried again by Dask, as often as the scheduler's ``allowed-failures`` says. Give the
workers one thread each: steps of one process take turns.
"""

import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Self

from mainspring.errors import MissingExtra, Unavailable
from mainspring.pipeline.executor import Crew, WorkerLost
from mainspring.pipeline.options import StepOptions
from mainspring.pipeline.processes import perform_elsewhere
from mainspring.pipeline.runner import Answer, Task

try:
    import distributed
except ImportError as error:
    raise MissingExtra("Dask is not installed", next_step="pip install 'mainspring[dask]'") from error

__all__ = ["DaskExecutor"]

# Dask queues what it has no room for; this bounds how many steps are shown as running.
_WIDTH = 64


class DaskExecutor:
    """Runs steps on the Dask scheduler at `address`, such as ``tcp://scheduler:8786``.

    `width` bounds how many steps are handed over at once. It connects at the first step that has to run, and never
    starts a cluster by itself.
    """

    def __init__(self, address: str, *, width: int = _WIDTH) -> None:
        self.address = address
        self._width = width
        self._client: Any = None  # a distributed.Client; the library has no types
        self._cluster: Any = None

    @classmethod
    def start_local(cls, workers: int = 2, *, width: int = _WIDTH) -> Self:
        """Start a scheduler and worker processes on this machine, for the loopback address only; `close` ends them."""
        cluster: Any = distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, host="127.0.0.1", dashboard_address=None, processes=True
        )
        executor = cls(cluster.scheduler_address, width=width)
        executor._cluster = cluster
        return executor

    def crew(self) -> Crew:
        """Return the workers for one run."""
        return _DaskCrew(self._width, self._connected)

    def close(self) -> None:
        """Let go of the scheduler; one that `start_local` started is ended."""
        for each in (self._client, self._cluster):
            if each is not None:
                each.close()
        self._client = self._cluster = None

    def _connected(self) -> Any:  # the client
        if self._client is None:
            try:
                self._client = distributed.Client(self.address, set_as_default=False)
            except OSError as error:
                raise Unavailable(
                    f"There is no Dask scheduler at `{self.address}`: {error}",
                    next_step="give the address of one, or use DaskExecutor.start_local()",
                ) from error
        return self._client


class _DaskCrew:
    def __init__(self, width: int, connected: Callable[[], Any]) -> None:
        self.width = width
        self._connected = connected
        self._running: dict[Future[Answer], Any] = {}

    def wants(self, options: StepOptions, ready: int, seconds: float | None) -> bool:
        return True

    def submit(self, task: Task) -> "Future[Answer]":
        # Never merged with an equal task of another run: what is the same was found in the cache already.
        inner = self._connected().submit(perform_elsewhere, task, list(sys.path), pure=False)
        future: Future[Answer] = Future()
        self._running[future] = inner

        def finish(ended: Any) -> None:  # a distributed.Future
            self._running.pop(future, None)
            error = ended.exception() if ended.status != "cancelled" else WorkerLost("the task was cancelled")
            if isinstance(error, distributed.KilledWorker):
                error = WorkerLost("its worker died, as often as the scheduler allows")
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(ended.result())

        inner.add_done_callback(finish)
        return future

    def close(self) -> None:
        for inner in list(self._running.values()):
            inner.cancel(force=True)
