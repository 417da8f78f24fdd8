"""A scikit-learn model as MLflow's clients log it (an ``MLmodel`` folder), made a bundle.

Only what needs no pickle: newer clients write skops archives unless told otherwise, and those are read with the same
suspicion as a bundle's own. What a column held in training is not known of such a model, so no value is unusual to it.
Source: mlflow/sklearn/__init__.py and mlflow/types/schema.py, MLflow 3.17.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import yaml

from mainspring.bundle.estimators import load_foreign
from mainspring.bundle.format import write_bundle
from mainspring.bundle.manifest import BundleManifest
from mainspring.domain.signature import Column, ColumnType, Signature, Task
from mainspring.errors import Corrupt, Refused

__all__ = ["MLMODEL_NAME", "translate"]

MLMODEL_NAME = "MLmodel"
_TYPES: dict[str, ColumnType] = {
    "double": "number",
    "float": "number",
    "integer": "integer",
    "long": "integer",
    "string": "string",
    "boolean": "boolean",
    "datetime": "timestamp",
}


def translate(source: Path, target: Path, *, name: str) -> BundleManifest:
    """Write the model of the MLflow folder `source` as the bundle `target`, which must not exist or be empty.

    Raises:
        Refused: it is no scikit-learn model, is pickled, holds what a bundle may not hold, or has no named columns.
        Corrupt: the folder cannot be read.
    """
    try:
        told = yaml.safe_load((source / MLMODEL_NAME).read_text(encoding="utf-8"))
        flavors, given = dict(told["flavors"]), told.get("signature") or {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError) as error:
        raise Corrupt(f"`{source / MLMODEL_NAME}` cannot be read: {type(error).__name__}", where=str(source)) from error
    flavor = flavors.get("sklearn")
    if not isinstance(flavor, dict):
        kinds = ", ".join(f"`{each}`" for each in flavors) or "no flavor"
        raise _refused(f"It was logged to MLflow as {kinds}, and only scikit-learn models are made bundles")
    if flavor.get("serialization_format") != "skops":
        raise _refused(
            f"Its {flavor.get('pickled_model', 'file')} is a pickle, which may run any code when it is read",
            "log it again: mlflow.sklearn.log_model(..., serialization_format='skops')",
        )
    path = (source / str(flavor.get("pickled_model"))).resolve()
    if not path.is_relative_to(source.resolve()) or not path.is_file():
        raise Corrupt("The folder lacks the file of its model", where=str(source))
    columns = _columns(given)
    model = load_foreign(path.read_bytes())
    classes = tuple(str(each) for each in getattr(model, "classes_", ()))
    task: Task = "regression" if not classes else "binary" if len(classes) == 2 else "multiclass"
    facts = {"mlflow": {key: str(told[key]) for key in ("run_id", "model_id", "utc_time_created") if told.get(key)}}
    return write_bundle(target, model, Signature(columns, _target(given), task, classes), name=name, facts=facts)


def _columns(given: Mapping[str, object]) -> tuple[Column, ...]:
    """Return what the model eats, from the schema that was logged with it."""
    columns = []
    for each in _schema(given, "inputs"):
        kind = _TYPES.get(str(each.get("type")))
        if kind is None or not isinstance(each.get("name"), str):
            raise _refused(
                f"Its signature has {each.get('name') or 'a column without a name'} of type {each.get('type')}",
                "log it with a signature of named columns: infer_signature(a DataFrame, ...)",
            )
        columns.append(Column(str(each["name"]), kind, nullable=not each.get("required", True)))
    if not columns:
        raise _refused("It was logged without a signature", "log it with signature=infer_signature(a DataFrame, ...)")
    return tuple(columns)


def _target(given: Mapping[str, object]) -> str:
    names = [each.get("name") for each in _schema(given, "outputs")]
    return str(names[0]) if names and names[0] else "target"


def _schema(given: Mapping[str, object], side: str) -> list[dict[str, object]]:
    try:
        found = json.loads(str(given.get(side) or "[]"))
    except ValueError:
        found = []
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _refused(what: str, next_step: str = "load it with mlflow.pyfunc, or submit it as a candidate") -> Refused:
    return Refused(what, where=MLMODEL_NAME, next_step=next_step)
