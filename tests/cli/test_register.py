"""`mainspring models register`: what was made elsewhere is tried, kept, promoted and scored with."""

import json
from pathlib import Path

import numpy as np
import pytest
from tests.cli.conftest import serving

from mainspring.bundle.format import write_bundle
from mainspring.cli.main import main
from mainspring.data.table import read_columns
from mainspring.serve.client import PredictionClient
from mainspring.train.features import infer_signature

onnx = pytest.importorskip("onnx", reason="pip install 'mainspring[onnx]'")
pytest.importorskip("onnxruntime", reason="pip install 'mainspring[onnx]'")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402  # behind the check above


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A network exported elsewhere, and rows it knows."""
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    weights = numpy_helper.from_array(np.array([[1.0], [2.0]], dtype=np.float32), "weights")
    nodes = [helper.make_node("MatMul", ["x", "weights"], ["sum"]), helper.make_node("Sigmoid", ["sum"], ["score"])]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])]
    outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1])]
    graph = helper.make_graph(nodes, "linear", inputs, outputs, [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "net.onnx")
    rng = np.random.default_rng(0)
    wind, delay = rng.normal(size=40), rng.normal(size=40)
    lines = [f"{w},{d},{'yes' if w + 2 * d > 0 else 'no'}" for w, d in zip(wind, delay, strict=True)]
    (tmp_path / "known.csv").write_text("\n".join(["wind,delay,late", *lines, ""]))
    return tmp_path


def test_an_onnx_file_becomes_a_version_that_is_promoted_and_scores(made: Path, capfd) -> None:
    register = ["models", "register", "late", "net.onnx", "--rows", "known.csv", "--target", "late"]
    assert main([*register, "--json"]) == 0
    first = json.loads(capfd.readouterr().out)
    assert main([*register, "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == first  # equal work is one version
    assert main(["promote", "late/1"]) == 0
    assert main(["predict", "late@champion", "known.csv", "out.csv"]) == 0
    lines = (made / "out.csv").read_text().splitlines()
    assert lines[0] == "wind,delay,late,score,label"
    for line in lines[1:]:
        wind, delay, late, score, label = line.split(",")
        assert float(score) == pytest.approx(1 / (1 + np.exp(-(float(wind) + 2 * float(delay)))), abs=1e-6)
        assert late == label


def ask(client: PredictionClient, wrong: bool) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        rows = [{"wind": float(wind), "delay": float(delay)} for wind, delay in rng.normal(size=(10, 2))]
        answer = client.predict("late", rows)
        late = [(row["wind"] + 2 * row["delay"] > 0) != wrong for row in rows]
        labels = ["yes" if each else "no" for each in late]
        client.feedback("late", [(p.id, label) for p, label in zip(answer.predictions, labels, strict=True)])


def test_its_live_quality_is_judged_by_its_loss_on_the_rows_it_came_with(made: Path, capfd) -> None:
    assert main(["models", "register", "late", "net.onnx", "--rows", "known.csv", "--target", "late"]) == 0
    assert main(["promote", "late/1"]) == 0
    with serving("serve", "late", ready=made / "ready.json") as client:
        ask(client, wrong=True)
    capfd.readouterr()
    assert main(["monitor", "--json"]) == 0
    (seen,) = json.loads(capfd.readouterr().out)["seen"]
    assert (seen["labels"], seen["status"]) == (300, "waiting")  # the block under way is not over
    assert main(["monitor", "backtest", "late", "--every", "1ms", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["windows"] > 0


def test_a_bundle_without_rows_is_served_and_not_judged(made: Path, capfd) -> None:
    table = read_columns(made / "known.csv")
    signature = infer_signature(table, "late")
    write_bundle(made / "bundle", (made / "net.onnx").read_bytes(), signature, name="late")
    assert main(["models", "register", "late", "bundle"]) == 0
    assert main(["promote", "late/1"]) == 0
    with serving("serve", "late", ready=made / "ready.json") as client:
        ask(client, wrong=False)
    capfd.readouterr()
    assert main(["monitor", "--json"]) == 0
    (seen,) = json.loads(capfd.readouterr().out)["seen"]
    assert (seen["status"], seen["labels"]) == ("not judged", 300)
    assert main(["monitor", "backtest", "late"]) != 0
    assert "registered without rows to judge it by" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net.onnx"], "An .onnx file does not say what its columns and scores mean"),
        (["gone.onnx", "--rows", "known.csv", "--target", "late"], "There is no file `gone.onnx`"),
        (["known.csv"], "`known.csv` is no bundle and no .onnx file"),
        (["cut.onnx", "--rows", "known.csv", "--target", "late"], "These bytes are not an ONNX model"),
        (["net.onnx", "--rows", "known.csv", "--target", "wind"], "`late` is string, and the ONNX model eats numbers"),
    ],
)
def test_what_cannot_be_registered_is_told(made: Path, capfd, words: list[str], said: str) -> None:
    (made / "cut.onnx").write_bytes((made / "net.onnx").read_bytes()[:60])
    assert main(["models", "register", "late", *words]) != 0
    assert said in capfd.readouterr().err
    assert main(["models", "list", "--json"]) == 0
    assert json.loads(capfd.readouterr().out) == []


def test_a_schema_that_the_rows_keep_guards_a_model_from_elsewhere(made: Path, capfd) -> None:
    (made / "s.yaml").write_text("columns:\n  wind: {type: number, min: -10, max: 10}\n")
    words = ["models", "register", "late", "net.onnx", "--rows", "known.csv", "--target", "late", "--schema", "s.yaml"]
    assert main(words) == 0
    assert main(["promote", "late/1"]) == 0
    (made / "in.csv").write_text("wind,delay\n1,2\n11,2\n")
    capfd.readouterr()
    assert main(["predict", "late", "in.csv", "out.csv"]) == 2
    assert "rows[1].wind: 11.0 is above 10" in capfd.readouterr().err
    (made / "s.yaml").write_text("columns:\n  wind: {type: number, max: 0}\n")
    assert main(words) == 1
    assert "The table breaks 1 rules of s.yaml" in capfd.readouterr().err
