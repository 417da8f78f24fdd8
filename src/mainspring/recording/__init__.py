"""What a script logs while it runs: kept the moment it is logged, written to the store or sent to a server behind it.

Nouns: `ActiveRun` (a run that is under way in this process), log journal (the file that every call appends to before
it returns), destination (the workspace, or a control server). Start reading in `run.py`; `journal.py` is why nothing is
lost.
"""

from mainspring.recording.run import ActiveRun, log, start_run

__all__ = ["ActiveRun", "log", "start_run"]
