"""Models that travel as ONNX from the start: ONNX models made elsewhere, and PyTorch modules.

The file is then the original. It is tried before it is packed: on the validation rows its answers have to be scores,
and a PyTorch module's export has to score as the module does.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from mainspring.bundle.certificate import certify
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.onnx_conversion import from_torch, is_torch_module, onnx_bytes, torch_scores
from mainspring.bundle.onnx_predictor import OnnxPredictor
from mainspring.bundle.packages import installed_version
from mainspring.domain.signature import Signature
from mainspring.errors import Invalid, Refused

__all__ = ["check_native", "native_onnx"]

Columns = Mapping[str, NDArray[Any]]  # as in `predictor`
#: PyTorch and onnxruntime add in different orders, in 32 bits, which hold seven digits.
_TOLERANCE = 1e-5
_ROUNDING = 1e-4


def native_onnx(model: object, signature: Signature) -> bytes | None:
    """Return the ONNX model that `model` is or becomes; None for an estimator.

    Raises:
        Invalid, Refused, MissingExtra: as `from_torch`.
    """
    if is_torch_module(model):
        return from_torch(model, signature)
    return onnx_bytes(model)


def check_native(model: object, data: bytes, manifest: BundleManifest, sample: Columns | None) -> dict[str, bytes]:
    """Check that the ONNX model `data` answers the signature's rows with scores.

    Returns the files that prove it: the certificate of a PyTorch module.

    Raises:
        Invalid: inputs or answers are not what the signature says.
        Refused: the export of a PyTorch module scores otherwise than the module.
        Corrupt: the bytes are no ONNX model.
    """
    predictor = OnnxPredictor(manifest, data)
    signature = manifest.signature
    rows = sample if sample is not None else _example_of(signature)
    if rows is not None:
        _check_scores(predictor.predict(rows), signature)
    if not is_torch_module(model):
        return {}
    if rows is None:
        raise Invalid(
            "Nothing is known of the rows that the module eats",
            where="sample",
            next_step="hand in validation rows as `sample`: the export is compared on them",
        )
    scores = torch_scores(model, signature)
    certificate = certify(
        "torch",
        scores,
        predictor.predict,
        signature,
        rows,
        threshold=0.5 if manifest.threshold is None else manifest.threshold,
        hashes=("", blake3(data).hexdigest()),
        versions={name: installed_version(name) for name in ("torch", "onnxruntime", "numpy")},
        tolerance=_TOLERANCE,
    )
    if not certificate.holds:
        raise Refused(
            f"The module scores otherwise once it is exported: {certificate.why}",
            where="model",
            next_step="keep to operators that ONNX has, and call `eval()`: no dropout, no randomness",
        )
    return {"certificate.json": msgspec.json.format(msgspec.json.encode(certificate, order="sorted"))}


def _check_scores(scores: NDArray[np.float64], signature: Signature) -> None:
    if signature.task == "regression":
        return
    sums = scores.sum(axis=1) if scores.ndim == 2 else np.ones(len(scores))
    known = scores[~np.isnan(scores)]
    if known.size and (known.min() < 0 or known.max() > 1 or np.nanmax(np.abs(sums - 1)) > _ROUNDING):
        raise Invalid(
            f"The model answers numbers from {known.min():g} to {known.max():g}, and a classifier's scores are "
            "probabilities",
            where="model",
            next_step="end the model with a sigmoid (binary) or a softmax (more classes)",
        )


def _example_of(signature: Signature) -> Columns | None:
    if not signature.example:
        return None
    return {
        column.name: np.array([signature.example.get(column.name)], dtype=object)
        if column.type == "string"
        else np.array([np.nan if signature.example.get(column.name) is None else signature.example[column.name]], float)
        for column in signature.columns
    }
