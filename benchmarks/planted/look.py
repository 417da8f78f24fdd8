"""Let the loop of a year look once at a moment, in a process of its own that may be killed.

python look.py HOME MOMENT
"""

import os
import sys
from datetime import datetime
from pathlib import Path

from mainspring.cli.loading import load_file
from mainspring.domain.moments import SimulatedClock
from mainspring.workspace import Workspace

if __name__ == "__main__":
    home = Path(sys.argv[1])
    os.chdir(home)
    loop = load_file(home / "loop.py")["loop"]
    with Workspace(home / ".mainspring", clock=SimulatedClock(datetime.fromisoformat(sys.argv[2]))) as workspace:
        for action in loop.tick(workspace):
            print(action.text.replace("\n", " "))
