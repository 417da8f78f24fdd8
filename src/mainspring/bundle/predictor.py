"""A bundle that is ready to score: columns in, scores out.

The convention for columns, everywhere in the project: numbers and integers are float64 with NaN for missing; strings
are object arrays of str with None for missing; booleans are float64 0, 1 and NaN for missing; timestamps are
datetime64[us] in UTC with NaT for missing. `frame` turns them back into the table a scikit-learn model was fitted on.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mainspring.bundle.estimators import load_estimator
from mainspring.bundle.format import MODEL_NAME, read_member, verify
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.onnx_predictor import ONNX_NAME, OnnxPredictor
from mainspring.bundle.original import SklearnPredictor
from mainspring.bundle.packages import installed_version
from mainspring.bundle.plan import PLAN_NAME, PlanPredictor, plan_from_json
from mainspring.bundle.tree_plan import TREES_NAME, tree_plan_from_bytes
from mainspring.bundle.tree_predictor import TreePredictor
from mainspring.domain.signature import Signature
from mainspring.errors import Unavailable

__all__ = ["Columns", "Predictor", "form_of", "load_bundle", "load_original"]

#: Column name to values; every array has the same length.
Columns = Mapping[str, NDArray[Any]]  # Any: the element type differs from column to column


class Predictor(Protocol):
    """A loaded model."""

    @property
    def manifest(self) -> BundleManifest:
        """What the bundle says about itself."""

    @property
    def signature(self) -> Signature:
        """What the model eats, and what its scores mean."""

    def predict(self, columns: Columns) -> NDArray[np.float64]:
        """Score every row.

        Returns the probability of ``classes[1]`` with shape (n,) for a binary model, the probabilities in class order
        with shape (n, n_classes) for a multiclass model, and the value with shape (n,) for a regression.
        """


def load_bundle(folder: Path) -> Predictor:
    """Verify every file of the bundle, then load it: in its certified form where it has one, else the original.

    Raises:
        NotFound: the folder is no bundle.
        Corrupt: a file is not what was written.
        Refused: the model holds something that may not be loaded.
        Unavailable: the installed packages are not those the model was fitted with.
    """
    manifest = verify(folder)
    if PLAN_NAME in manifest.files:
        # Read again with its hash, so that what is loaded is what was verified even if the file changed in between.
        return PlanPredictor(manifest, plan_from_json(read_member(folder, manifest, PLAN_NAME), where=PLAN_NAME))
    if TREES_NAME in manifest.files:
        text = read_member(folder, manifest, TREES_NAME)
        return TreePredictor(manifest, *tree_plan_from_bytes(text, where=TREES_NAME))
    if ONNX_NAME in manifest.files and (manifest.flavor == "onnx" or installed_version("onnxruntime")):
        return OnnxPredictor(manifest, read_member(folder, manifest, ONNX_NAME))
    return _original(folder, manifest)


def load_original(folder: Path) -> Predictor:
    """Verify every file of the bundle, then load the original model, whatever form serves.

    Raises what `load_bundle` raises.
    """
    return _original(folder, verify(folder))


def form_of(predictor: Predictor) -> str:
    """Return the name of the form that scores: ``plan``, ``trees``, ``onnx``, or ``original``."""
    if predictor.manifest.flavor == "onnx":
        return "original"
    forms: dict[type, str] = {PlanPredictor: "plan", TreePredictor: "trees", OnnxPredictor: "onnx"}
    return forms.get(type(predictor), "original")


def _original(folder: Path, manifest: BundleManifest) -> Predictor:
    if manifest.flavor == "onnx":
        return OnnxPredictor(manifest, read_member(folder, manifest, ONNX_NAME))
    _check_requirements(manifest)
    return SklearnPredictor(manifest, load_estimator(read_member(folder, manifest, MODEL_NAME)))


def _check_requirements(manifest: BundleManifest) -> None:
    """Check the installed packages; scikit-learn keeps no promise about models across its minor releases."""
    for requirement in manifest.requirements:
        name, _, wanted = requirement.partition("==")
        installed = installed_version(name)
        same = installed.split(".")[:2] == wanted.split(".")[:2]
        if not installed or (name == "scikit-learn" and not same):
            raise Unavailable(
                f"The model needs {requirement}, and {installed or 'nothing'} is installed",
                where=manifest.name,
                next_step=f"pip install '{requirement}', or train the model anew",
            )
