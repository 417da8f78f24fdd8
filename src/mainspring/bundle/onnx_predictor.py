"""Models in the ONNX format, scored by onnxruntime in one thread.

Two kinds of model come this way: those that were made elsewhere (PyTorch, another language) and are nothing but this
file, and scikit-learn models whose translation was certified. Source: ONNX IR specification, section "Graphs".
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.onnx_file import check_onnx
from mainspring.domain.signature import Signature
from mainspring.errors import Corrupt, Invalid, MissingExtra

__all__ = ["ONNX_NAME", "OnnxPredictor", "open_session"]

ONNX_NAME = "model.onnx"
Columns = Mapping[str, NDArray[Any]]  # as in `predictor`
_NUMBERS: dict[str, type[np.generic]] = {
    "tensor(double)": np.float64,
    "tensor(float)": np.float32,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}
_SCORES = ("tensor(double)", "tensor(float)")
#: What the exporters call a classifier's scores.
_SCORE_NAMES = ("probabilities", "probability", "output_probability", "scores", "score")


def open_session(data: bytes) -> Any:  # an onnxruntime session; it has no types
    """Read an ONNX model. It may use the operators of the standard and nothing else.

    Raises:
        MissingExtra: onnxruntime is not installed.
        Refused: it points at another file.
        Corrupt: the bytes are no such model, or ask for operators that there are not.
    """
    check_onnx(data)
    try:
        import onnxruntime  # heavy and optional
    except ImportError as error:
        raise MissingExtra.of("onnx", "onnxruntime", "Loading an ONNX model") from error
    options = onnxruntime.SessionOptions()
    # The server has a process for each core, and one order of additions gives one answer.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    options.add_session_config_entry("session.load_model_format", "ONNX")
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a class of its own for each of its failures, none of them public
        raise Corrupt(
            f"onnxruntime cannot read the model: {str(error).partition(chr(10))[0]}",
            where=ONNX_NAME,
            next_step="export it for the operators of the standard, or upgrade onnxruntime",
        ) from error


class OnnxPredictor:
    """Scores with onnxruntime; see `Predictor`."""

    def __init__(self, manifest: BundleManifest, data: bytes) -> None:
        """Read the model and find out how it wants its columns: one by one by name, or side by side in one table.

        Raises:
            Invalid: its inputs are not the signature's columns, or none of its outputs is a score.
        """
        self.manifest = manifest
        self.signature = manifest.signature
        self._session = open_session(data)
        self._inputs = {each.name: _dtype_of(each, self.signature) for each in self._session.get_inputs()}
        self._flat = {each.name: len(each.shape) == 1 for each in self._session.get_inputs()}
        self._table = None if set(self._inputs) == set(self.signature.names) else _one_table(self._inputs)
        if self._table is not None:
            _check_table(self._session.get_inputs()[0], self.signature)
        self._output = _score_output(self._session)

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """Score every row; see `Predictor.predict`."""
        names = self.signature.names
        rows = len(columns[names[0]])
        if not rows:  # operators are free to refuse a table without rows
            return np.zeros((0, len(self.signature.classes)) if self.signature.task == "multiclass" else 0)
        if self._table is not None:
            dtype = self._inputs[self._table]
            # a number too large for float32 becomes infinite there, which the comparison with the original shows
            with np.errstate(over="ignore"):
                given = {self._table: np.stack([columns[name] for name in names], axis=1).astype(dtype)}
        else:
            given = {name: self._column(name, columns[name]) for name in names}
        found = np.asarray(self._session.run([self._output], given)[0], dtype=np.float64)
        return _shaped(found, rows, self.signature)

    def _column(self, name: str, values: NDArray[Any]) -> NDArray[Any]:
        dtype = self._inputs[name]
        if dtype is np.object_:
            values = np.array(["" if each is None else each for each in values], dtype=object)
        elif values.dtype != dtype:
            with np.errstate(over="ignore"):
                values = values.astype(dtype)
        return values if self._flat[name] else values.reshape(-1, 1)


def _dtype_of(node: Any, signature: Signature) -> type[np.generic]:  # a node of onnxruntime
    kinds = {column.name: column for column in signature.columns}
    column = kinds.get(node.name)
    if node.type == "tensor(string)" and column is not None and column.type == "string":
        return np.object_
    dtype = _NUMBERS.get(node.type)
    if dtype is None or (column is not None and column.type in ("string", "timestamp")):
        raise Invalid(
            f"The ONNX model's input `{node.name}` is a {node.type}, and the column is "
            f"{'not there' if column is None else column.type}",
            where=node.name,
            next_step="give every text column an input of strings, every other one an input of numbers",
        )
    if column is not None and not issubclass(dtype, np.floating) and (column.nullable or column.type == "number"):
        raise Invalid(
            f"`{node.name}` may be missing or a fraction, and the ONNX model's input is a {node.type}",
            where=node.name,
            next_step="declare the column as integer and never missing, or export the input as floating point",
        )
    return dtype


def _one_table(inputs: Mapping[str, object]) -> str:
    if len(inputs) != 1:
        raise Invalid(
            f"The ONNX model's inputs {', '.join(inputs)} are not the signature's columns",
            where="signature.columns",
            next_step="name the columns as the inputs, or export a model of one table with all columns side by side",
        )
    return next(iter(inputs))


def _check_table(node: Any, signature: Signature) -> None:  # a node of onnxruntime
    if len(node.shape) != 2 or (isinstance(node.shape[1], int) and node.shape[1] != len(signature.columns)):
        raise Invalid(
            f"The ONNX model's input `{node.name}` has shape {node.shape} for {len(signature.columns)} columns",
            where="signature.columns",
            next_step="list the columns in the order of the table",
        )
    for column in signature.columns:
        if column.type in ("string", "timestamp"):
            raise Invalid(f"`{column.name}` is {column.type}, and the ONNX model eats numbers", where=column.name)


def _score_output(session: Any) -> str:  # an onnxruntime session
    outputs = {each.name: each.type for each in session.get_outputs()}
    scores = [name for name, kind in outputs.items() if kind in _SCORES]
    named = [name for name in scores if name in _SCORE_NAMES]
    if len(scores) == 1 or named:
        return str((named or scores)[0])
    raise Invalid(
        f"None of the ONNX model's outputs {outputs} is known to be the score",
        where="model.onnx",
        next_step="export one output of floating point, named `probabilities` or `score`; zipmap=False in skl2onnx",
    )


def _shaped(found: NDArray[np.float64], rows: int, signature: Signature) -> NDArray[np.float64]:
    width = len(signature.classes) if signature.task == "multiclass" else 1
    if found.size == rows * 2 and signature.task == "binary":
        return np.ascontiguousarray(found.reshape(rows, 2)[:, 1])
    if found.size != rows * width:
        raise Corrupt(
            f"The ONNX model answered shape {found.shape} for {rows} rows of a {signature.task} model",
            where=ONNX_NAME,
            next_step="export it with a first dimension that is free, and one score for each row and class",
        )
    return np.ascontiguousarray(found.reshape(rows, width) if signature.task == "multiclass" else found.reshape(rows))
