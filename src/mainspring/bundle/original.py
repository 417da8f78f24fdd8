"""The original of a bundle: scikit-learn, on a pandas frame like the one the model was fitted on.

It is what every faster form is compared with, and what serves where no form holds.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.frame import frame_of
from mainspring.bundle.manifest import BundleManifest
from mainspring.domain.signature import Signature
from mainspring.errors import Corrupt

__all__ = ["SklearnPredictor", "sums_of"]

Columns = Mapping[str, NDArray[Any]]  # as in `predictor`


class SklearnPredictor:
    """Scores with scikit-learn, on a pandas frame like the one the model was fitted on."""

    def __init__(self, manifest: BundleManifest, model: object) -> None:
        self.manifest = manifest
        self.signature = manifest.signature
        wanted = "predict" if self.signature.task == "regression" else "predict_proba"
        if not hasattr(model, wanted):
            raise Corrupt(f"The loaded {type(model).__name__} has no `{wanted}`", where=manifest.name)
        self._score = getattr(model, wanted)
        # A model fitted on a plain array warns at every frame; one without either attribute takes what it gets.
        self._on_array = not hasattr(model, "feature_names_in_") and hasattr(model, "n_features_in_")

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """Score every row; see `Predictor.predict`."""
        frame = frame_of(columns, self.signature)
        scores = np.asarray(self._score(frame.to_numpy() if self._on_array else frame), dtype=np.float64)
        if self.signature.task == "binary":
            scores = scores[:, 1]
        elif self.signature.task == "regression":
            scores = scores.reshape(len(frame))
        return np.ascontiguousarray(scores)


def sums_of(model: object, signature: Signature) -> Callable[[Columns], NDArray[np.float64]] | None:
    """Return what gives a model's sums before they become scores; None for a model that has none."""
    name = "predict" if signature.task == "regression" else "decision_function"
    total = getattr(model, name, None)
    if total is None or not hasattr(model, "feature_names_in_"):
        return None

    def sums(columns: Columns) -> NDArray[np.float64]:
        found = np.asarray(total(frame_of(columns, signature)), dtype=np.float64)
        return found.reshape(len(found), -1) if found.ndim > 1 and found.shape[1] > 1 else found.reshape(len(found))

    return sums
