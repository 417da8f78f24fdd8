"""Faster forms of a model: made and certified when a bundle is written, chosen when it is loaded.

A form that does not hold is left out of the bundle, and the original serves; the certificate says why. There are three
forms: the folded plan of linear pipelines, the tree plan of forests and boosted trees, and for other models ONNX, in 64
bits or else in 32, where it is installed and faster. The bundle keeps the
original beside it, for explanations and for comparing live answers again.
"""

import contextlib
import json
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from mainspring.bundle.certificate import Certificate, Scores, certify, no_form
from mainspring.bundle.folding import fold
from mainspring.bundle.lightgbm_text import ensemble_of, parse_lightgbm
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.onnx_conversion import from_sklearn
from mainspring.bundle.onnx_predictor import ONNX_NAME, OnnxPredictor
from mainspring.bundle.original import SklearnPredictor, sums_of
from mainspring.bundle.packages import installed_version, last_step, needed_packages
from mainspring.bundle.plan import PLAN_NAME, Link, PlanPredictor, plan_to_json
from mainspring.bundle.tree_folding import fold_trees
from mainspring.bundle.tree_models import Ensemble, fed_by, read_sklearn
from mainspring.bundle.tree_plan import TREES_NAME, tree_plan_from_bytes, tree_plan_to_bytes
from mainspring.bundle.tree_predictor import TreePredictor
from mainspring.bundle.tree_thresholds import threshold_rows
from mainspring.bundle.xgboost_model import XgboostModel, parse_xgboost, xgboost_ensemble

__all__ = ["CERTIFICATE_NAME", "FORM_NAMES", "compile_forms"]

CERTIFICATE_NAME = "certificate.json"
#: The files that are written here and nowhere else.
FORM_NAMES = (PLAN_NAME, TREES_NAME, ONNX_NAME, CERTIFICATE_NAME)
#: They carry rows to the model and have no part in its scores.
_NOT_COMPARED = ("pandas", "scipy", "skops")
Columns = Mapping[str, NDArray[Any]]
#: As many as the server scores together when it is busy.
_MANY_ROWS = 256


class _Refuses(Exception):
    """The original raises on a row that was tried."""


def compile_forms(
    model: Any,  # any scikit-learn estimator
    original: bytes,
    manifest: BundleManifest,
    sample: Columns,
) -> dict[str, bytes]:
    """Return the file of the form that holds for `model`, whose bytes in the bundle are `original`, and a certificate.

    `sample` holds validation rows. The certificate alone means that the original serves: there is no form, one does not
    hold, or the original refuses rows at the edges, which a form would answer.
    """
    trial = _Trial(
        manifest,
        sample,
        _asked(SklearnPredictor(manifest, model).predict),
        blake3(original).hexdigest(),
        {name: installed_version(name) for name in needed_packages(model) if name not in _NOT_COMPARED},
    )
    with warnings.catch_warnings(), _one_thread(model):
        # probing asks for values that no encoder has seen; that is the point of it
        warnings.simplefilter("ignore")
        ensemble = _trees_of(model, manifest.signature.task)
        try:
            certificate, files = trial.linear(model) if ensemble is None else trial.trees(model, ensemble)
            other = None if certificate.holds else trial.onnx(model)
            if other is not None and other[0].holds:
                certificate, files = other
            elif other is not None:
                why = f"{certificate.why}; in ONNX: {other[0].why}"
                certificate = msgspec.structs.replace(certificate, why=why)
        except _Refuses as error:
            certificate, files = trial.none("", f"the original refuses a row that a form would answer: {error}"), {}
    text = msgspec.json.format(msgspec.json.encode(certificate, order="sorted"))
    return {CERTIFICATE_NAME: text} | (files if certificate.holds else {})


class _Trial:
    """One model beside its forms."""

    def __init__(
        self, manifest: BundleManifest, sample: Columns, original: Scores, digest: str, versions: Mapping[str, str]
    ) -> None:
        self._manifest = manifest
        self._sample = sample
        self._original = original
        self._digest = digest
        self._versions = versions

    def none(self, kind: str, why: str) -> Certificate:
        return no_form(kind, why, original=self._digest, versions=self._versions)

    def linear(self, model: object) -> tuple[Certificate, dict[str, bytes]]:
        signature = self._manifest.signature
        task = signature.task
        link: Link = "identity" if task == "regression" else "logistic" if task == "binary" else "softmax"
        total = sums_of(model, signature)
        plan = None if total is None else fold(signature, _asked(total), link)
        if plan is None:
            return self.none(
                "plan", "the model is no sum of one part for each column, and no trees that are known or few enough"
            ), {}
        text = plan_to_json(plan)
        return self._certified("plan", PlanPredictor(self._manifest, plan).predict, text), {PLAN_NAME: text}

    def trees(self, model: object, ensemble: Ensemble) -> tuple[Certificate, dict[str, bytes]]:
        signature = self._manifest.signature
        plan = fold_trees(signature, ensemble, _asked(fed_by(model, ensemble, signature)), self._sample)
        if plan is None:
            return self.none(
                "trees", "the trees look at what was made of two columns together or at single numbers, or are too many"
            ), {}
        text = tree_plan_to_bytes(plan)
        plan, trees = tree_plan_from_bytes(text, where=TREES_NAME)
        form = TreePredictor(self._manifest, plan, trees)
        near = threshold_rows(signature, plan, trees, form.states(self._sample), self._sample)
        return self._certified("trees", form.predict, text, near), {TREES_NAME: text}

    def onnx(self, model: object) -> tuple[Certificate, dict[str, bytes]] | None:
        """Try the model in ONNX; None where it cannot be put so."""
        tried = None
        for is_double in (True, False):
            text = from_sklearn(model, self._manifest.signature, is_double=is_double)
            if text is None:
                continue
            try:
                form = OnnxPredictor(self._manifest, text).predict
                certificate = self._certified("onnx", form, text)
            except _Refuses:
                raise
            except Exception as error:  # the runtime may refuse an operator, a type or a row in any way
                certificate = self.none("onnx", f"onnxruntime refuses: {str(error).partition(chr(10))[0]}")
            if certificate.holds and not self._is_faster(form):
                certificate = self.none("onnx", "the original is as fast")
            tried = tried or (certificate, {ONNX_NAME: text})
            if certificate.holds:
                return certificate, {ONNX_NAME: text}
        return tried

    def _is_faster(self, form: Scores) -> bool:
        """Whether the form is clearly faster for one row, and not clearly slower for many."""
        return all(
            factor * _seconds_of(form, rows) < _seconds_of(self._original, rows)
            for factor, rows in ((1.5, self._rows(1)), (0.75, self._rows(_MANY_ROWS)))
        )

    def _rows(self, count: int) -> Columns:
        return {name: np.resize(self._sample[name], count) for name in self._manifest.signature.names}

    def _certified(self, kind: str, form: Scores, text: bytes, near: Columns | None = None) -> Certificate:
        threshold = self._manifest.threshold
        return certify(
            kind,
            self._original,
            form,
            self._manifest.signature,
            self._sample,
            threshold=0.5 if threshold is None else threshold,
            hashes=(self._digest, blake3(text).hexdigest()),
            versions=self._versions,
            near=near,
        )


def _seconds_of(score: Scores, rows: Columns) -> float:
    """Return the shortest of five times."""
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        score(rows)
        times.append(time.perf_counter() - begun)
    return min(times)


@contextlib.contextmanager
def _one_thread(model: Any) -> Iterator[None]:  # any estimator
    """Let a model work in one thread.

    Small batches are asked many times over, and threads would do little but wait for each other. And a forest adds its
    trees in the order in which its threads finish, so that the last bit of its sums is another each time.
    """
    from threadpoolctl import threadpool_limits  # comes with scikit-learn

    last = last_step(model)
    jobs = getattr(last, "n_jobs", None)
    try:
        if jobs is not None:
            last.n_jobs = 1
        with threadpool_limits(1):
            yield
    finally:
        if jobs is not None:
            last.n_jobs = jobs


def _trees_of(model: Any, task: str) -> Ensemble | None:  # any estimator
    last = last_step(model)
    package = needed_packages(model)[-1]
    if type(last).__name__ in ("LGBMClassifier", "LGBMRegressor") and package == "lightgbm":
        return ensemble_of(parse_lightgbm(last.booster_.model_to_string()))
    if type(last).__name__ in ("XGBClassifier", "XGBRegressor") and package == "xgboost":
        if not math.isnan(last.missing):
            return None
        best = getattr(last, "best_iteration", None)  # of early stopping, if there was any
        return xgboost_ensemble(_xgboost(last), None if best is None else best + 1)
    return read_sklearn(last, task)


def _xgboost(model: Any) -> XgboostModel:  # without types
    try:
        return parse_xgboost(json.loads(model.get_booster().save_raw("json")))
    except KeyError as error:
        raise ValueError(f"XGBoost's model has no {error}") from error


def _asked(score: Scores) -> Scores:
    def ask(columns: Columns) -> NDArray[np.float64]:
        try:
            return score(columns)
        except Exception as error:  # an estimator of any kind may refuse a row in any way
            raise _Refuses(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}") from error

    return ask
