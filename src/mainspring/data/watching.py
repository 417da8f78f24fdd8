"""How far a long query is, told while it runs: which share of it is done, as the engine sees it."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import duckdb

__all__ = ["Tell", "untold", "watched"]

#: Is told what is being done, and which share of it is done.
Tell = Callable[[str, float], None]

_EVERY_SECONDS = 0.5


def untold(what: str, share: float) -> None:
    """Tell nobody."""


@contextlib.contextmanager
def watched(connection: duckdb.DuckDBPyConnection, what: str, tell: Tell) -> Iterator[None]:
    """Tell how far the queries of the block are, of which the engine runs one at a time; quick ones tell nothing."""
    if tell is untold:
        yield
        return
    for setting in ("enable_progress_bar = true", "enable_progress_bar_print = false", "progress_bar_time = 0"):
        connection.execute(f"SET {setting}")
    done = threading.Event()

    def look() -> None:
        while not done.wait(_EVERY_SECONDS):
            share = connection.query_progress()
            if share >= 0:  # it is below zero while the engine has not begun
                tell(what, min(share / 100, 1.0))

    thread = threading.Thread(target=look, name="mainspring-watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
