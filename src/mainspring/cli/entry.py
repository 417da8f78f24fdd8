"""Where the process of the command line begins, and ends with an exit code.

Half the time of the quickest command would go into importing what reads words and options. Given without any, it is
called as it is; its command in `main` calls the same function.
"""

import sys

from mainspring.cli.exits import exit_code_of
from mainspring.cli.garbage import leave_garbage, look_for_garbage

__all__ = ["entry"]


def entry() -> None:
    """Run the command line and exit with its code."""
    leave_garbage()
    sys.exit(exit_code_of(_command))


def _command() -> int:
    if sys.argv[1:] == ["data", "status"]:
        from mainspring.cli.pin_report import report_pins  # here and below, for each of the two does without the other

        look_for_garbage()
        return report_pins()
    from mainspring.cli.main import main

    return main()
