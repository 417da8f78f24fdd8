"""From a table to what an estimator is fitted on: the signature inferred, the frame, and the target as class labels."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.frame import frame_of
from mainspring.bundle.labels import class_named
from mainspring.data.table import Columns, column_type, n_rows
from mainspring.domain.signature import Column, Signature, Task
from mainspring.errors import Invalid, nearest

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "days_of",
    "days_within",
    "feature_frame",
    "infer_signature",
    "infer_task",
    "label_values",
    "target_index",
    "target_values",
]

#: Text columns with more values than this are ids or prose; listing the values in the signature would not help anyone.
_MOST_CATEGORIES = 1000
#: A whole-number target with at most this many values is taken for classes.
_MOST_CLASSES = 20


def infer_signature(
    columns: Columns, target: str, *, without: Collection[str] = (), task: Task | None = None
) -> Signature:
    """Describe the features of a table as they stand: every column but the target and those in `without`.

    Raises:
        Invalid: there is no such target, the target is constant or partly missing, or no feature is left.
    """
    if target not in columns:
        raise Invalid(f"There is no column `{target}`", where="target", next_step=nearest(target, columns))
    task = task or infer_task(columns[target], target)
    classes: tuple[str, ...] = ()
    if task != "regression":
        classes = tuple(_class_text(value) for value in np.unique(target_values(columns[target], target)))
        if len(classes) < 2:
            raise Invalid(
                f"The target `{target}` has one value only: {classes}",
                where=f"columns.{target}",
                next_step="give rows of every class, or a longer span of time",
            )
    names = [name for name in columns if name != target and name not in without]
    if not names:
        raise Invalid("No feature column is left", where="columns", next_step="keep at least one beside the target")
    described = tuple(_describe(name, columns[name]) for name in names)
    example = {column.name: _example(columns[column.name], column) for column in described}
    return Signature(described, target, task, classes, example)


def infer_task(target: NDArray[Any], name: str) -> Task:
    """Tell the task by the target: two values are binary, text or few whole numbers multiclass, the rest regression."""
    values = target_values(target, name)
    distinct = len(np.unique(values))
    if distinct <= 2:
        return "binary"
    if target.dtype == object or (column_type(target) == "integer" and distinct <= _MOST_CLASSES):
        return "multiclass"
    return "regression"


def target_values(target: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the target as an estimator takes it: int64 where it holds whole numbers, text or float64 otherwise.

    Raises:
        Invalid: a row has no target, or the target holds moments.
    """
    if target.dtype.kind == "M":
        raise Invalid(
            f"The target `{name}` holds moments", where=f"columns.{name}", next_step="choose a number or text"
        )
    missing = np.array([value is None for value in target]) if target.dtype == object else np.isnan(target)
    if missing.any():
        row = int(np.argmax(missing))
        raise Invalid(
            f"{int(missing.sum())} rows have no target `{name}`",
            where=f"rows[{row}].{name}",
            next_step="drop the rows whose outcome is not known yet",
        )
    if target.dtype == object:
        return target.astype(str)
    return target.astype(np.int64) if column_type(target) == "integer" else target


def target_index(target: NDArray[Any], signature: Signature) -> NDArray[np.float64]:
    """Return the class index of each row (a regression's values as they are), as float64."""
    values = target_values(target, signature.target)
    if signature.task == "regression":
        return values.astype(np.float64)
    index = {text: number for number, text in enumerate(signature.classes)}
    texts = [_class_text(value) for value in values]
    unknown = next((row for row, text in enumerate(texts) if text not in index), None)
    if unknown is not None:
        raise Invalid(
            f"`{texts[unknown]}` is no class the model knows",
            where=f"rows[{unknown}].{signature.target}",
            next_step=nearest(texts[unknown], signature.classes),
        )
    return np.array([index[text] for text in texts], dtype=np.float64)


def label_values(labels: NDArray[Any], signature: Signature) -> NDArray[np.float64]:
    """Return labels as the prediction log keeps them (text) as class numbers, or as values for a regression.

    Raises:
        Invalid: a label is no class the model knows.
    """
    if signature.task == "regression":
        return labels.astype(np.float64)
    named = np.array([class_named(label, signature.classes) or str(label) for label in labels], dtype=object)
    return target_index(named, signature)


def feature_frame(columns: Columns, signature: Signature) -> "pd.DataFrame":
    """Return the features as the frame the model sees, in training just as in production."""
    return frame_of({name: columns[name] for name in signature.names}, signature)


def days_of(columns: Columns, time: str) -> NDArray[np.int64]:
    """Return a block number a row: its day, or where there is no time, its hundred of rows."""
    if time:
        return columns[time].astype("datetime64[D]").astype(np.int64)
    return np.arange(n_rows(columns), dtype=np.int64) // 100


def days_within(columns: Columns) -> NDArray[np.int64]:
    """Return a block number a row as `days_of` does, by the first column that holds moments."""
    return days_of(columns, next((name for name, array in columns.items() if array.dtype.kind == "M"), ""))


def _describe(name: str, array: NDArray[Any]) -> Column:
    kind = column_type(array)
    if kind == "string":
        present = [value for value in array if value is not None]
        values: Sequence[str] = sorted(set(present))
        listed = tuple(values) if len(values) <= _MOST_CATEGORIES else None
        return Column(name, "string", len(present) < len(array), categories=listed)
    if kind == "timestamp":
        return Column(name, "timestamp", bool(np.isnat(array).any()))
    if np.isinf(array).any():
        row = int(np.argmax(np.isinf(array)))
        what = f"`{name}` holds an infinite value"
        raise Invalid(what, where=f"rows[{row}].{name}", next_step="drop or mend the row, or set a bound in the schema")
    present_numbers = array[~np.isnan(array)]
    if not present_numbers.size:
        return Column(name, "number", nullable=True)
    low, high = float(present_numbers.min()), float(present_numbers.max())
    # Always "number": that this sample held whole numbers only is no promise that the next row will.
    gaps = len(present_numbers) < len(array)
    return Column(name, "number", gaps, low, high, missing_seen=gaps)


def _example(array: NDArray[Any], column: Column) -> object:
    for value in array:
        if value is None or value != value:
            continue
        return str(value) if column.type in ("string", "timestamp") else float(value)
    return None


def _class_text(value: object) -> str:
    return str(value.item() if isinstance(value, np.generic) else value)
