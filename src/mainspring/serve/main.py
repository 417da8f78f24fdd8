"""The entry of the prediction server: one process that answers, or a supervisor of several."""

import logging
import sys
from collections.abc import Sequence

from mainspring.errors import MainspringError, outcome_of
from mainspring.serve.options import options_of

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run a prediction server until it is told to end; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        options = options_of(arguments)
        watches = options.workers > 1 or options.worker_memory_bytes is not None
        if watches and options.listen_fd is None:  # a worker has its socket already
            from mainspring.serve.supervisor import supervise  # it and its workers need different things

            return supervise(options, arguments)
        from mainspring.serve.server import run_server

        return run_server(options)
    except MainspringError as error:
        print(f"mainspring serve: {error}", file=sys.stderr)
        return outcome_of(error).exit_code
