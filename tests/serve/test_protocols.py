"""The other ways to ask: CSV, Arrow, NDJSON, Open Inference bytes, MLflow's invocations, a form; and OpenAPI."""

import csv
import gzip
import http.client
import io
import json
import struct
import zlib
from typing import Any
from urllib.parse import urlencode, urlsplit

import numpy as np
import pytest

from mainspring.serve.client import PredictionClient
from mainspring.serve.process import ServerProcess

JSON = {"application/json", "application/problem+json"}
PREDICT, INFER, INVOKE = (
    "/models/late-flights/predict",
    "/v2/models/late-flights/infer",
    "/models/late-flights/invocations",
)


def ask(server: ServerProcess, path: str, body: Any, kind: str = "application/json", **headers: str) -> Any:
    """Return the status, the headers and the body of an answer; JSON is decoded."""
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    sent = {"content-type": kind} | {name.replace("_", "-"): value for name, value in headers.items()}
    content = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
    connection.request("GET" if body is None else "POST", path, content, sent)
    response = connection.getresponse()
    answer = response.read()
    got = {name.lower(): value for name, value in response.getheaders()}
    connection.close()
    return response.status, got, json.loads(answer) if got["content-type"] in JSON else answer


@pytest.fixture
def rows(flight: dict[str, Any]) -> list[dict[str, Any]]:
    return [flight, {**flight, "distance": 4900.0, "carrier": "B6"}, {**flight, "carrier": None, "weekend": True}]


@pytest.fixture
def scores(client: PredictionClient, rows: list[dict[str, Any]]) -> list[float]:
    return [each.score for each in client.predict("late-flights", rows).predictions]  # type: ignore[misc]


# --- tables ---


def test_a_csv_file_is_answered_by_a_csv_file(server: ServerProcess, rows: list[dict[str, Any]], scores: Any) -> None:
    lines = ["carrier,distance,departed_at,weekend"]
    lines += [f"{row['carrier'] or ''},{row['distance']},{row['departed_at']},{row['weekend']}" for row in rows]
    status, headers, answer = ask(server, PREDICT, "\r\n".join(lines).encode(), "text/csv; charset=utf-8")
    assert status == 200
    found = list(csv.DictReader(io.StringIO(answer.decode())))
    assert [float(each["score"]) for each in found] == scores
    assert [each["label"] for each in found] == ["on time", "late", "on time"]
    assert headers["x-model-version"] == "1"
    assert headers["x-trace-id"] == found[0]["id"]


@pytest.mark.parametrize(
    ("text", "where", "told"),
    [
        (b"distance,carrier,departed_at,weekend\nfar,AA,2013-04-01,true", "rows[0].distance", '"far" is not a number'),
        (b"distance,carrier,departed_at,weekend\n1,AA,2013-04-01,maybe", "rows[0].weekend", "is not true or false"),
        (b"distance,carrier,departed_at\n1,AA,2013-04-01", "weekend", "the column is missing"),
        (b"distance,carrier,departed_at,weekend,gate\n1,AA,2013-04-01,1,2", "gate", "no column `gate`"),
        (b"distance,carrier\n1", "rows[0]", "1 fields, and the header has 2"),
        (b"distance,carrier,departed_at,weekend", "rows", "no rows"),
        (b"\xff\xfe", "body", "not CSV"),
    ],
)
def test_a_csv_file_that_does_not_fit_is_told_where(server: ServerProcess, text: bytes, where: str, told: str) -> None:
    status, _, problem = ask(server, PREDICT, text, "text/csv")
    assert (status, problem["where"]) == (422, where)
    assert told in problem["detail"]


def test_an_arrow_table_is_answered_by_an_arrow_table(
    server: ServerProcess, rows: list[dict[str, Any]], scores: Any
) -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.Table.from_pylist(rows)
    table = table.set_column(2, "departed_at", table["departed_at"].cast(pa.timestamp("us", "UTC")))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    kind = "application/vnd.apache.arrow.stream"
    status, headers, answer = ask(server, PREDICT, sink.getvalue().to_pybytes(), kind)
    assert (status, headers["content-type"]) == (200, kind)
    assert pa.ipc.open_stream(answer).read_all()["score"].to_pylist() == scores
    status, _, problem = ask(server, PREDICT, b"no arrow", kind)
    assert (status, problem["where"]) == (422, "body")


# --- streams ---


def test_a_stream_is_answered_line_by_line_and_a_bad_line_stops_nothing(
    server: ServerProcess, rows: list[dict[str, Any]], scores: Any
) -> None:
    lines = [json.dumps(row) for row in rows] * 200
    lines[100] = json.dumps({**rows[0], "distance": "far"})
    lines[300] = lines[0] + "," + lines[0]
    status, _, answer = ask(server, PREDICT, "\n".join(lines).encode(), "application/x-ndjson")
    assert status == 200
    found = [json.loads(line) for line in answer.splitlines()]
    assert len(found) == 600
    assert found[100] == {"error": '"far" is not a number', "code": "invalid", "where": "line 101: distance"}
    assert (found[300]["code"], found[300]["where"]) == ("malformed", "line 301")
    well = [at for at in range(600) if at not in (100, 300)]
    assert [found[at]["score"] for at in well] == [scores[at % 3] for at in well]
    assert len({found[at]["id"] for at in well}) == 598


def test_a_stream_is_answered_while_it_is_still_being_sent(server: ServerProcess, flight: dict[str, Any]) -> None:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.putrequest("POST", PREDICT)
    connection.putheader("content-type", "application/x-ndjson")
    connection.putheader("transfer-encoding", "chunked")
    connection.endheaders()
    line = json.dumps(flight).encode() + b"\n"
    connection.send(b"%x\r\n%s\r\n" % (len(line), line))
    response = connection.response_class(connection.sock)  # type: ignore[arg-type]
    response.begin()
    assert "score" in json.loads(response.readline())
    connection.send(b"%x\r\n%s\r\n0\r\n\r\n" % (len(line), line))
    assert "score" in json.loads(response.readline())
    assert response.read() == b""
    connection.close()


# --- Open Inference bytes ---


def tensor_bytes(values: list[Any]) -> bytes:
    return b"".join(struct.pack("<I", len(value)) + value for value in (text.encode() for text in values))


def binary_request(flight: dict[str, Any], **more: Any) -> tuple[bytes, str]:
    parts = {
        "distance": ("FP64", np.array([900.0, 4900.0], dtype="<f8").tobytes()),
        "carrier": ("BYTES", tensor_bytes(["AA", "B6"])),
        "departed_at": ("BYTES", tensor_bytes([flight["departed_at"]] * 2)),
        "weekend": ("BOOL", b"\x00\x00"),
    }
    inputs = [
        {"name": name, "shape": [2], "datatype": kind, "parameters": {"binary_data_size": len(data)}}
        for name, (kind, data) in parts.items()
    ]
    head = json.dumps({"id": "b", "inputs": inputs, **more}).encode()
    return head + b"".join(data for _, data in parts.values()), str(len(head))


def test_tensors_may_come_and_go_as_bytes(server: ServerProcess, flight: dict[str, Any], scores: Any) -> None:
    body, length = binary_request(flight, parameters={"binary_data_output": True})
    kind = "application/octet-stream"
    status, headers, answer = ask(server, INFER, body, kind, inference_header_content_length=length)
    assert (status, headers["content-type"]) == (200, kind)
    end = int(headers["inference-header-content-length"])
    head, data = json.loads(answer[:end]), answer[end:]
    sizes = {output["name"]: output["parameters"]["binary_data_size"] for output in head["outputs"]}
    assert np.frombuffer(data[: sizes["score"]], "<f8").tolist() == scores[:2]
    assert data[sizes["score"] :] == tensor_bytes(["on time", "late"])
    assert not any("data" in output for output in head["outputs"])


def test_an_output_may_be_asked_for_as_bytes_and_another_as_json(server: ServerProcess, flight: dict[str, Any]) -> None:
    outputs = [{"name": "label"}, {"name": "score", "parameters": {"binary_data": True}}]
    body, length = binary_request(flight, outputs=outputs)
    _, headers, answer = ask(server, INFER, body, inference_header_content_length=length)
    head = json.loads(answer[: int(headers["inference-header-content-length"])])
    assert head["outputs"][0]["data"] == ["on time", "late"]
    assert head["outputs"][1]["parameters"] == {"binary_data_size": 16}


@pytest.mark.parametrize("cut", [-1, 1])
def test_bytes_that_are_too_few_or_too_many_are_refused(
    server: ServerProcess, flight: dict[str, Any], cut: int
) -> None:
    body, length = binary_request(flight)
    body = body[:cut] if cut < 0 else body + b"\0"
    status, _, problem = ask(server, INFER, body, inference_header_content_length=length)
    assert (status, problem["code"]) == (422, "invalid")
    status, _, problem = ask(server, INFER, body, inference_header_content_length="99999999")
    assert (status, problem["where"]) == (422, "header inference-header-content-length")


def test_a_model_of_numbers_takes_one_tensor_for_all_columns() -> None:
    from mainspring.domain.signature import Column, Signature
    from mainspring.serve.decode import RowDecoder
    from mainspring.serve.tensors import by_column
    from mainspring.serve.wire import Tensor

    columns = (Column("a", "number"), Column("b", "integer"))
    decoder = RowDecoder(Signature(columns, "y", "regression"))
    for data in ([1.5, 2, 3.5, 4], [[1.5, 2], [3.5, 4]]):
        whole = [Tensor("x", [2, 2], "FP64", data)]
        assert decoder.tensors(by_column(whole, columns)).rows() == [(1.5, 2), (3.5, 4)]


# --- MLflow's invocations ---


def shapes(rows: list[dict[str, Any]]) -> dict[str, Any]:
    names = list(rows[0])
    lines = [[row[name] for name in names] for row in rows]
    return {
        "split": {"dataframe_split": {"columns": names, "index": [0, 1, 2], "data": lines}},
        "records": {"dataframe_records": rows},
        "instances": {"instances": rows},
        "instance lines": {"instances": lines},
        "inputs": {"inputs": {name: [row[name] for row in rows] for name in names}},
        "input tensors": {"inputs": {name: [[row[name]] for row in rows] for name in names}},
        "more columns": {"dataframe_records": [{**row, "gate": "B2"} for row in rows]},
    }


@pytest.mark.parametrize("shape", list(shapes([{}])))
def test_every_shape_of_mlflow_is_answered(
    server: ServerProcess, rows: list[dict[str, Any]], scores: Any, shape: str
) -> None:
    body = shapes(rows)[shape]
    status, _, answer = ask(server, INVOKE, body)
    assert status == 200, answer
    assert answer["predictions"] == ["on time", "late", "on time"]
    assert len(answer["prediction_ids"]) == 3
    _, _, answer = ask(server, INVOKE, {**body, "params": {"predict_method": "predict_proba"}})
    assert answer["predictions"] == [[1 - score, score] for score in scores]


def test_invocations_take_csv_and_find_the_model_by_its_name(server: ServerProcess) -> None:
    status, _, answer = ask(server, "/invocations?model=delay", b"distance\n4\n5\n", "text/csv")
    assert status == 200
    assert answer["predictions"] == pytest.approx([8.0, 10.0])
    status, _, answer = ask(server, "/models/delay/versions/1/invocations", {"instances": [4, 5]})
    assert answer["predictions"] == pytest.approx([8.0, 10.0])
    status, _, problem = ask(server, "/invocations", {"instances": [4]})
    assert (status, problem["detail"]) == (404, "The request does not say which model it asks")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body"),
        ({"instances": [1], "inputs": [1]}, "body"),
        ({"instances": []}, "rows"),
        ({"instances": [[1, 2]]}, "instances[0]"),
        ({"dataframe_split": {"columns": ["distance"], "data": [[1], []]}}, "dataframe_split.data[1]"),
        ({"dataframe_split": {"columns": ["distance"], "data": [["x"]]}}, "dataframe_split.data[0].distance"),
        ({"instances": [1], "params": {"predict_method": "dream"}}, "params.predict_method"),
        ({"dataframe_records": 3}, "dataframe_records"),
    ],
)
def test_an_invocation_that_does_not_fit_is_told_where(server: ServerProcess, body: Any, where: str) -> None:
    status, _, problem = ask(server, "/models/delay/invocations", body)
    assert (status, problem["where"]) == (422, where)


def test_what_mlflows_client_asks_before_it_invokes_is_there(server: ServerProcess) -> None:
    assert ask(server, "/ping", None)[0] == 200
    assert ask(server, "/version", None)[0] == 200


# --- OpenAPI and the form ---


def test_the_openapi_document_says_what_each_model_eats(server: ServerProcess, flight: dict[str, Any]) -> None:
    _, _, document = ask(server, "/openapi.json", None)
    row = document["components"]["schemas"]["late-flights.row"]
    assert row["required"] == ["distance", "carrier", "departed_at", "weekend"]
    assert row["additionalProperties"] is False
    assert row["examples"] == [flight]
    assert row["properties"]["carrier"]["type"] == ["string", "null"]
    assert row["properties"]["carrier"]["x-training-categories"] == ["AA", "B6", "UA"]
    assert row["properties"]["distance"]["description"] == "Training saw: 80 to 5000."
    body = document["paths"]["/models/late-flights/predict"]["post"]["requestBody"]
    example = body["content"]["application/json"]["schema"]["examples"][0]
    assert ask(server, PREDICT, example)[0] == 200
    assert "/models/delay/predict" in document["paths"]


def test_a_person_can_try_a_model_without_javascript(server: ServerProcess, flight: dict[str, Any]) -> None:
    status, headers, page = ask(server, "/models/late-flights", None)
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"<script" not in page
    assert b'<option value="AA" selected>' in page
    form = urlencode({"distance": "4900", "carrier": "B6", "departed_at": "2013-04-01T06:00:00Z", "weekend": "true"})
    status, _, page = ask(server, "/models/late-flights", form.encode(), "application/x-www-form-urlencoded")
    assert status == 200
    assert b"<b>late</b>" in page
    wrong = urlencode({"distance": "<far>", "carrier": "B6", "departed_at": "soon", "weekend": "true"})
    status, _, page = ask(server, "/models/late-flights", wrong.encode(), "application/x-www-form-urlencoded")
    assert status == 422
    assert b"&lt;far&gt;" in page
    assert b"<far>" not in page
    status, _, page = ask(server, "/", None, accept="text/html")
    assert b'<a href="/models/late-flights">' in page
    assert ask(server, "/models/nobody", None)[0] == 404


# --- packed bodies ---


def test_packed_bodies_are_unpacked(server: ServerProcess, rows: list[dict[str, Any]], scores: Any) -> None:
    body = json.dumps({"rows": rows}).encode()
    for kind, packed in {"gzip": gzip.compress(body), "deflate": zlib.compress(body)}.items():
        status, _, answer = ask(server, PREDICT, packed, content_encoding=kind)
        assert status == 200
        assert [each["score"] for each in answer["predictions"]] == scores


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("br", b"x", 415),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"[]", mtime=0)[:-4], 400),
        ("gzip", gzip.compress(bytes(64 << 20), mtime=0), 413),  # a small bomb: 64 MB of nothing
    ],
)
def test_packed_bodies_that_cannot_be_taken_are_refused(
    server: ServerProcess, kind: str, body: bytes, status: int
) -> None:
    assert ask(server, PREDICT, body, content_encoding=kind)[0] == status
