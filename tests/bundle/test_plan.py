"""Folded plans: equal to scikit-learn on every kind of row, refused where a model is not of their kind."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.bundle.certificate import certify, edge_rows
from mainspring.bundle.format import read_member, verify, write_bundle
from mainspring.bundle.manifest import BundleManifest
from mainspring.bundle.plan import FoldedPlan, NumberTerm, PlanPredictor, plan_from_json
from mainspring.bundle.predictor import load_bundle, load_original
from mainspring.data.table import columns_of
from mainspring.domain.signature import Signature, Task
from mainspring.errors import Corrupt, Invalid
from mainspring.train.features import infer_signature

pd = pytest.importorskip("pandas", reason="models are fitted on frames: pip install 'mainspring[ml]'")
sklearn = pytest.importorskip("sklearn", reason="models are scikit-learn's: pip install 'mainspring[ml]'")

from sklearn.compose import ColumnTransformer  # noqa: E402  # behind the check above
from sklearn.ensemble import RandomForestClassifier  # noqa: E402
from sklearn.impute import SimpleImputer  # noqa: E402
from sklearn.linear_model import LogisticRegression, Ridge, SGDClassifier  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import (  # noqa: E402
    KBinsDiscretizer,
    MinMaxScaler,
    OneHotEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)

ROWS = 1200


def _frame(seed: int = 0) -> Any:  # a pandas frame
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({f"n{each}": rng.normal(size=ROWS) * 10.0**each for each in range(3)})
    frame["count"] = rng.integers(0, 50, ROWS)
    for each in range(2):
        frame[f"c{each}"] = rng.choice(list("abcdefgh"), ROWS)
    frame.loc[rng.random(ROWS) < 0.05, "n0"] = np.nan
    frame.loc[rng.random(ROWS) < 0.05, "c0"] = None
    return frame


def _targets(frame: Any) -> dict[Task, Any]:
    rng = np.random.default_rng(1)
    pull = frame["n1"] / 10 + (frame["c1"] == "a")
    return {
        "binary": np.where(rng.random(ROWS) < 1 / (1 + np.exp(-pull)), "yes", "no"),
        "multiclass": rng.choice(["x", "y", "z"], ROWS),
        "regression": pull + rng.normal(size=ROWS),
    }


def _preprocessed(model: Any, *, numbers: Any = None, texts: Any = None) -> Any:
    return make_pipeline(
        ColumnTransformer(
            [
                ("n", make_pipeline(SimpleImputer(), numbers or StandardScaler()), ["n0", "n1", "n2", "count"]),
                ("c", texts or OneHotEncoder(handle_unknown="ignore", min_frequency=20), ["c0", "c1"]),
            ]
        ),
        model,
    )


def _written(folder: Path, model: Any, task: Task, **choices: Any) -> tuple[BundleManifest, Signature, Any]:
    frame = _frame()
    target = _targets(frame)[task]
    table = columns_of(frame.assign(y=target))
    signature = infer_signature(table, "y", task=task)
    model.fit(frame, target)
    sample = {name: table[name] for name in signature.names}
    return write_bundle(folder, model, signature, name="m", sample=sample, **choices), signature, sample


FOLDABLE = [
    pytest.param("binary", lambda: LogisticRegression(max_iter=500), {}, id="logistic"),
    pytest.param("multiclass", lambda: LogisticRegression(max_iter=500), {}, id="softmax"),
    pytest.param("regression", lambda: Ridge(), {}, id="ridge"),
    pytest.param("binary", lambda: SGDClassifier(loss="log_loss", random_state=0), {}, id="sgd"),
    pytest.param("binary", lambda: LogisticRegression(max_iter=500), {"numbers": MinMaxScaler()}, id="min-max"),
    pytest.param("binary", lambda: LogisticRegression(max_iter=500), {"numbers": RobustScaler()}, id="robust"),
    pytest.param(
        "binary",
        lambda: LogisticRegression(max_iter=500),
        {"texts": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=200, drop="first")},
        id="infrequent",
    ),
]


@pytest.mark.filterwarnings("ignore:Found unknown categories")  # scikit-learn tells what the edges are there for
@pytest.mark.parametrize(("task", "model", "stages"), FOLDABLE)
def test_a_plan_answers_as_its_original_on_new_rows_and_at_every_edge(
    tmp_path: Path, task: Task, model: Any, stages: dict[str, Any]
) -> None:
    manifest, signature, sample = _written(tmp_path / "b", _preprocessed(model(), **stages), task)
    assert {"plan.json", "certificate.json"} <= manifest.files.keys()
    loaded, original = load_bundle(tmp_path / "b"), load_original(tmp_path / "b")
    assert isinstance(loaded, PlanPredictor)
    new = columns_of(_frame(seed=9))
    for rows in ({name: new[name] for name in signature.names}, edge_rows(signature, sample)):
        expected, given = original.predict(rows), loaded.predict(rows)
        assert given == pytest.approx(expected, rel=1e-9, abs=1e-9)
        # few rows take another way than many
        few = loaded.predict({name: array[:3] for name, array in rows.items()})
        assert np.array_equal(few, given[:3])  # to the bit: a served row is the same row in a file
    assert (
        loaded.predict({name: array[:0] for name, array in sample.items()}).shape
        == original.predict({name: array[:1] for name, array in sample.items()})[:0].shape
    )


NOT_LINEAR = [
    pytest.param(lambda: _preprocessed(RandomForestClassifier(10, random_state=0)), id="forest"),
    pytest.param(
        lambda: _preprocessed(
            LogisticRegression(max_iter=500),
            numbers=KBinsDiscretizer(5, encode="onehot", quantile_method="averaged_inverted_cdf"),
        ),
        id="stepped in one column",
    ),
    pytest.param(
        lambda: _preprocessed(
            LogisticRegression(max_iter=500),
            numbers=make_pipeline(StandardScaler(), PolynomialFeatures(2, interaction_only=True)),
        ),
        id="columns that act together",
    ),
    pytest.param(
        lambda: _preprocessed(LogisticRegression(max_iter=500), texts=OneHotEncoder(handle_unknown="error")),
        id="an original that refuses what it has not seen",
    ),
]


@pytest.mark.parametrize("model", NOT_LINEAR)
def test_a_model_that_is_no_sum_of_its_columns_serves_itself(tmp_path: Path, model: Any) -> None:
    manifest, _, sample = _written(tmp_path / "b", model(), "binary")
    assert "plan.json" not in manifest.files
    one = {name: array[:5] for name, array in sample.items()}
    assert load_bundle(tmp_path / "b").predict(one) == pytest.approx(load_original(tmp_path / "b").predict(one))


def test_the_certificate_says_what_was_compared(tmp_path: Path) -> None:
    manifest, _, _ = _written(tmp_path / "b", _preprocessed(LogisticRegression(max_iter=500)), "binary")
    kept = json.loads(read_member(tmp_path / "b", manifest, "certificate.json"))
    assert (kept["kind"], kept["rows"], kept["alone"], kept["flips"]) == ("plan", ROWS, 50, 0)
    assert kept["edges"] > 30
    assert kept["largest_difference"] < 1e-12
    assert kept["form"] == manifest.files["plan.json"].blake3
    assert kept["original"] == manifest.files["model.skops"].blake3


def test_the_same_model_gives_the_same_bundle(tmp_path: Path) -> None:
    for name in ("a", "b"):
        _written(tmp_path / name, _preprocessed(LogisticRegression(max_iter=500)), "binary")
    assert verify(tmp_path / "a") == verify(tmp_path / "b")


def test_a_form_that_flips_a_class_or_differs_too_much_does_not_hold(tmp_path: Path) -> None:
    _, signature, sample = _written(tmp_path / "b", _preprocessed(LogisticRegression(max_iter=500)), "binary")
    original = load_bundle(tmp_path / "b").predict
    given: dict[str, Any] = {"threshold": 0.5, "hashes": ("", ""), "versions": {}}
    same = certify("t", original, original, signature, sample, **given)
    assert same.holds
    assert same.largest_difference < 1e-15
    shifted = certify("t", original, lambda columns: original(columns) + 2e-6, signature, sample, **given)
    assert not shifted.holds
    flipped = certify("t", original, lambda columns: 1 - original(columns), signature, sample, **given)
    assert flipped.flips > ROWS / 2
    alone = certify(
        "t", original, lambda c: original(c) + (1e-3 if len(c["n0"]) == 1 else 0), signature, sample, **given
    )
    assert not alone.holds  # one row alone is answered in another way than among many


def test_float32_that_meets_a_unix_time_is_caught() -> None:
    signature_of = infer_signature
    seen = np.arange(1_699_000_000.0, 1_699_000_000.0 + 4000)
    table = {"at": seen, "y": np.array(["no", "yes"] * 2000, dtype=object)}
    signature = signature_of(table, "y")

    def original(columns: Any) -> Any:
        return (columns["at"] % 2).astype(float) * 0.8 + 0.1

    def single(columns: Any) -> Any:
        return (columns["at"].astype(np.float32).astype(float) % 2) * 0.8 + 0.1

    found = certify("t", original, single, signature, table, threshold=0.5, hashes=("", ""), versions={})
    assert not found.holds
    assert found.flips > 1000


@pytest.mark.parametrize(
    "text",
    [
        b"{",
        b'{"link": "logistic", "start": [], "terms": []}',
        b'{"link": "logistic", "start": [0, 1], "terms": []}',
        b'{"link": "softmax", "start": [0, 1],'
        b' "terms": [{"type": "number", "weights": [1], "offsets": [0], "missing": [0]}]}',
    ],
)
def test_a_plan_that_does_not_fit_together_is_refused(text: bytes) -> None:
    with pytest.raises(Corrupt):
        plan_from_json(text, where="plan.json")


def test_a_plan_for_other_columns_is_refused(tmp_path: Path) -> None:
    manifest, _, _ = _written(tmp_path / "b", _preprocessed(Ridge()), "regression")
    with pytest.raises(Corrupt, match="one term for each column"):
        PlanPredictor(manifest, FoldedPlan("identity", (0.0,), (NumberTerm((1.0,), (0.0,), (0.0,)),)))


@pytest.mark.parametrize("rows", [1, 40])
@pytest.mark.parametrize(("column", "value"), [("n1", np.nan), ("c1", None)])
def test_a_value_that_may_not_be_missing_is_named(tmp_path: Path, rows: int, column: str, value: object) -> None:
    _, signature, sample = _written(tmp_path / "b", _preprocessed(LogisticRegression(max_iter=500)), "binary")
    plan = load_bundle(tmp_path / "b")
    asked = {name: array[:rows].copy() for name, array in sample.items()}
    asked[column][0] = value
    if next(each.nullable for each in signature.columns if each.name == column):
        assert np.isfinite(plan.predict(asked)).all()
    else:
        with pytest.raises(Invalid, match=f"`{column}` has a missing value"):
            plan.predict(asked)
    del asked[column]
    with pytest.raises(Invalid, match=f"`{column}` is missing"):
        plan.predict(asked)


def test_a_caller_cannot_bring_a_plan_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="file of the bundle itself"):
        _written(tmp_path / "b", _preprocessed(Ridge()), "regression", extra_files={"plan.json": b"{}"})


def test_a_folded_bundle_is_scored_without_any_ml_library(tmp_path: Path) -> None:
    _written(tmp_path / "b", _preprocessed(LogisticRegression(max_iter=500)), "binary")
    program = (
        "import sys, numpy as np; from pathlib import Path; from mainspring.bundle.predictor import load_bundle\n"
        f"p = load_bundle(Path({str(tmp_path / 'b')!r}))\n"
        "text, number = np.array(['a'], dtype=object), np.array([1.0])\n"
        "row = {each.name: text if each.type == 'string' else number for each in p.signature.columns}\n"
        "assert 0 < p.predict(row)[0] < 1\n"
        "loaded = {'pandas', 'sklearn', 'scipy', 'skops', 'duckdb'} & set(sys.modules); assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
