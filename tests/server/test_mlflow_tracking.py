"""MLflow's tracking surface over HTTP: searches, histories, inputs, logged models and artifacts."""

import hashlib
import json

import pytest
from tests.server.conftest import Server

TREE = "/api/2.0/mlflow-artifacts/artifacts"


def _run(server: Server, **more: object) -> str:
    run_id: str = server.post("runs/create", experiment_id="0", start_time=5, **more).json["run"]["info"]["run_id"]
    return run_id


def test_runs_are_searched_ordered_and_paged(server: Server) -> None:
    for place in range(5):
        run_id = _run(server, run_name=f"r{place}")
        server.post("runs/log-batch", run_id=run_id, metrics=[{"key": "m", "value": place % 3, "timestamp": 1}])
    found: list[str] = []
    token = ""
    while True:
        page = server.post(
            "runs/search", experiment_ids=["0"], order_by=["metrics.m DESC"], max_results=2, page_token=token
        ).json
        found += [each["info"]["run_name"] for each in page.get("runs", [])]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert [name[1] for name in found][:1] == ["2"]
    assert len(found) == 5
    assert server.post("runs/search", experiment_ids=["0"], filter="metrics.m > 7").json == {}


def test_histories_come_in_pages_sampled_and_for_several_runs(server: Server) -> None:
    run_id = _run(server)
    points = [{"key": "m", "value": step / 2, "timestamp": 7, "step": step} for step in range(10)]
    points.append({"key": "m", "value": "NaN", "timestamp": 8, "step": 10})
    assert server.post("runs/log-batch", run_id=run_id, metrics=points).status == 200
    seen, token = [], ""
    while True:
        page = server.get("metrics/get-history", run_id=run_id, metric_key="m", max_results=4, page_token=token).json
        seen += [each["value"] for each in page["metrics"]]
        token = page.get("next_page_token", "")
        if not token:
            break
    assert seen == [*(step / 2 for step in range(10)), "NaN"]
    bulk = server.ask("GET", "/ajax-api/2.0/mlflow/metrics/get-history-bulk", run_id=[run_id], metric_key="m")
    assert len(bulk.json["metrics"]) == 11
    few = server.get("metrics/get-history-bulk-interval", run_ids=[run_id], metric_key="m", max_results=3).json
    assert [each["step"] for each in few["metrics"]] == [0, 4, 10]


def test_inputs_models_and_outputs_belong_to_the_run(server: Server) -> None:
    run_id = _run(server)
    dataset = {"name": "flights", "digest": "d1", "source_type": "local", "source": "{}"}
    tags = [{"key": "mlflow.data.context", "value": "training"}]
    server.post("runs/log-inputs", run_id=run_id, datasets=[{"tags": tags, "dataset": dataset}])
    model = server.post("logged-models", experiment_id="0", name="tree", source_run_id=run_id).json["model"]["info"]
    server.post("runs/outputs", run_id=run_id, models=[{"model_id": model["model_id"], "step": 3}])
    run = server.get("runs/get", run_id=run_id).json["run"]
    assert run["inputs"]["dataset_inputs"] == [{"tags": tags, "dataset": dataset}]
    assert run["outputs"]["model_outputs"] == [{"model_id": model["model_id"], "step": 3}]
    asked = server.post("runs/search", experiment_ids=["0"], filter="dataset.context = 'training'").json["runs"]
    assert [each["info"]["run_id"] for each in asked] == [run_id]
    summaries = server.post("experiments/search-datasets", experiment_ids=["0"]).json["dataset_summaries"]
    assert summaries == [{"experiment_id": "0", "name": "flights", "digest": "d1", "context": "training"}]


def test_a_logged_model_is_made_measured_found_finished_and_deleted(server: Server) -> None:
    run_id = _run(server)
    made = server.post("logged-models", experiment_id="0", name="tree", params=[{"key": "depth", "value": "3"}])
    model_id = made.json["model"]["info"]["model_id"]
    path = f"/api/2.0/mlflow/logged-models/{model_id}"
    assert made.json["model"]["info"]["status"] == "LOGGED_MODEL_PENDING"
    assert server.ask("PATCH", path, {"status": 2}).json["model"]["info"]["status"] == "LOGGED_MODEL_READY"
    server.post("runs/log-metric", run_id=run_id, key="auc", value=0.8, timestamp=1, model_id=model_id)
    assert server.ask("PATCH", f"{path}/tags", {"tags": [{"key": "a", "value": "b"}]}).status == 200
    found = server.post(
        "logged-models/search", experiment_ids=["0"], filter="metrics.auc > 0.7 AND params.depth = '3' AND tags.a = 'b'"
    ).json["models"]
    assert [each["info"]["model_id"] for each in found] == [model_id]
    assert server.ask("DELETE", path).status == 200
    assert server.ask("GET", path).status == 404
    assert server.ask("GET", path, allow_deleted="true").status == 200


def test_a_metric_of_a_model_that_is_not_there_is_refused_whole(server: Server) -> None:
    run_id = _run(server)
    point = {"run_id": run_id, "key": "auc", "value": 1.0, "timestamp": 1, "model_id": "m-" + "0" * 32}
    answer = server.post("runs/log-metric", **point)
    assert (answer.status, answer.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    assert server.get("metrics/get-history", run_id=run_id, metric_key="auc").json.get("metrics", []) == []


def test_artifacts_are_kept_listed_sent_in_ranges_and_deleted(server: Server) -> None:
    run_id = _run(server)
    root = f"0/{run_id}/artifacts"
    large = bytes(range(256)) * 20_000
    assert server.ask("PUT", f"{TREE}/{root}/model/weights.bin", raw=large).status == 200
    assert server.ask("PUT", f"{TREE}/{root}/notes.txt", raw=b"hello").status == 200
    assert server.ask("PUT", f"{TREE}/{root}/empty", raw=b"").status == 200
    listed = server.get("artifacts/list", run_id=run_id).json
    assert listed["files"] == [
        {"path": "empty", "is_dir": False},
        {"path": "model", "is_dir": True},
        {"path": "notes.txt", "is_dir": False, "file_size": 5},
    ]
    assert server.ask("GET", f"{TREE}?path={root}/model").json["files"][0]["path"] == "weights.bin"
    sent = server.ask("GET", f"{TREE}/{root}/model/weights.bin")
    assert hashlib.sha256(sent.body).digest() == hashlib.sha256(large).digest()
    assert sent.headers["content-length"] == str(len(large))
    part = server.ask("GET", f"{TREE}/{root}/model/weights.bin", headers={"range": "bytes=10-19"})
    assert (part.status, part.body) == (206, large[10:20])
    text = server.ask("GET", f"/get-artifact?run_uuid={run_id}&path=notes.txt")
    assert (text.body, text.headers["content-type"]) == (b"hello", "text/plain")
    assert text.headers["x-content-type-options"] == "nosniff"
    assert server.ask("DELETE", f"{TREE}/{root}/model").status == 200
    assert server.ask("GET", f"{TREE}/{root}/model/weights.bin").status == 404
    assert server.ask("PUT", f"{TREE}/{root}/notes.txt/below", raw=b"x").status == 400


def test_a_file_in_parts_becomes_one(server: Server) -> None:
    folder = "0/x/artifacts"
    made = server.ask("POST", f"/api/2.0/mlflow-artifacts/mpu/create/{folder}", {"path": "big.bin", "num_parts": 2})
    upload, places = made.json["upload_id"], made.json["credentials"]
    done = []
    for place, data in zip(reversed(places), (b"world", b"hello "), strict=True):
        kept = server.ask("PUT", place["url"].removeprefix(server.url), raw=data)
        done.append({"part_number": place["part_number"], "etag": kept.headers["etag"]})
    complete = {"path": "big.bin", "upload_id": upload, "parts": sorted(done, key=lambda each: each["part_number"])}
    assert server.ask("POST", f"/api/2.0/mlflow-artifacts/mpu/complete/{folder}", complete).status == 200
    assert server.ask("GET", f"{TREE}/{folder}/big.bin").body == b"hello world"
    again = server.ask("POST", f"/api/2.0/mlflow-artifacts/mpu/complete/{folder}", complete)
    assert (again.status, again.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("path", ["../x", "%2e%2e/x", "a/%2e%2e/%2e%2e/x", "/etc/passwd", "a%5c..%5cx", "%252e%252e/x"])
def test_no_path_leaves_the_tree(server: Server, path: str) -> None:
    put = server.ask("PUT", f"{TREE}/{path}", raw=b"x")
    assert put.status in (400, 404)
    assert server.ask("GET", f"{TREE}/{path}").status in (400, 404)


def test_words_are_refused_as_mlflow_refuses_them(server: Server) -> None:
    run_id = _run(server)
    for path, body, told in (
        ("runs/log-metric", {"run_id": run_id, "key": "m", "value": "x", "timestamp": 1}, 'Invalid value "x" for'),
        ("runs/log-metric", {"run_id": run_id, "key": "m", "value": 1}, "required parameter 'timestamp'"),
        ("runs/log-metric", {"run_id": run_id, "key": "a//b", "value": 1, "timestamp": 1}, "resolve to 'a/b'"),
        ("runs/log-batch", {"run_id": run_id, "metrics": [{"key": "m", "value": 1}]}, "'metrics[0].timestamp'"),
        ("runs/log-batch", {"run_id": run_id, "params": [{"key": "a"}] * 2}, "Duplicate parameter keys"),
        ("runs/search", {"experiment_ids": ["0"], "max_results": 50_001}, "Invalid value 50001 for parameter"),
        ("runs/create", {"experiment_id": "abc"}, "Invalid experiment ID 'abc'"),
        ("experiments/create", {"name": 7}, "Invalid value 7 for parameter 'name' supplied"),
    ):
        answer = server.post(path, **body)
        assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE"), path
        assert told in answer.json["message"]
    server.post("runs/log-parameter", run_id=run_id, key="p", value="1")
    changed = server.post("runs/log-parameter", run_id=run_id, key="p", value="2")
    assert changed.json["message"].startswith("Changing param values is not allowed. Param with key='p' was already")


def test_a_body_that_is_no_json_is_refused(server: Server) -> None:
    path = "/api/2.0/mlflow/experiments/create"
    typed = {"content-type": "application/json"}
    for raw, headers in ((b'{"name": "x"}', {"content-type": "text/plain"}), (b"{", typed), (b"[" * 99_999, typed)):
        assert server.ask("POST", path, raw=raw, headers=headers).status == 400
    doubled = server.ask("POST", path, raw=json.dumps(json.dumps({"name": "old"})).encode(), headers=typed)
    assert doubled.status == 200


def test_a_method_that_a_path_does_not_know_is_told_with_those_it_does(server: Server) -> None:
    wrong = server.ask("POST", "/api/2.0/mlflow/runs/get", {})
    assert (wrong.status, wrong.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize("name", ['"\\ud800"', '"a\\u0000b"'])
def test_what_is_no_text_is_refused(server: Server, name: str) -> None:
    body = f'{{"name": {name}}}'.encode()
    typed = {"content-type": "application/json"}
    answer = server.ask("POST", "/api/2.0/mlflow/experiments/create", raw=body, headers=typed)
    assert (answer.status, answer.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")


def test_what_is_not_offered_answers_as_an_mlflow_server_without_it(server: Server) -> None:
    info = server.ask("GET", "/api/3.0/mlflow/server-info").json
    assert (info["workspaces_enabled"], info["multipart_uploads_enabled"]) == (False, False)
    unknown = server.ask("POST", "/api/3.0/mlflow/traces/search", {})
    assert (unknown.status, unknown.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
    assert server.ask("GET", "/api/3.0/mlflow/workspaces").status == 503


def test_groups_and_sql_are_asked_on_the_native_api(server: Server) -> None:
    for seed in range(2):
        run_id = _run(server)
        server.post("runs/log-parameter", run_id=run_id, key="model", value="tree")
        server.post("runs/log-metric", run_id=run_id, key="m", value=float(seed), timestamp=1)
    asked = {"experiment_ids": ["0"], "group_by": ["params.model"]}
    groups = server.ask("POST", "/api/mainspring/v1/runs/groups", asked).json["groups"]
    assert [(each["key"], each["runs"]) for each in groups] == [({"params.model": "tree"}, 2)]
    assert groups[0]["metrics"]["m"][1] == 0.5
    rows = server.ask("POST", "/api/mainspring/v1/sql", {"query": "SELECT count(*) AS n FROM runs"}).json
    assert rows == {"columns": ["n"], "rows": [[2]], "complete": True}
    refused = server.ask("POST", "/api/mainspring/v1/sql", {"query": "SELECT * FROM tokens"})
    assert (refused.status, refused.json["code"]) == (422, "invalid")
