"""Runs that come from other trackers: read from their files or servers, and kept as they were.

Nouns: `Arrival` (a run on its way in), source (where it comes from). Start reading in `arrival.py`; `mlflow_file.py`,
`mlflow_server.py`, `tensorboard.py` and `wandb.py` each read one kind of source.
"""

from mainspring.tracking.arrivals.arrival import Arrival, keep_arrival

__all__ = ["Arrival", "keep_arrival"]
