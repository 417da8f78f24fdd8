"""``python -m mainspring.serve``: the prediction server as a process."""

import sys

from mainspring.serve.main import main

sys.exit(main(sys.argv[1:]))
