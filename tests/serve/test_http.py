"""The HTTP surface of a real server: what it takes, what it refuses, and how it says so."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

import pytest

from mainspring.errors import Invalid, MainspringError, NotFound
from mainspring.predictions.records import LabelRecord, PredictionRecord
from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

PREDICT = "/models/late-flights/predict"
INFER = "/v2/models/late-flights/infer"


def ask(
    server: ServerProcess, method: str, path: str, body: bytes | str = b"", **headers: str
) -> tuple[int, Any, dict[str, str]]:
    parts = urlsplit(server.url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        content = response.read()
        sent = {name.lower(): value for name, value in response.getheaders()}
        return response.status, json.loads(content) if "json" in sent["content-type"] else content.decode(), sent
    finally:
        connection.close()


def refused(server: ServerProcess, path: str, body: Any, status: int = 422) -> dict[str, Any]:
    text = body if isinstance(body, (bytes, str)) else json.dumps(body)
    found, problem, headers = ask(server, "POST", path, text)
    assert found == status == problem["status"], problem
    assert headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "code", "where", "next", "errors", "error"}
    return dict(problem)


# --- predict ---


def test_rows_are_answered_with_ids_scores_and_labels(client: PredictionClient, flight: dict[str, Any]) -> None:
    answer = client.predict("late-flights", [flight, {**flight, "distance": 4900, "carrier": "B6"}], request_id="r-1")
    assert (answer.model, answer.version, answer.route, answer.id) == ("late-flights", 1, "champion", "r-1")
    first, second = answer.predictions
    assert isinstance(first.score, float)
    assert isinstance(second.score, float)
    assert first.score < 0.5 < second.score
    assert (first.label, second.label) == ("on time", "late")
    assert len({first.id, second.id}) == 2
    assert answer.warnings == []


def test_a_bare_list_of_rows_is_taken(server: ServerProcess, flight: dict[str, Any]) -> None:
    status, answer, _ = ask(server, "POST", PREDICT, json.dumps([flight]))
    assert status == 200
    assert len(answer["predictions"]) == 1


def test_a_regression_has_a_score_and_no_label(client: PredictionClient) -> None:
    (prediction,) = client.predict("delay", [{"distance": 4}]).predictions
    assert prediction.score == pytest.approx(8.0)
    assert prediction.label is None


def test_a_version_can_be_asked_by_name(client: PredictionClient, flight: dict[str, Any]) -> None:
    assert client.predict("late-flights", [flight], version=1).version == 1
    with pytest.raises(NotFound, match="Version 9") as caught:
        client.predict("late-flights", [flight], version=9)
    assert caught.value.next_step == "versions that do: 1"


def test_what_training_never_saw_is_answered_with_a_warning_and_counted(
    client: PredictionClient, flight: dict[str, Any]
) -> None:
    answer = client.predict("late-flights", [flight, {**flight, "carrier": "ZZ", "distance": 99999.0}])
    assert [(warn.kind, warn.where) for warn in answer.warnings] == [
        ("out_of_range", "rows[1].distance"),
        ("unknown_category", "rows[1].carrier"),
    ]
    assert 'model_warnings_total{model="late-flights",kind="unknown_category"}' in client.metrics()


@pytest.mark.parametrize(
    ("change", "where", "told"),
    [
        ({"distance": "900"}, "rows[1].distance", "is not a number"),
        ({"distance": True}, "rows[1].distance", "is not a number"),
        ({"distance": None}, "rows[1].distance", "may not be null"),
        ({"departed_at": "soon"}, "rows[1].departed_at", "not a moment"),
        ({"carier": "AA"}, "rows[1].carier", "Did you mean `carrier`?"),
        ({"distance": float("nan")}, "rows[1].distance", "nan is not a value"),
        ({"distance": float("inf")}, "rows[1].distance", "inf is not a value"),
    ],
)
def test_a_row_that_breaks_the_schema_is_refused_with_its_place(
    server: ServerProcess, flight: dict[str, Any], change: dict[str, Any], where: str, told: str
) -> None:
    problem = refused(server, PREDICT, {"rows": [flight, flight | change]})
    assert problem["where"] == where
    assert told in problem["detail"]
    assert problem["errors"] == [{"where": where, "what": problem["detail"]}]
    assert problem["code"] == "invalid"


def test_a_missing_column_is_refused_with_its_place(server: ServerProcess, flight: dict[str, Any]) -> None:
    del flight["distance"]
    assert refused(server, PREDICT, [flight])["where"] == "rows[0].distance"


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        (b"", 400, "body"),
        (b"{", 400, "body"),
        (b'{"rows": [}', 400, "body"),
        (b"\xff\xfe", 400, "body"),
        (b'{"rows": [{"distance": ' + b"[" * 100_000, 400, "body"),
        (b"null", 422, "body"),
        (b"3", 422, "body"),
        (b"{}", 422, "body"),
        (b"[]", 422, "rows"),
        (b'{"rows": []}', 422, "rows"),
        (b'{"rows": 3}', 422, "rows"),
        (b'{"rows": [3]}', 422, "rows[0]"),
        (b"[[]]", 422, "rows[0]"),
        (b'{"rows": [{}], "id": 3}', 422, "id"),
    ],
)
def test_a_body_of_another_shape_is_refused(server: ServerProcess, body: bytes, status: int, where: str) -> None:
    problem = refused(server, PREDICT, body, status)
    assert problem["where"] == where
    assert problem["next"]


def test_a_syntax_error_names_its_byte(server: ServerProcess) -> None:
    assert "(byte 10)" in refused(server, PREDICT, b'{"rows": [,]}', 400)["detail"]


def test_too_many_rows_and_too_large_a_body_are_refused(server: ServerProcess) -> None:
    assert "10001 rows" in refused(server, PREDICT, b"[" + b"{}," * 10_000 + b"{}]", 413)["detail"]
    problem = refused(server, PREDICT, b" " * ((4 << 20) + 1), 413)
    assert "larger than 4194304 bytes" in problem["detail"]


def test_an_unknown_model_is_refused_with_the_nearest_name(client: PredictionClient) -> None:
    with pytest.raises(NotFound, match="No model `late-flight`") as caught:
        client.predict("late-flight", [{}])
    assert caught.value.next_step == "Did you mean `late-flights`?"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", PREDICT, 405), ("POST", "/metrics", 405), ("GET", "/predict", 404), ("DELETE", "/v2/models/x", 405)],
)
def test_other_paths_and_methods_are_refused(server: ServerProcess, method: str, path: str, status: int) -> None:
    found, problem, _ = ask(server, method, path)
    assert found == status
    assert problem["next"]


def test_the_time_of_the_event_is_the_clients(
    client: PredictionClient, server: ServerProcess, shared_site: Any, flight: dict[str, Any]
) -> None:
    body = json.dumps({"rows": [flight], "id": "timed"})
    status, _, _ = ask(server, "POST", PREDICT, body, x_event_at="2013-07-01T10:00:00+02:00")
    assert status == 200
    (record,) = [each for each in shared_site.records() if getattr(each, "request_id", None) == "timed"]
    assert record.at == "2013-07-01T08:00:00.000000Z"
    assert record.received_at > "2020"
    for wrong in ("yesterday", "2099-01-01T00:00:00Z"):
        status, problem, _ = ask(server, "POST", PREDICT, body, x_event_at=wrong)
        assert (status, problem["where"]) == (422, "header x-event-at")


def test_an_answer_is_in_the_journal_as_it_was_given(
    client: PredictionClient, shared_site: Any, flight: dict[str, Any]
) -> None:
    rows = [flight, {**flight, "carrier": None, "distance": 10**7}]
    answer = client.predict("late-flights", rows)
    (record,) = [each for each in shared_site.records() if answer.predictions[0].id in each.ids]
    assert isinstance(record, PredictionRecord)
    assert record.ids == [each.id for each in answer.predictions]
    assert record.scores == [each.score for each in answer.predictions]
    assert record.columns == {name: [row[name] for row in rows] for name in flight}
    assert (record.version, record.route, record.request_id, record.warnings) == (1, "champion", None, 1)
    assert record.latency_ms > 0


# --- feedback ---


def test_labels_are_taken_and_written_down(client: PredictionClient, shared_site: Any, flight: dict[str, Any]) -> None:
    (prediction,) = client.predict("late-flights", [flight]).predictions
    assert client.feedback("late-flights", [(prediction.id, "late")], source="tower") == 1
    records = [each for each in shared_site.records() if isinstance(each, LabelRecord)]
    assert (records[-1].ids, records[-1].labels, records[-1].source) == ([prediction.id], ["late"], "tower")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (
            {
                "model": "late-flights",
                "labels": [
                    {"id": "01a20039016770009351f14eb7ec89a6", "label": "late"},
                    {"id": "01a20039016770009351f14eb7ec89a7", "label": "lat"},
                ],
            },
            "labels[1].label",
        ),
        (
            {"model": "late-flights", "labels": [{"id": "01a20039016770009351f14eb7ec89a6", "label": 3}]},
            "labels[0].label",
        ),
        ({"model": "late-flights", "labels": [{"id": "", "label": "late"}]}, "labels[0].id"),
        ({"model": "late-flights", "labels": [{"id": "order-17", "label": "late"}]}, "labels[0].id"),
        ({"model": "late-flights", "labels": [{"label": "late"}]}, "labels[0]"),
        ({"model": "late-flights", "labels": []}, "labels"),
        (
            {
                "model": "late-flights",
                "labels": [{"id": "01a20039016770009351f14eb7ec89a6", "label": "late"}],
                "at": "soon",
            },
            "at",
        ),
        (
            {
                "model": "late-flights",
                "labels": [{"id": "01a20039016770009351f14eb7ec89a6", "label": "late"}],
                "at": "2098-01-01T00:00:00Z",
            },
            "at",
        ),
        (
            {
                "model": "late-flights",
                "labels": [
                    {"id": "01a20039016770009351f14eb7ec89a6", "label": "late"},
                    {"id": "01a20039016770009351f14eb7ec89a6", "label": "on time"},
                ],
            },
            "labels[1].label",
        ),
        (
            {"model": "delay", "labels": [{"id": "01a20039016770009351f14eb7ec89a6", "label": "late"}]},
            "labels[0].label",
        ),
        ({"model": "delay", "labels": [{"id": "01a20039016770009351f14eb7ec89a6", "label": True}]}, "labels[0].label"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_their_place(server: ServerProcess, body: Any, where: str) -> None:
    assert refused(server, "/feedback", body)["where"] == where


def test_labels_of_an_unknown_model_are_refused(client: PredictionClient) -> None:
    with pytest.raises(NotFound):
        client.feedback("nothing", [("a", "b")])


# --- Open Inference ---


def tensors(**changes: Any) -> dict[str, Any]:
    inputs = {
        "distance": {"name": "distance", "shape": [2], "datatype": "FP64", "data": [900.0, 4900]},
        "carrier": {"name": "carrier", "shape": [2, 1], "datatype": "BYTES", "data": [["AA"], ["B6"]]},
        "departed_at": {"name": "departed_at", "shape": [2], "datatype": "BYTES", "data": ["2013-04-01T06:00:00Z"] * 2},
        "weekend": {"name": "weekend", "shape": [2], "datatype": "BOOL", "data": [False, False]},
    }
    return {"id": "q-7", "inputs": list((inputs | changes).values())}


def test_tensors_are_answered_like_rows(
    client: PredictionClient, server: ServerProcess, flight: dict[str, Any]
) -> None:
    status, answer, _ = ask(server, "POST", INFER, json.dumps(tensors()))
    assert status == 200
    assert (answer["model_name"], answer["model_version"], answer["id"]) == ("late-flights", "1", "q-7")
    score, label = answer["outputs"]
    assert (score["name"], score["datatype"], score["shape"]) == ("score", "FP64", [2])
    assert (label["name"], label["datatype"], label["shape"]) == ("label", "BYTES", [2])
    rows = client.predict("late-flights", [flight, {**flight, "distance": 4900, "carrier": "B6"}])
    assert score["data"] == [each.score for each in rows.predictions]
    assert label["data"] == [each.label for each in rows.predictions]
    assert len(answer["parameters"]["prediction_ids"]) == 2


def test_only_the_outputs_asked_for_are_given(server: ServerProcess) -> None:
    status, answer, _ = ask(server, "POST", f"{INFER}", json.dumps(tensors() | {"outputs": [{"name": "label"}]}))
    assert status == 200
    assert [each["name"] for each in answer["outputs"]] == ["label"]
    assert refused(server, INFER, tensors() | {"outputs": [{"name": "labels"}]})["where"] == "outputs[0].name"


def test_a_tensor_that_does_not_fit_is_refused_with_its_place(server: ServerProcess) -> None:
    bad = {"distance": {"name": "distance", "shape": [2], "datatype": "FP64", "data": [1.0, "x"]}}
    problem = refused(server, INFER, tensors(**bad))
    assert problem["where"] == "inputs[0].data[1]"
    assert problem["error"] == problem["detail"]
    assert refused(server, INFER, {"inputs": [{"name": "x"}]})["where"] == "inputs[0]"


def test_the_model_is_described_by_the_protocol(server: ServerProcess, client: PredictionClient) -> None:
    metadata = client.metadata("late-flights")
    assert metadata["versions"] == ["1"]
    assert [(each["name"], each["datatype"], each["shape"]) for each in metadata["inputs"]] == [
        ("distance", "FP64", [-1]),
        ("carrier", "BYTES", [-1]),
        ("departed_at", "BYTES", [-1]),
        ("weekend", "BOOL", [-1]),
    ]
    assert [each["name"] for each in metadata["outputs"]] == ["score", "label"]
    assert metadata["serving"]["routes"][0]["version"] == 1
    assert metadata["serving"]["last_error"] is None
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/late-flights/ready", "/v2/models/delay"):
        assert ask(server, "GET", path)[0] == 200
    assert ask(server, "GET", "/v2/models/late-flights/versions/1/ready")[0] == 200
    assert ask(server, "GET", "/v2/models/late-flights/versions/4/ready")[0] == 404
    assert ask(server, "GET", "/v2")[1]["name"] == "mainspring"
    assert "POST /models/{model}/predict" in ask(server, "GET", "/")[1]["paths"]


# --- metrics ---


def test_the_metrics_are_prometheus_text(
    server: ServerProcess, client: PredictionClient, flight: dict[str, Any]
) -> None:
    client.predict("late-flights", [flight])
    with pytest.raises(Invalid):
        client.predict("late-flights", [{}])
    with pytest.raises(MainspringError):
        client.predict("guessed-name", [{}])
    status, text, headers = ask(server, "GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    values = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, _, value = line.rpartition(" ")
            values[name] = float(value)
    assert values['model_requests_total{model="late-flights",version="1",route="champion",status="200"}'] >= 1
    assert values['model_requests_total{model="late-flights",version="1",route="champion",status="422"}'] >= 1
    assert values['model_route_percent{model="late-flights",version="1",route="champion"}'] == 100
    count = values['model_request_duration_seconds_count{model="late-flights",version="1"}']
    assert values['model_request_duration_seconds_bucket{model="late-flights",version="1",le="+Inf"}'] == count >= 1
    assert "guessed-name" not in text  # a client cannot grow the metrics by asking for names


def test_a_code_is_one_of_ours_on_every_python(server: ServerProcess) -> None:
    codes = [ask(server, "GET", "/x")[1]["code"], ask(server, "GET", PREDICT)[1]["code"]]
    codes += [refused(server, PREDICT, b"{", 400)["code"], refused(server, PREDICT, b" " * (5 << 20), 413)["code"]]
    assert codes == ["no_such_path", "method_not_allowed", "malformed", "too_large"]
