"""A model behind Ray Serve, batched up to 64 requests or 2 ms."""

import os
import pickle
import signal
import sys
from pathlib import Path

import pandas as pd
import ray
from ray import serve
from starlette.requests import Request


@serve.deployment(max_ongoing_requests=256)
class App:
    """Rows in, scores out."""

    def __init__(self, path: str) -> None:
        """Load the model."""
        self.model, _ = pickle.loads(Path(path).read_bytes())

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def score(self, requests: list[list[dict]]) -> list[list[float]]:
        """Score the rows of some requests together."""
        frame = pd.DataFrame([row for rows in requests for row in rows])
        scores = self.model.predict_proba(frame)[:, 1].tolist()
        return [[scores.pop(0) for _ in rows] for rows in requests]

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Answer one request."""
        return {"scores": await self.score((await request.json())["rows"])}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(App.bind(os.environ["MODEL"]), route_prefix="/predict")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    serve.shutdown()
    ray.shutdown()
