"""A model behind LitServe, batched up to 64 requests or 2 ms."""

import os
import pickle
import sys
from pathlib import Path

import litserve as ls
import pandas as pd


class Api(ls.LitAPI):
    """Rows in, scores out."""

    def setup(self, device: str) -> None:
        """Load the model."""
        self.model, _ = pickle.loads(Path(os.environ["MODEL"]).read_bytes())

    def decode_request(self, request: dict) -> list[dict]:
        """Return the rows."""
        return request["rows"]

    def batch(self, inputs: list[list[dict]]) -> tuple[list[int], pd.DataFrame]:
        """Put the rows of some requests together."""
        return [len(rows) for rows in inputs], pd.DataFrame([row for rows in inputs for row in rows])

    def predict(self, batch: tuple[list[int], pd.DataFrame]) -> tuple[list[int], list[float]]:
        """Score them."""
        return batch[0], self.model.predict_proba(batch[1])[:, 1].tolist()

    def unbatch(self, output: tuple[list[int], list[float]]) -> list[list[float]]:
        """Take them apart again."""
        sizes, scores = output
        return [[scores.pop(0) for _ in range(size)] for size in sizes]

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """Return the body."""
        return {"scores": output}


if __name__ == "__main__":
    server = ls.LitServer(Api(max_batch_size=64, batch_timeout=0.002), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[1]), num_api_servers=1, generate_client_file=False)
