"""Where the process of the command line begins, and ends with an exit code.

Half the time of the quickest commands would go into importing what reads words and options. Given as they mostly are,
they are called as they are; their commands in `main` call the same functions.
"""

import os
import sys
from pathlib import Path

from mainspring.cli.exits import exit_code_of
from mainspring.cli.garbage import leave_garbage, look_for_garbage

__all__ = ["entry"]


def entry() -> None:
    """Run the command line and exit with its code."""
    leave_garbage()
    sys.exit(exit_code_of(_command))


def _command() -> int:
    # Threads of numerical libraries that wait should sleep: where other work shares the cores, spinning ones make a
    # prediction of five milliseconds take a second. Read by the libraries when they load, which is after this line.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    match sys.argv[1:]:
        case ["data", "status"]:
            from mainspring.cli.pin_report import report_pins  # each of the three does without the others

            look_for_garbage()
            return report_pins()
        case ["data", "add", path, *options] if not path.startswith("-") and options in ([], ["--pin"]):
            from mainspring.cli.adding import add_path, report_added

            look_for_garbage()
            report_added(add_path(Path(path), pin=bool(options)))
            return 0
    from mainspring.cli.main import main

    return main()
