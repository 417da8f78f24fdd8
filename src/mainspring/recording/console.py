"""The console output of a run: what is printed and logged while it runs, kept every few seconds and at its end."""

import contextlib
import threading
from collections.abc import Callable

from mainspring.pipeline.step_logs import StepLog, captured
from mainspring.pipeline.tracing import unwatched

__all__ = ["Console"]

_SECONDS = 5.0


class Console:
    """Keeps what this process prints, by `keep`, as its file ``console.txt``; everybody still sees it."""

    def __init__(self, keep: Callable[[str, bytes], None]) -> None:
        self._keep = keep
        self._log = StepLog()
        self._kept = ""
        self._taps = contextlib.ExitStack()
        self._taps.enter_context(captured(self._log))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="run-console", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Keep the rest, and stop listening."""
        self._stop.set()
        self._thread.join()
        self._taps.close()
        self._keep_news()

    def _watch(self) -> None:
        with unwatched():
            while not self._stop.wait(_SECONDS):
                self._keep_news()

    def _keep_news(self) -> None:
        text = "".join(f"{each.text}\n" for each in self._log.lines)
        if text != self._kept:
            self._keep("console.txt", text.encode(errors="replace"))
            self._kept = text
