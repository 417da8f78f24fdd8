"""A model behind BentoML with its adaptive batching."""

import os
import pickle
from pathlib import Path

import bentoml
import pandas as pd


@bentoml.service(workers=1, traffic={"timeout": 60})
class Service:
    """Rows in, scores out."""

    def __init__(self) -> None:
        """Load the model."""
        self.model, _ = pickle.loads(Path(os.environ["MODEL"]).read_bytes())

    @bentoml.api(batchable=True, max_batch_size=6400, max_latency_ms=60_000)
    def predict(self, rows: list[dict]) -> list[float]:
        """Score the rows."""
        return self.model.predict_proba(pd.DataFrame(rows))[:, 1].tolist()
