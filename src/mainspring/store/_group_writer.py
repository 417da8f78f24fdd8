"""The one thread of a store that writes: what queues up while it works shares its next transaction (group commit).

Both backends lean on it, so that writes take turns in the same way on each. It knows no SQL but the audit chain's;
`sqlite.py` and its like say how a group is committed.
"""

import os
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mainspring.domain.moments import Clock
from mainspring.errors import Unavailable
from mainspring.store.events import append
from mainspring.store.protocol import EventOf, Transaction

if TYPE_CHECKING:
    from concurrent.futures import Future

__all__ = ["GroupWriter", "Job", "Nothing"]

T = TypeVar("T")
#: How many queued writes share one commit at most; bounds how long the first of them waits for the last.
_GROUP = 512


class Nothing(Exception):
    """Carries the result of a change that turned out to change nothing out of its transaction, which is undone."""

    def __init__(self, result: object) -> None:
        self.result = result


class Job(NamedTuple):
    """One queued write: what to run, and where its result goes. `Any` because each write has its own result type."""

    write: Callable[[Transaction], Any]
    future: "Future[Any]"


class GroupWriter:
    """Runs writes one after another on a thread of its own, or where they are asked for when no thread can be had.

    The latter is so in an interpreter that is ending, which from Python 3.12 on starts no thread any more.

    `commit` gets the jobs of a group, and answers the future of each once the fate of its write is settled; it never
    raises. A write that was cancelled while it queued is dropped; one that began is beyond recall.
    """

    def __init__(self, commit: Callable[[list[Job]], None], *, actor: str, clock: Clock) -> None:
        self._commit = commit
        self._actor = actor
        self._clock = clock
        self._queue: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._closed = False
        self._gate = threading.Lock()  # no write may queue up behind the one that says stop
        self._pid = os.getpid()
        self._has_thread = True
        self._thread = threading.Thread(target=self._write_forever, name="store-writer", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._has_thread = False

    def submit(self, write: Callable[[Transaction], T], event: EventOf[T] | None = None) -> "Future[T]":
        """Queue a write; its future is answered once it is committed, or undone."""
        from concurrent.futures import Future  # with the log it stands on a twentieth of a command that writes nothing

        future: Future[T] = Future()
        job = Job(write if event is None else self._with_event(event, write), future)
        with self._gate:
            self.check_open()
            if self._has_thread:
                self._queue.put(job)
            else:
                job.future.set_running_or_notify_cancel()
                self._commit([job])
        return future

    def run(self, write: Callable[[Transaction], T], event: EventOf[T] | None = None) -> T:
        """Queue a write and wait for its result."""
        if threading.current_thread() is self._thread:
            raise AssertionError("a write asked for another one; it would wait for itself")
        return self.submit(write, event).result()

    def check_open(self) -> None:
        """Refuse a store that was closed, or that belongs to the process this one was forked from."""
        if os.getpid() != self._pid:
            raise Unavailable("The store was opened before this process forked", next_step="open it in the child")
        if self._closed:
            raise Unavailable("The store is closed", next_step="open the workspace again")

    def close(self) -> bool:
        """Finish what is queued and stop; return whether the caller is to close the connections now."""
        with self._gate:
            if self._closed:
                return False
            self._closed = True
            if os.getpid() != self._pid:
                return False  # the connections are the parent's
            self._queue.put(None)
        if self._has_thread:
            self._thread.join()
        return True

    def _with_event(self, event: EventOf[T], write: Callable[[Transaction], T]) -> Callable[[Transaction], T]:
        def change(transaction: Transaction) -> T:
            result = write(transaction)
            told = event(result) if callable(event) else event
            if told is None:
                raise Nothing(result)
            append(transaction, told, actor=self._actor, at=self._clock.now(), recorded_at=datetime.now(UTC))
            return result

        return change

    def _write_forever(self) -> None:
        stop = False
        while not stop and (first := self._queue.get()) is not None:
            group = [first]
            while len(group) < _GROUP and not self._queue.empty():
                following = self._queue.get()
                if following is None:
                    stop = True
                    break
                group.append(following)
            jobs = [job for job in group if job.future.set_running_or_notify_cancel()]
            if jobs:
                self._commit(jobs)
