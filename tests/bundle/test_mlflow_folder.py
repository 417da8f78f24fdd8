"""A model as MLflow's clients log it becomes a bundle that scores alike, or is refused with the reason."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mainspring.bundle.format import read_manifest, verify
from mainspring.bundle.mlflow_folder import translate
from mainspring.bundle.predictor import load_bundle
from mainspring.errors import Corrupt, Refused

pytest.importorskip("skops")
import pandas as pd
import skops.io
import yaml
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

INPUTS = [
    {"type": "long", "name": "age", "required": True},
    {"type": "double", "name": "income", "required": False},
    {"type": "string", "name": "city", "required": True},
]
RNG = np.random.default_rng(7)
ROWS = pd.DataFrame(
    {"age": RNG.integers(18, 80, 60), "income": RNG.normal(size=60), "city": RNG.choice(["a", "b", "c"], 60)}
)


def _logged(folder: Path, model: object, inputs: object = INPUTS, **flavor: object) -> Path:
    """Write a folder as MLflow 3.17 does."""
    folder.mkdir()
    skops.io.dump(model, folder / "model.skops")
    told = {"pickled_model": "model.skops", "serialization_format": "skops", "sklearn_version": "1.9", **flavor}
    signature = {"inputs": json.dumps(inputs), "outputs": json.dumps([{"type": "string", "required": True}])}
    document = {"flavors": {"python_function": {}, "sklearn": told}, "signature": signature, "run_id": "r1"}
    (folder / "MLmodel").write_text(yaml.safe_dump(document))
    return folder


def _pipeline(labels: object) -> object:
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), (StandardScaler(), ["age", "income"])
    )
    return make_pipeline(columns, LogisticRegression()).fit(ROWS, labels)


def test_a_classifier_scores_as_it_did_when_it_was_logged(tmp_path: Path) -> None:
    for name, labels in (
        ("binary", np.where(ROWS.income > 0, "yes", "no")),
        ("numbers", (ROWS.income > 0).astype(int)),
        ("many", ROWS.city.to_numpy()),
    ):
        model = _pipeline(labels)
        manifest = translate(_logged(tmp_path / name, model), tmp_path / f"{name}-made", name="churn")
        verify(tmp_path / f"{name}-made")
        assert manifest.signature.names == ("age", "income", "city")
        assert [each.nullable for each in manifest.signature.columns] == [False, True, False]
        assert manifest.facts == {"mlflow": {"run_id": "r1"}}
        scored = load_bundle(tmp_path / f"{name}-made").predict({name: ROWS[name].to_numpy() for name in ROWS})
        expected = model.predict_proba(ROWS)
        found = scored if expected.shape[1] > 2 else np.column_stack([1 - scored, scored])
        np.testing.assert_allclose(found, expected)


def test_a_regression_does_too(tmp_path: Path) -> None:
    model = LinearRegression().fit(ROWS[["age", "income"]], ROWS.income * 2)
    translate(_logged(tmp_path / "m", model, INPUTS[:2]), tmp_path / "made", name="price")
    manifest = read_manifest(tmp_path / "made")
    assert (manifest.signature.task, manifest.signature.target) == ("regression", "target")
    scored = load_bundle(tmp_path / "made").predict({"age": ROWS.age.to_numpy(), "income": ROWS.income.to_numpy()})
    np.testing.assert_allclose(scored, model.predict(ROWS[["age", "income"]]))


@pytest.mark.parametrize(
    ("flavor", "inputs", "said"),
    [
        ({"serialization_format": "cloudpickle", "pickled_model": "model.pkl"}, INPUTS, "is a pickle"),
        ({"serialization_format": None}, INPUTS, "is a pickle"),
        ({}, [], "without a signature"),
        ({}, [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, 3]}}], "a column without a name"),
        ({}, [{"type": "binary", "name": "age"}], "age of type binary"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(tmp_path: Path, flavor, inputs, said: str) -> None:
    folder = _logged(tmp_path / "m", _pipeline(ROWS.city), inputs, **flavor)
    with pytest.raises(Refused, match=said):
        translate(folder, tmp_path / "made", name="m")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "text", ["", "[]", "flavors: 5", "flavors: {sklearn: {}", "a: !!python/object/apply:os.system [x]"]
)
def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "MLmodel").write_text(text)
    with pytest.raises(Corrupt, match="cannot be read"):
        translate(tmp_path / "m", tmp_path / "made", name="m")


@pytest.mark.parametrize("path", ["../other.skops", "/etc/hostname", "absent.skops"])
def test_the_model_lies_in_its_folder(tmp_path: Path, path: str) -> None:
    (tmp_path / "other.skops").write_bytes(b"x")
    folder = _logged(tmp_path / "m", _pipeline(ROWS.city), pickled_model=path)
    with pytest.raises(Corrupt, match="lacks the file"):
        translate(folder, tmp_path / "made", name="m")


@pytest.mark.parametrize("name", ["1.npz", "x.npy", "../1.npy", "schema.json/1.npy"])
def test_an_archive_with_other_members_is_refused(tmp_path: Path, name: str) -> None:
    folder = _logged(tmp_path / "m", _pipeline(ROWS.city))
    with zipfile.ZipFile(folder / "model.skops", "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(Refused, match="refused"):
        translate(folder, tmp_path / "made", name="m")


def test_an_array_that_asks_for_a_terabyte_is_refused(tmp_path: Path) -> None:
    folder = _logged(tmp_path / "m", _pipeline(ROWS.city))
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)})
    with zipfile.ZipFile(folder / "model.skops", "a") as archive:
        archive.writestr("1.npy", header.getvalue())
    with pytest.raises((Refused, Corrupt)):
        translate(folder, tmp_path / "made", name="m")


def test_a_schema_that_names_what_is_not_there_is_told(tmp_path: Path) -> None:
    folder = _logged(tmp_path / "m", _pipeline(ROWS.city))
    with zipfile.ZipFile(folder / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps({"__loader__": "NdArrayNode", "file": "5.npy"}))
    with pytest.raises(Corrupt, match="cannot be read"):
        translate(folder, tmp_path / "made", name="m")
