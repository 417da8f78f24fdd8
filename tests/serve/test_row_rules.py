"""The schema that checked the training table guards the server: one row that breaks it is told on every way in."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from tests.serve.conftest import SIGNATURE, flights

from mainspring.bundle.format import write_bundle
from mainspring.bundle.row_rules import ROW_RULES_NAME, SCHEMA_NAME
from mainspring.cli.main import main
from mainspring.data.row_rules import row_rules_of, row_rules_to_json
from mainspring.data.schema_file import schema_of
from mainspring.data.table import columns_of
from mainspring.errors import Invalid
from mainspring.predictions.journal import journals, read_frames
from mainspring.predictions.records import BatchRecord, RefusedRecord, decode_record
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

_SCHEMA = """
columns:
  distance: {type: number, min: 80, max: 6000}
  carrier: {type: string, nullable: true, categories: [AA, B6, UA], severity: quarantine}
  departed_at: {type: timestamp}
  weekend: {type: boolean}
rules:
  short_weekends: {row: "weekend = 0 OR distance < 5000", severity: warn}
  whole: {table: "avg(distance) < 6000"}
"""
_FAR = {"distance": 9000.0, "carrier": "AA", "departed_at": "2013-04-01T06:00:00Z", "weekend": False}
_SAID = "`distance` is 9000.0: above 6000 (rule `distance.max` of the model's schema)"


def made(folder: Path, schema: str) -> Path:
    """Write the bundle of a model with a schema."""
    frame, late = flights(400, seed=9)
    encode = ColumnTransformer(
        [("n", "passthrough", ["distance", "weekend"]), ("c", OneHotEncoder(handle_unknown="ignore"), ["carrier"])]
    )
    model = make_pipeline(encode, LogisticRegression(max_iter=5000)).fit(frame, late == "late")
    model[-1].classes_ = np.array(["on time", "late"])
    rules = row_rules_of(schema_of(schema, Path("s.yaml")), SIGNATURE, columns_of(frame))
    files = {SCHEMA_NAME: schema.encode(), ROW_RULES_NAME: row_rules_to_json(rules)}
    write_bundle(folder, model, SIGNATURE, name="late-flights", extra_files=files)
    return folder


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("guarded") / "late-flights", _SCHEMA)


@pytest.fixture(scope="module")
def server(guarded: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess.start(None, tmp_path_factory.mktemp("journals"), bundles=[guarded]) as one:
        yield one


def tensors(row: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = {"distance": "FP64", "carrier": "BYTES", "departed_at": "BYTES", "weekend": "BOOL"}
    return [{"name": name, "datatype": kinds[name], "shape": [1], "data": [row[name]]} for name in row]


def asked(row: dict[str, Any]) -> list[tuple[str, dict[str, str], bytes, str]]:
    """Every way to ask about one row, each with where a distance stands in it."""
    columns, cells = list(row), [str(value).lower() if value is False else str(value) for value in row.values()]
    csv = f"{','.join(columns)}\n{','.join(cells)}\n".encode()
    split = {"dataframe_split": {"columns": columns, "data": [list(row.values())]}}
    return [
        ("/models/late-flights/predict", {}, json.dumps({"rows": [row]}).encode(), "rows[0].distance"),
        ("/models/late-flights/predict", {"content-type": "text/csv"}, csv, "rows[0].distance"),
        ("/v2/models/late-flights/infer", {}, json.dumps({"inputs": tensors(row)}).encode(), "inputs[0].data[0]"),
        ("/invocations", {}, json.dumps(split).encode(), "dataframe_split.data[0].distance"),
        ("/invocations", {}, json.dumps({"dataframe_records": [row]}).encode(), "dataframe_records[0].distance"),
    ]


@pytest.mark.parametrize("way", range(5))
def test_a_row_that_a_rule_stops_is_refused_with_column_row_rule_and_value(
    server: ServerProcess, client: PredictionClient, flight: dict[str, object], way: int
) -> None:
    path, headers, body, place = asked(_FAR)[way]
    with pytest.raises(Invalid) as caught:
        client.send("POST", path, body, headers)
    assert (caught.value.what, caught.value.where) == (_SAID, place)
    path, headers, body, _ = asked(flight)[way]
    assert client.send("POST", path, body, headers)


def test_a_batch_of_requests_fails_those_alone_whose_rows_are_stopped(client: PredictionClient) -> None:
    rows = [{**_FAR, "distance": 100.0 + number} for number in range(5)]
    with pytest.raises(Invalid, match="and 1 more") as caught:
        client.predict("late-flights", [*rows, _FAR, {**_FAR, "distance": 3.0}])
    assert [each.where for each in caught.value.places] == ["rows[5].distance", "rows[6].distance"]  # type: ignore[attr-defined]
    assert len(client.predict("late-flights", rows).predictions) == 5


def test_a_row_that_would_be_set_aside_or_warns_is_answered_flagged_and_counted(
    tmp_path: Path, guarded: Path, flight: dict[str, object]
) -> None:
    with (
        ServerProcess.start(None, tmp_path, bundles=[guarded]) as server,
        PredictionClient(server.url) as client,
    ):
        assert (
            'model_rule_breaks_total{model="late-flights",rule="distance.max",severity="stop"} 0\n' in client.metrics()
        )
        assert 'model_rows_refused_total{model="late-flights"} 0\n' in client.metrics()
        rows = [flight, {**flight, "carrier": "ZZ"}, {**flight, "weekend": True, "distance": 5500.0}]
        answer = client.predict("late-flights", rows)
        told = [(each.where, each.what) for each in answer.warnings if each.kind == "broken_rule"]
        assert (
            "rows[1].carrier",
            '`carrier` is "ZZ": not a known category (rule `carrier.categories` of the model\'s schema)',
        ) in told
        assert [where for where, _ in told] == ["rows[1].carrier", "rows[2].weekend"]
        assert len(answer.predictions) == 3
        with pytest.raises(Invalid):
            client.predict("late-flights", [_FAR, flight, {**_FAR, "distance": 9001.0}])
        text = client.metrics()
    assert 'model_rows_refused_total{model="late-flights"} 3\n' in text
    for rule, severity, count in (
        ("carrier.categories", "quarantine", 1), ("short_weekends", "warn", 1), ("distance.max", "stop", 2),
    ):  # fmt: skip
        assert f'model_rule_breaks_total{{model="late-flights",rule="{rule}",severity="{severity}"}} {count}\n' in text
    assert 'model_requests_total{model="late-flights",version="1",route="champion",status="422"} 1\n' in text
    records = [decode_record(payload) for journal in journals(tmp_path) for payload, _ in read_frames(journal.path)]
    record, refused = records
    assert isinstance(record, BatchRecord)
    assert isinstance(refused, RefusedRecord)
    assert refused.refused == 1
    assert sum(record.warnings) >= 2


def test_the_metadata_names_the_rules_and_those_that_are_left_out(client: PredictionClient) -> None:
    routes = json.loads(client.send("GET", "/v2/models/late-flights", b""))["serving"]["routes"]
    assert routes[0]["row_rules"] == {
        "stop": ["distance.min", "distance.max"],
        "quarantine": ["carrier.categories"],
        "warn": ["short_weekends"],
        "left_out": {"whole": "it is about more than one row"},
    }


@pytest.mark.parametrize(("use", "flagged"), [("flag", True), ("off", False)])
def test_the_guard_can_be_made_to_flag_only_or_turned_off(
    tmp_path: Path, guarded: Path, use: str, flagged: bool
) -> None:
    with (
        ServerProcess.start(None, tmp_path, bundles=[guarded], options=("--row-rules", use)) as server,
        PredictionClient(server.url) as client,
    ):
        answer = client.predict("late-flights", [_FAR])
        assert [each.what for each in answer.warnings if each.kind == "broken_rule"] == ([_SAID] if flagged else [])


@pytest.mark.parametrize("parts", [(), ("--part-rows", "7")])
def test_a_file_is_scored_and_set_aside_and_that_is_all_its_rows(
    tmp_path: Path,
    guarded: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    parts: tuple[str, ...],
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    frame, _ = flights(20, seed=4)
    frame["carrier"] = frame["carrier"].astype(object)
    frame.loc[[3, 16], "carrier"] = "ZZ"
    frame.to_csv(tmp_path / "in.csv", index=False)
    words = ["predict", str(guarded), str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), *parts]
    assert main(words) == 0
    assert "20 rows = 18 scored + 2 set aside by late-flights" in capsys.readouterr().err
    out = pd.read_csv(tmp_path / "out.csv")
    assert out.index[out["set_aside"].notna()].tolist() == out.index[out["score"].isna()].tolist() == [3, 16]
    assert set(out["set_aside"].dropna()) == {"carrier.categories"}
    frame.loc[12, "distance"] = 9000.0
    frame.to_csv(tmp_path / "in.csv", index=False)
    before = (tmp_path / "out.csv").read_bytes()
    assert main(words) != 0
    assert "rows[12].distance: 9000.0 is above 6000 (rule `distance.max`)" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_bytes() == before
    assert main([*words, "--row-rules", "off"]) == 0
    assert "set_aside" not in pd.read_csv(tmp_path / "out.csv").columns


@pytest.mark.parametrize("parts", [(), ("--part-rows", "7")])
def test_a_missing_value_that_the_schema_sets_aside_ends_no_predict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    folder = made(tmp_path / "late-flights", _SCHEMA.replace("max: 6000}", "max: 6000, severity: quarantine}"))
    frame, _ = flights(20, seed=4)
    frame.loc[[3, 16], "distance"] = np.nan
    frame.to_csv(tmp_path / "in.csv", index=False)
    words = ["predict", str(folder), str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), *parts]
    assert main(words) == 0
    out = pd.read_csv(tmp_path / "out.csv")
    assert out.index[out["set_aside"].notna()].tolist() == out.index[out["score"].isna()].tolist() == [3, 16]
    assert set(out["set_aside"].dropna()) == {"distance.nullable"}
    assert main([*words, "--row-rules", "flag"]) == 2
    assert "rows[3].distance: missing, and the model needs a value" in capsys.readouterr().err


def test_lines_of_a_stream_carry_their_warnings_and_a_refused_one_counts_once(
    tmp_path: Path, guarded: Path, flight: dict[str, object]
) -> None:
    rows = [{**flight, "carrier": "ZZ"}] * 30 + [flight, {**flight, "distance": 5500.0}]
    kind = {"content-type": "application/x-ndjson"}
    with ServerProcess.start(None, tmp_path, bundles=[guarded]) as server, PredictionClient(server.url) as client:
        for sent in (rows, [*rows, _FAR]):
            body = "\n".join(map(json.dumps, sent)).encode()
            with urlopen(Request(f"{server.url}/models/late-flights/predict", body, kind)) as answer:
                found = [json.loads(line) for line in answer]
            told = [[(each["kind"], each["where"]) for each in line.get("warnings", ())] for line in found]
            for number in range(1, 31):
                assert ("broken_rule", f"line {number}: carrier") in told[number - 1]
            assert told[30:32] == [[], [("out_of_range", "line 32: distance")]]
        assert (found[32]["error"], found[32]["where"]) == (_SAID, "line 33: distance")
        text = client.metrics()
    assert 'model_rule_breaks_total{model="late-flights",rule="distance.max",severity="stop"} 1' in text
    assert 'model_requests_total{model="late-flights",version="1",route="champion",status="422"} 1' in text


@pytest.mark.parametrize("parts", [(), ("--part-rows", "7")])
def test_values_that_the_schema_marks_as_personal_are_not_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], parts: tuple[str, ...]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    folder = made(tmp_path / "late-flights", _SCHEMA.replace("max: 6000}", "max: 6000, personal: id}"))
    frame, _ = flights(20, seed=4)
    frame = frame.astype({"distance": object})
    words = ["predict", str(folder), str(tmp_path / "in.csv"), str(tmp_path / "out.csv"), *parts]
    for value, code, said in (
        (98765.0, 2, "rows[12].distance: (personal) is above 6000 (rule `distance.max`)"),
        (5999.0, 0, "rows[12].distance: (personal) is outside 80 to 5000"),
        ("98765 m", 2, "rows[12].distance: (personal) is not a number"),
    ):
        frame.loc[12, "distance"] = value
        frame.to_csv(tmp_path / "in.csv", index=False)
        assert main(words) == code
        told = capsys.readouterr().err
        assert said in told
        assert str(value)[:4] not in told


def test_a_damaged_guard_is_told_when_the_model_is_loaded(tmp_path: Path, guarded: Path) -> None:
    from mainspring.bundle.format import read_manifest
    from mainspring.bundle.row_rules import read_row_rules
    from mainspring.errors import Corrupt

    model = (guarded / "model.skops").read_bytes()
    assert model
    manifest = read_manifest(guarded)
    for name in manifest.files:
        (tmp_path / name).write_bytes((guarded / name).read_bytes())
    (tmp_path / ROW_RULES_NAME).write_bytes(b"{}" + b" " * (manifest.files[ROW_RULES_NAME].size_bytes - 2))
    with pytest.raises(Corrupt, match="changed"):
        read_row_rules(tmp_path, manifest)
