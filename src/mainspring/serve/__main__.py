"""``python -m mainspring.serve``: the prediction server as a process."""

import os
import sys

# One thread a process: a batch of some rows is done before a second thread has woken up, and threads that wait by
# spinning take the core from the event loop. Numerical libraries read this when they load, so it comes first.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from mainspring.serve.main import main

sys.exit(main(sys.argv[1:]))
