"""The process that scores logged requests in an environment of its own; its orders and its answer are JSON files.

It runs under a Python that was built for it, so it needs nothing but what a prediction server needs.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from mainspring.bundle.predictor import form_of, load_bundle
from mainspring.data.table import read_columns
from mainspring.errors import MainspringError

__all__ = ["main"]

#: So many single rows are timed, in CPU time of this process.
_TIMED = 200


def main(orders: Path) -> None:
    """Score what the file `orders` names, and write the scores and an answer beside it."""
    order = json.loads(orders.read_text())
    try:
        predictor = load_bundle(Path(order["bundle"]))
    except MainspringError as error:
        Path(order["answer"]).write_text(json.dumps({"refused": f"{error.what}"}))
        return
    columns = {name: values for name, values in read_columns(Path(order["rows"])).items() if name in order["columns"]}
    np.save(order["scores"], predictor.predict(columns))
    rows = len(next(iter(columns.values())))
    taken = []
    for row in range(min(rows, _TIMED)):
        one = {name: values[row : row + 1] for name, values in columns.items()}
        began = time.process_time()
        predictor.predict(one)
        taken.append(1000 * (time.process_time() - began))
    answer = {"refused": "", "form": form_of(predictor), "ms_a_row": float(np.median(taken))}
    Path(order["answer"]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
