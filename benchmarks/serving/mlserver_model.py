"""A model behind MLServer, in its own process, unbatched: tensors to pandas by its codec."""

import os
import pickle
from pathlib import Path

from mlserver import MLModel
from mlserver.codecs import NumpyCodec, PandasCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    """Tensors in, scores out."""

    async def load(self) -> bool:
        """Load the model."""
        self.model, _ = pickle.loads(Path(os.environ["MODEL"]).read_bytes())
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score the rows."""
        frame = PandasCodec.decode_request(payload)
        scores = self.model.predict_proba(frame)[:, 1]
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("scores", scores)])
