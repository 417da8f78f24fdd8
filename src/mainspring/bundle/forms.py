"""Faster forms of a model: made and certified when a bundle is written, chosen when it is loaded.

A form that does not hold is left out of the bundle, and the original serves. Today there is one form, the folded plan
of linear pipelines; the bundle keeps the original beside it, for explanations and for comparing live answers again.
"""

import warnings
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from mainspring.bundle.certificate import Scores, certify
from mainspring.bundle.folding import fold
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.original import SklearnPredictor, sums_of
from mainspring.bundle.plan import PLAN_NAME, Link, PlanPredictor, plan_to_json

__all__ = ["CERTIFICATE_NAME", "compile_forms"]

CERTIFICATE_NAME = "certificate.json"
Columns = Mapping[str, NDArray[Any]]


class _Refuses(Exception):
    """The original raises on a row that was tried."""


def compile_forms(
    model: Any,  # any scikit-learn estimator
    original: bytes,
    manifest: BundleManifest,
    sample: Columns,
) -> dict[str, bytes]:
    """Return the files of the forms that hold for `model`, whose bytes in the bundle are `original`.

    `sample` holds validation rows. No file means that the original serves: there is no form, one does not hold, or the
    original refuses rows at the edges, which a form would answer.
    """
    signature = manifest.signature
    task = signature.task
    link: Link = "identity" if task == "regression" else "logistic" if task == "binary" else "softmax"
    total = sums_of(model, signature)
    if total is None:
        return {}
    with warnings.catch_warnings():
        # probing asks for values that no encoder has seen; that is the point of it
        warnings.simplefilter("ignore")
        try:
            plan = fold(signature, _asked(total), link)
            if plan is None:
                return {}
            text = plan_to_json(plan)
            certificate = certify(
                "plan",
                _asked(SklearnPredictor(manifest, model).predict),
                PlanPredictor(manifest, plan).predict,
                signature,
                sample,
                threshold=0.5 if manifest.threshold is None else manifest.threshold,
                hashes=(blake3(original).hexdigest(), blake3(text).hexdigest()),
                versions={"numpy": np.__version__, "scikit-learn": metadata.version("scikit-learn")},
            )
        except _Refuses:
            return {}
    if not certificate.holds:
        return {}
    return {PLAN_NAME: text, CERTIFICATE_NAME: msgspec.json.format(msgspec.json.encode(certificate, order="sorted"))}


def _asked(score: Scores) -> Scores:
    def ask(columns: Columns) -> NDArray[np.float64]:
        try:
            return score(columns)
        except Exception as error:  # an estimator of any kind may refuse a row in any way
            raise _Refuses from error

    return ask
