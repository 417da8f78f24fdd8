"""Models in ONNX: certified translations of scikit-learn's, models made elsewhere, and what is refused of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mainspring.bundle.certificate import edge_rows
from mainspring.bundle.explanation import explain
from mainspring.bundle.format import read_member, verify, write_bundle
from mainspring.bundle.forms import CERTIFICATE_NAME, compile_forms
from mainspring.bundle.onnx_file import check_onnx
from mainspring.bundle.onnx_predictor import ONNX_NAME, OnnxPredictor
from mainspring.bundle.predictor import form_of, load_bundle, load_original
from mainspring.domain.signature import Column, Signature
from mainspring.errors import Corrupt, Invalid, Refused

pd = pytest.importorskip("pandas", reason="models are fitted on frames: pip install 'mainspring[ml]'")
onnx = pytest.importorskip("onnx", reason="pip install 'mainspring[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install 'mainspring[onnx]'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402  # behind the check above
from sklearn.compose import ColumnTransformer  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler  # noqa: E402

from mainspring.bundle.onnx_conversion import from_sklearn  # noqa: E402

ROWS = 400
COLUMNS = (
    Column("wind", "number", low=-3.0, high=3.0),
    Column("delay", "number", low=-3.0, high=3.0),
    Column("carrier", "string", categories=("AA", "UA", "WN")),
)
EXAMPLE: dict[str, object] = {"wind": 0.5, "delay": 1.0, "carrier": "AA"}
SIGNATURE = Signature(COLUMNS, "late", "binary", ("no", "yes"), EXAMPLE)


def rows(count: int = ROWS) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "wind": rng.normal(size=count),
        "delay": rng.normal(size=count),
        "carrier": rng.choice(np.array(["AA", "UA", "WN"], dtype=object), count),
    }


def network(task: str = "binary") -> Any:
    """Fit a pipeline that no plan folds: a network looks at its columns together."""
    table = pd.DataFrame(rows())
    encode = ColumnTransformer(
        [
            ("numbers", StandardScaler(), ["wind", "delay"]),
            ("texts", OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        ]
    )
    signal = table["wind"] * table["delay"] + (table["carrier"] == "UA")
    if task == "regression":
        return make_pipeline(encode, MLPRegressor(hidden_layer_sizes=(8,), random_state=0, max_iter=60, tol=1)).fit(
            table, signal
        )
    late = np.where(signal > 0.3, "yes", "no")
    return make_pipeline(encode, MLPClassifier(hidden_layer_sizes=(8,), random_state=0, max_iter=60, tol=1)).fit(
        table, late
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("network") / "bundle"
    write_bundle(made, network(), SIGNATURE, name="late", sample=rows())
    return made


def test_a_network_is_served_as_onnx_and_answers_as_the_original(folder: Path) -> None:
    certificate = json.loads(read_member(folder, verify(folder), CERTIFICATE_NAME))
    assert (certificate["kind"], certificate["flips"], certificate["why"]) == ("onnx", 0, "")
    assert certificate["rows"] == ROWS
    form, original = load_bundle(folder), load_original(folder)
    assert (form_of(form), form_of(original)) == ("onnx", "original")
    tried = {name: np.concatenate([values, edge_rows(SIGNATURE, rows())[name]]) for name, values in rows().items()}
    np.testing.assert_allclose(form.predict(tried), original.predict(tried), atol=1e-12)
    assert form.predict({name: values[:0] for name, values in rows().items()}).shape == (0,)


def test_where_onnxruntime_is_not_installed_the_original_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mainspring.bundle.predictor.installed_version", lambda name: name != "onnxruntime" and "1.8.0")
    monkeypatch.setattr("mainspring.bundle.predictor._check_requirements", lambda manifest: None)
    assert form_of(load_bundle(folder)) == "original"


def test_a_regression_is_translated_too(tmp_path: Path) -> None:
    signature = Signature(COLUMNS, "minutes", "regression", (), EXAMPLE)
    write_bundle(tmp_path / "bundle", network("regression"), signature, name="minutes", sample=rows())
    form, original = load_bundle(tmp_path / "bundle"), load_original(tmp_path / "bundle")
    assert form_of(form) == "onnx"
    np.testing.assert_allclose(form.predict(rows()), original.predict(rows()), atol=1e-9)


def test_a_translation_that_confuses_unix_times_is_refused() -> None:
    """Squares of Unix times need more than the 24 bits of float32, and PolynomialFeatures has no other translation."""
    rng = np.random.default_rng(0)
    at = 1_700_000_000 + np.arange(ROWS, dtype=np.float64)
    table = pd.DataFrame({"at": at, "wind": rng.normal(size=ROWS)})
    late = np.where(np.arange(ROWS) % 2 == 1, "yes", "no")  # the last bit of the time decides
    model = make_pipeline(
        StandardScaler(),
        PolynomialFeatures(2),
        MLPClassifier(hidden_layer_sizes=(8,), random_state=0, max_iter=20, tol=1),
    )
    model.fit(table, late)
    columns = (Column("at", "number", low=at[0], high=at[-1]), Column("wind", "number", low=-3.0, high=3.0))
    signature = Signature(columns, "late", "binary", ("no", "yes"), {"at": at[0], "wind": 0.0})
    single = from_sklearn(model, signature, is_double=False)
    assert single is not None
    sample = {name: table[name].to_numpy() for name in table}
    manifest = _manifest(signature)
    difference = np.abs(OnnxPredictor(manifest, single).predict(sample) - model.predict_proba(table)[:, 1]).max()
    assert difference > 1e-6  # what would have been served
    files = compile_forms(model, b"model", manifest, sample)
    certificate = json.loads(files[CERTIFICATE_NAME])
    if ONNX_NAME in files:  # in 64 bits it holds
        np.testing.assert_allclose(
            OnnxPredictor(manifest, files[ONNX_NAME]).predict(sample), model.predict_proba(table)[:, 1], atol=1e-6
        )
    else:
        assert certificate["why"]


def _manifest(signature: Signature) -> Any:
    from mainspring.bundle.manifest import BundleManifest

    return BundleManifest(
        format=1,
        name="m",
        flavor="sklearn",
        signature=signature,
        threshold=None,
        requirements=(),
        python="3",
        facts={},
        files={},
    )


def linear(*, last: str = "Sigmoid", by_name: bool = False, external: bool = False) -> Any:
    """Return an ONNX model made by hand: sigmoid(a + 2 b)."""
    weights = numpy_helper.from_array(np.array([[1.0], [2.0]], dtype=np.float32), "weights")
    if external:
        weights.ClearField("raw_data")
        weights.data_location = TensorProto.EXTERNAL
        entry = weights.external_data.add()
        entry.key, entry.value = "location", "../secret"
    nodes = [helper.make_node("MatMul", ["table", "weights"], ["sum"]), helper.make_node(last, ["sum"], ["score"])]
    inputs = [helper.make_tensor_value_info("table", TensorProto.FLOAT, [None, 2])]
    if by_name:
        nodes.insert(0, helper.make_node("Concat", ["a", "b"], ["table"], axis=1))
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in "ab"]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


NUMBERS = Signature(
    (Column("a", "number", low=-1, high=1), Column("b", "number", low=-1, high=1)),
    "y",
    "binary",
    ("no", "yes"),
    {"a": 0.0, "b": 0.0},
)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_model_made_elsewhere_is_packed_served_and_explained(tmp_path: Path, by_name: bool) -> None:
    write_bundle(tmp_path / "bundle", linear(by_name=by_name), NUMBERS, name="y")
    manifest = verify(tmp_path / "bundle")
    assert (manifest.flavor, sorted(manifest.files)) == ("onnx", ["model.onnx", "profile.json", "requirements.txt"])
    assert manifest.requirements[1].startswith("onnxruntime==")
    predictor = load_bundle(tmp_path / "bundle")
    assert form_of(predictor) == "original"
    a, b = np.array([0.5, -1.0, 0.0]), np.array([0.25, 1.0, 0.0])
    np.testing.assert_allclose(predictor.predict({"a": a, "b": b}), 1 / (1 + np.exp(-(a + 2 * b))), rtol=1e-6)
    found = explain(predictor, {"a": a[:1], "b": b[:1]})
    assert found.contributions[0, 1] == pytest.approx(float(predictor.predict({"a": a, "b": b})[0] - 0.5) / 2, rel=0.05)


def test_the_same_model_gives_the_same_bundle(tmp_path: Path) -> None:
    for each in ("one", "two"):
        write_bundle(tmp_path / each, linear().SerializeToString(), NUMBERS, name="y")
    assert (tmp_path / "one/bundle.json").read_bytes() == (tmp_path / "two/bundle.json").read_bytes()


def test_a_model_of_sums_and_not_of_probabilities_is_refused(tmp_path: Path) -> None:
    sample = {"a": np.array([1.0, 1.0]), "b": np.array([1.0, -1.0])}
    with pytest.raises(Invalid, match="are probabilities"):
        write_bundle(tmp_path / "bundle", linear(last="Identity"), NUMBERS, name="y", sample=sample)
    assert not (tmp_path / "bundle").exists()


def test_a_model_that_points_at_another_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="another file"):
        write_bundle(tmp_path / "bundle", linear(external=True).SerializeToString(), NUMBERS, name="y")


def test_columns_that_are_not_the_inputs_are_named(tmp_path: Path) -> None:
    three = Signature((*NUMBERS.columns, Column("c", "number")), "y", "binary", ("no", "yes"))
    with pytest.raises(Invalid, match="for 3 columns"):
        write_bundle(tmp_path / "bundle", linear(), three, name="y")
    text = Signature((Column("a", "string"), NUMBERS.columns[1]), "y", "binary", ("no", "yes"))
    with pytest.raises(Invalid, match="the column is string"):
        write_bundle(tmp_path / "bundle", linear(by_name=True), text, name="y")


@pytest.mark.parametrize("cut", range(0, 140, 5))
def test_no_piece_of_a_model_is_taken_for_one(cut: int) -> None:
    data = linear().SerializeToString()
    assert cut < len(data)
    with pytest.raises((Corrupt, Refused)):
        OnnxPredictor(_manifest(NUMBERS), data[:cut])


def test_whatever_is_no_model_is_refused_before_the_runtime_sees_it() -> None:
    noise = np.random.default_rng(0)
    for size in (0, 1, 8, 64, 4096):
        with pytest.raises(Corrupt):
            check_onnx(noise.bytes(size))
    with pytest.raises(Corrupt):
        check_onnx(b"\x80" * 64)


def test_a_pytorch_module_is_exported_and_scores_equally(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="pip install torch onnxscript")
    pytest.importorskip("onnxscript", reason="pip install torch onnxscript")
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(8, 1))
    sample = {"a": np.linspace(-1, 1, 50), "b": np.linspace(1, -1, 50)}
    with pytest.raises(Invalid, match="probabilities"):
        write_bundle(tmp_path / "bundle", module, NUMBERS, name="y", sample=sample)
    module.append(torch.nn.Sigmoid())
    for each in ("bundle", "again"):
        write_bundle(tmp_path / each, module, NUMBERS, name="y", sample=sample)
    assert (tmp_path / "bundle/bundle.json").read_bytes() == (tmp_path / "again/bundle.json").read_bytes()
    assert str(Path(torch.__file__).parent).encode() not in (tmp_path / "bundle" / ONNX_NAME).read_bytes()
    assert b"test_onnx" not in (tmp_path / "bundle" / ONNX_NAME).read_bytes()
    module.eval()
    table = torch.tensor(np.stack([sample["a"], sample["b"]], axis=1), dtype=torch.float32)
    expected = module(table).detach().numpy()[:, 0]
    np.testing.assert_allclose(load_bundle(tmp_path / "bundle").predict(sample), expected, atol=1e-6)
    certificate = json.loads(read_member(tmp_path / "bundle", verify(tmp_path / "bundle"), CERTIFICATE_NAME))
    assert certificate["kind"] == "torch"
    assert certificate["edges"] > 0
