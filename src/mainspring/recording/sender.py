"""The background thread that brings a log journal to its destination: in batches, and again until it is kept.

The journal is the queue, so what is waiting takes no memory, and what never got through is there for the next start.
"""

import logging
import threading
import time

from mainspring.errors import MainspringError, Unavailable
from mainspring.pipeline.tracing import unwatched
from mainspring.recording.destination import Destination
from mainspring.recording.journal import LogJournal

__all__ = ["Sender", "send_rest"]

_log = logging.getLogger(__name__)
#: How long records wait for others to share their batch with.
_GATHER_SECONDS = 0.2
_MOST_PATIENCE_SECONDS = 5.0


class Sender:
    """Sends one journal until it is finished."""

    def __init__(self, journal: LogJournal, destination: Destination) -> None:
        self._journal = journal
        self._destination = destination
        self._wake = threading.Event()
        self._finishing = False
        self._flushed = threading.Condition()
        self._rounds = 0
        #: What keeps the journal from being sent at all, in words; empty while nothing does.
        self.trouble = ""
        self._thread = threading.Thread(target=self._send_forever, name="run-log", daemon=True)
        self._thread.start()

    def flush(self, seconds: float) -> bool:
        """Wait until everything logged before this call is kept, at most `seconds`; say whether it is."""
        with self._flushed:
            target = self._rounds + 2  # a round that began before this call may have missed the last record
            self._wake.set()
            return self._flushed.wait_for(lambda: self._rounds >= target or bool(self.trouble), seconds) and (
                not self.trouble
            )

    def finish(self, seconds: float) -> bool:
        """Send what is left, at most for `seconds`, and stop; say whether all is kept."""
        self._finishing = True
        self._wake.set()
        self._thread.join(seconds)
        return not self._thread.is_alive() and not self.trouble

    def _send_forever(self) -> None:
        with unwatched():  # what this thread opens is not read by a step that runs meanwhile
            self._send_until_finished()

    def _send_until_finished(self) -> None:
        patience = _GATHER_SECONDS
        while True:
            self._wake.wait(patience)
            self._wake.clear()
            last = self._finishing
            try:
                send_rest(self._journal, self._destination)
            except Unavailable as error:
                _log.debug("what was logged waits: %s", error)
                patience = min(2 * patience, _MOST_PATIENCE_SECONDS)
                # an impatient caller cannot make an absent server come back
                time.sleep(min(patience, 0.5))
                continue
            except MainspringError as error:
                self._stop(str(error))
                return
            except Exception as error:  # the edge of the thread: a training must not end for its log
                _log.exception("what was logged stays in %s", self._journal.path)
                self._stop(f"{type(error).__name__}: {error}")
                return
            patience = _GATHER_SECONDS
            with self._flushed:
                self._rounds += 1
                self._flushed.notify_all()
            if last:
                return

    def _stop(self, trouble: str) -> None:
        _log.warning("What is logged stays in %s: %s", self._journal.path, trouble)
        with self._flushed:
            self.trouble = trouble
            self._flushed.notify_all()


def send_rest(journal: LogJournal, destination: Destination) -> None:
    """Send every whole record that the journal holds now."""
    while (batch := journal.pending()) is not None:
        for said in destination.send(batch):
            _log.warning("The run %s left out: %s", journal.header.run_id, said)
        journal.sent(batch)
