"""The one place where an error becomes a message and an exit code. It knows nothing of how words are read.

Exit codes: 0 well, 1 the work said no (a gate, a check, a test), 2 the words were wrong, 3 something is missing or
unreachable, 130 stopped by Ctrl-C.
"""

import os
import sys
from collections.abc import Callable

from mainspring.config import value_of
from mainspring.errors import MainspringError, outcome_of

__all__ = ["exit_code_of"]


def exit_code_of(run: Callable[[], object]) -> int:
    """Run a command and return its exit code: the number that it returns, else what its error means."""
    try:
        result = run()
        print(end="", flush=True)  # here, where it is told what stands in the way
    except MainspringError as error:
        _say(f"Error: {error}")
        return outcome_of(error).exit_code
    except KeyboardInterrupt:
        _say("Stopped.")
        return 130
    except BrokenPipeError:
        # The reader went away (`mainspring runs | head`); pointing stdout at nothing keeps the interpreter's own
        # flush at exit from failing again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        if value_of("debug"):
            raise
        _say(f"Error: There is not enough memory: {error}\n  Next: give fewer rows or columns, or a larger machine")
        return 3
    except OSError as error:  # a read-only folder, a closed stream, a full disk: told by the system, and enough
        if value_of("debug"):
            raise
        place = f" (at {error.filename})" if error.filename else ""
        _say(f"Error: {error.strerror or error}{place}\n  Next: check the path, its permissions and the disk")
        return 3
    except Exception as error:  # the process edge: what nobody foresaw still leaves as one line and an exit code
        if value_of("debug"):
            raise
        kind = type(error).__name__
        _say(f"Internal error: {kind}: {error}\n  Next: run it with MAINSPRING_DEBUG=1 and report it")
        return outcome_of(error).exit_code
    return result if isinstance(result, int) else 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
