"""Models turned into ONNX: scikit-learn's as a form to be certified, PyTorch's because code may not travel in a bundle.

Nothing here is trusted: who asks for a translation compares it with the model before it serves (`certificate`).
"""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.packages import last_step
from mainspring.domain.signature import Signature
from mainspring.errors import Invalid, MissingExtra, Refused

__all__ = ["from_sklearn", "from_torch", "is_torch_module", "onnx_bytes", "torch_scores"]

Columns = Mapping[str, NDArray[Any]]  # as in `predictor`


def onnx_bytes(model: Any) -> bytes | None:  # any model
    """Return the bytes of a model that is ONNX already: bytes, or a ``ModelProto`` of the package onnx; else None."""
    if isinstance(model, bytes):
        return model
    if type(model).__module__.partition(".")[0] == "onnx" and hasattr(model, "SerializeToString"):
        return bytes(model.SerializeToString(deterministic=True))
    return None


def from_sklearn(model: Any, signature: Signature, *, is_double: bool) -> bytes | None:  # any scikit-learn estimator
    """Return a fitted scikit-learn model as ONNX, or None where there is no translation, or no translator installed.

    `is_double` keeps numbers in 64 bits, which not every operator of the runtime can do.
    """
    try:
        # heavy and optional
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
    except ImportError:
        return None
    number = DoubleTensorType if is_double else FloatTensorType
    by_name = hasattr(model, "feature_names_in_")
    if any(each.type == "timestamp" or (each.type == "string" and not by_name) for each in signature.columns):
        return None
    if by_name:
        inputs = [
            (each.name, (StringTensorType if each.type == "string" else number)([None, 1]))
            for each in signature.columns
        ]
    else:
        inputs = [("table", number([None, len(signature.columns)]))]
    options = {} if signature.task == "regression" else {id(last_step(model)): {"zipmap": False}}
    try:
        made = convert_sklearn(model, name="model", initial_types=inputs, options=options)
    except Exception:  # each converter has failures of its own, and a model without translation is served as it is
        return None
    return bytes(made.SerializeToString(deterministic=True))


def is_torch_module(model: Any) -> bool:  # any model
    """Whether this is a PyTorch module, found out without importing PyTorch."""
    return any(
        each.__module__ == "torch.nn.modules.module" and each.__name__ == "Module" for each in type(model).__mro__
    )


def from_torch(module: Any, signature: Signature) -> bytes:  # a torch.nn.Module
    """Export a module that eats one float32 table (rows, columns) and answers scores.

    Raises:
        Invalid: a column is no number.
        Refused: PyTorch cannot export the module.
        MissingExtra: the exporter is not installed.
    """
    for column in signature.columns:
        if column.type in ("string", "timestamp"):
            raise Invalid(
                f"`{column.name}` is {column.type}, and a PyTorch module eats numbers",
                where=column.name,
                next_step="encode it before the module, and declare the encoded columns",
            )
    try:
        import onnxscript  # noqa: F401 - what PyTorch exports with
        import torch  # heavy, and the user's own
    except ImportError as error:
        raise MissingExtra.of("onnx", "onnxscript", "Packing a PyTorch module") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                copy.deepcopy(module).eval(),
                (torch.zeros(2, len(signature.columns)),),
                input_names=["table"],
                output_names=["score"],
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                external_data=False,
                verbose=False,
            )
    except Exception as error:  # any code of the module runs here, and any step of the exporter
        raise Refused(
            f"PyTorch cannot export {type(module).__name__}: {str(error).partition(chr(10))[0]}",
            where="model",
            next_step="let `forward` take one float32 table (rows, columns) and use operators that ONNX has",
        ) from error
    made = program.model_proto
    # The exporter writes down which lines of whose files each operator came from.
    for each in (made, made.graph, *made.graph.node, *made.graph.value_info, *made.functions):
        del each.metadata_props[:]
        each.doc_string = ""
    for function in made.functions:
        for node in function.node:
            del node.metadata_props[:]
    return bytes(made.SerializeToString(deterministic=True))


def torch_scores(module: Any, signature: Signature) -> Callable[[Columns], NDArray[np.float64]]:  # a torch.nn.Module
    """Return what scores columns by the module itself, shaped as every predictor answers."""
    import torch  # heavy, and the user's own

    module = copy.deepcopy(module).eval()

    def score(columns: Columns) -> NDArray[np.float64]:
        table = np.stack([columns[name] for name in signature.names], axis=1).astype(np.float32)
        with torch.no_grad():
            found = module(torch.from_numpy(table)).numpy().astype(np.float64)
        if signature.task == "multiclass":
            return np.ascontiguousarray(found.reshape(len(table), len(signature.classes)))
        if signature.task == "binary" and found.size == 2 * len(table):
            return np.ascontiguousarray(found.reshape(len(table), 2)[:, 1])
        return np.ascontiguousarray(found.reshape(len(table)))

    return score
