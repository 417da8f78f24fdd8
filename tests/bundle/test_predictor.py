"""A loaded bundle scores columns as its model scored the frame it was fitted on."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from mainspring.bundle.format import write_bundle
from mainspring.bundle.manifest import MANIFEST_NAME
from mainspring.bundle.predictor import load_bundle
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Corrupt, Invalid, Unavailable


def columns_of(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return a frame's columns by the convention of the project."""
    made: dict[str, np.ndarray] = {}
    for name in frame:
        values = frame[name]
        if values.dtype.kind == "M":
            made[str(name)] = values.to_numpy().astype("datetime64[us]")
        elif pd.api.types.is_string_dtype(values):
            made[str(name)] = np.array([None if pd.isna(each) else each for each in values], dtype=object)
        else:
            made[str(name)] = np.array([np.nan if each is None else float(each) for each in values])
    return made


def test_scores_are_those_of_the_model_on_its_own_frame(
    tmp_path: Path, forest: Any, boosted: Any, table: pd.DataFrame, signature: Signature
) -> None:
    for name, model in (("forest", forest), ("boosted", boosted)):
        write_bundle(tmp_path / name, model, signature, name=name)
        predictor = load_bundle(tmp_path / name)
        assert predictor.signature == signature
        scores = predictor.predict(columns_of(table))
        assert scores.dtype == np.float64
        np.testing.assert_array_equal(scores, model.predict_proba(table)[:, 1])
        one = {column: values[:1] for column, values in columns_of(table).items()}
        assert predictor.predict(one).shape == (1,)


def test_each_type_of_column_reaches_the_model_as_it_was_fitted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = 120
    frame = pd.DataFrame(
        {
            "whole": rng.integers(0, 4, rows),
            "gaps": np.where(rng.random(rows) < 0.2, np.nan, rng.integers(0, 4, rows)),
            "flag": rng.random(rows) < 0.5,
            "maybe": pd.Series(rng.choice([True, False, None], rows), dtype=object),
            "word": pd.Series(rng.choice(["a", "b", None], rows), dtype="str"),
        }
    )
    encoder = OneHotEncoder(handle_unknown="ignore")
    target = frame.whole + frame.flag > 2
    model = make_pipeline(ColumnTransformer([("all", encoder, list(frame))]), LogisticRegression()).fit(frame, target)
    signature = Signature(
        (
            Column("whole", "integer"),
            Column("gaps", "integer", nullable=True),
            Column("flag", "boolean"),
            Column("maybe", "boolean", nullable=True),
            Column("word", "string", nullable=True),
        ),
        "y",
        "binary",
        ("False", "True"),
    )
    write_bundle(tmp_path / "b", model, signature, name="m")
    predictor = load_bundle(tmp_path / "b")
    expected = model.predict_proba(frame)[:, 1]
    columns = columns_of(frame)
    np.testing.assert_array_equal(predictor.predict(columns), expected)
    # A batch without gaps must not reach the model in other types than one with gaps.
    for row in range(rows):
        alone = predictor.predict({name: values[row : row + 1] for name, values in columns.items()})
        assert alone[0] == pytest.approx(expected[row], abs=1e-15)


def test_a_multiclass_model_scores_every_class(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=90)})
    kinds = np.digitize(frame.x, [-0.5, 0.5])
    model = HistGradientBoostingClassifier(max_iter=3, random_state=0).fit(frame, kinds)
    signature = Signature((Column("x", "number"),), "kind", "multiclass", ("0", "1", "2"))
    write_bundle(tmp_path / "b", model, signature, name="m")
    scores = load_bundle(tmp_path / "b").predict({"x": frame.x.to_numpy()})
    np.testing.assert_array_equal(scores, model.predict_proba(frame))


def test_a_model_fitted_on_an_array_gets_an_array(tmp_path: Path) -> None:
    model = LinearRegression().fit(np.array([[1.0, 2.0], [2.0, 1.0], [3.0, 5.0]]), [1.0, 2.0, 3.0])
    signature = Signature((Column("a", "number"), Column("b", "number")), "y", "regression")
    write_bundle(tmp_path / "b", model, signature, name="m")
    scores = load_bundle(tmp_path / "b").predict({"b": np.array([2.0]), "a": np.array([1.0])})
    np.testing.assert_array_equal(scores, model.predict([[1.0, 2.0]]))


def test_a_missing_column_and_a_missing_value_are_told_by_name(
    tmp_path: Path, signature: Signature, forest: Any
) -> None:
    write_bundle(tmp_path / "b", forest, signature, name="m")
    with pytest.raises(Invalid, match="`carrier` is missing"):
        load_bundle(tmp_path / "b").predict({"distance": np.zeros(1), "seats": np.zeros(1)})
    model = LinearRegression().fit(pd.DataFrame({"n": [1, 2]}), [1.0, 2.0])
    write_bundle(tmp_path / "n", model, Signature((Column("n", "integer"),), "y", "regression"), name="n")
    with pytest.raises(Invalid, match="may not") as caught:
        load_bundle(tmp_path / "n").predict({"n": np.array([1.0, np.nan])})
    assert caught.value.where == "n[1]"


def test_a_changed_model_is_not_loaded(tmp_path: Path, signature: Signature, forest: Any) -> None:
    write_bundle(tmp_path / "b", forest, signature, name="m")
    path = tmp_path / "b" / "model.skops"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Corrupt, match=r"model.skops"):
        load_bundle(tmp_path / "b")


def test_another_scikit_learn_is_told_before_it_guesses(tmp_path: Path, signature: Signature, forest: Any) -> None:
    write_bundle(tmp_path / "b", forest, signature, name="m")
    path = tmp_path / "b" / MANIFEST_NAME
    document = json.loads(path.read_text())
    for wanted, told in (
        ("scikit-learn==0.1.2", "scikit-learn==0.1.2"),
        ("no-such-package==1", "nothing is installed"),
    ):
        document["requirements"] = [wanted]
        path.write_text(json.dumps(document))
        with pytest.raises(Unavailable, match=told) as caught:
            load_bundle(tmp_path / "b")
        assert "pip install" in caught.value.next_step
