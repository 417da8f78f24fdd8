"""The wire itself, without a client: required fields, wrong types, history in bulk, artifact routes, sources."""

import json

import requests

EVERY = [
    ("POST", "experiments/create"),
    ("POST", "experiments/search"),
    ("GET", "experiments/get"),
    ("GET", "experiments/get-by-name"),
    ("POST", "experiments/delete"),
    ("POST", "experiments/restore"),
    ("POST", "experiments/update"),
    ("POST", "experiments/set-experiment-tag"),
    ("POST", "experiments/delete-experiment-tag"),
    ("POST", "runs/create"),
    ("POST", "runs/update"),
    ("POST", "runs/delete"),
    ("POST", "runs/restore"),
    ("GET", "runs/get"),
    ("POST", "runs/search"),
    ("POST", "runs/log-metric"),
    ("POST", "runs/log-parameter"),
    ("POST", "runs/set-tag"),
    ("POST", "runs/delete-tag"),
    ("POST", "runs/log-batch"),
    ("POST", "runs/log-model"),
    ("POST", "runs/log-inputs"),
    ("POST", "runs/outputs"),
    ("GET", "metrics/get-history"),
    ("GET", "metrics/get-history-bulk-interval"),
    ("GET", "artifacts/list"),
    ("POST", "registered-models/create"),
    ("POST", "registered-models/rename"),
    ("PATCH", "registered-models/update"),
    ("DELETE", "registered-models/delete"),
    ("GET", "registered-models/get"),
    ("POST", "registered-models/get-latest-versions"),
    ("GET", "registered-models/get-latest-versions"),
    ("POST", "registered-models/set-tag"),
    ("DELETE", "registered-models/delete-tag"),
    ("POST", "registered-models/alias"),
    ("DELETE", "registered-models/alias"),
    ("GET", "registered-models/alias"),
    ("POST", "model-versions/create"),
    ("PATCH", "model-versions/update"),
    ("POST", "model-versions/transition-stage"),
    ("DELETE", "model-versions/delete"),
    ("GET", "model-versions/get"),
    ("GET", "model-versions/get-download-uri"),
    ("POST", "model-versions/set-tag"),
    ("DELETE", "model-versions/delete-tag"),
    ("POST", "logged-models"),
    ("POST", "logged-models/search"),
]
WRONG = [
    ("experiments/create", {"name": 123}),
    ("experiments/create", {"name": "wire w", "artifact_location": 9.0, "tags": [{"key": "key", "value": "value"}]}),
    ("experiments/create", {"name": "wire w", "tags": "5"}),
    ("experiments/create", {"name": "wire w", "tags": [5]}),
    ("experiments/create", {"name": "wire w", "tags": {"a": "b"}}),
    ("experiments/create", {"name": None}),
    ("experiments/create", {"name": ["x"]}),
    ("experiments/create", {"name": "  "}),
    ("experiments/search", {"max_results": "x"}),
    ("experiments/search", {"max_results": "5", "view_type": "NOPE"}),
    ("experiments/search", {"max_results": 5.5}),
    ("experiments/search", {"order_by": "name"}),
    ("experiments/search", {"filter": 5}),
    ("runs/create", {"experiment_id": 1}),
    ("runs/create", {"experiment_id": "E", "start_time": "x"}),
    ("runs/create", {"experiment_id": "E", "tags": [{"key": 1, "value": "x"}]}),
    ("runs/create", {"experiment_id": "E", "tags": [{"value": "x"}]}),
    ("runs/create", {"experiment_id": "E", "run_name": 5}),
    ("runs/create", {"experiment_id": "E", "user_id": 5}),
    ("runs/update", {"run_id": "R", "status": "NOPE"}),
    ("runs/update", {"run_id": "R", "end_time": "x"}),
    ("runs/update", {"run_id": "R", "status": 3}),
    ("runs/log-metric", {"run_id": 31, "key": "m", "value": 41, "timestamp": 59, "step": 26}),
    ("runs/log-metric", {"run_id": "R", "key": 31, "value": 41, "timestamp": 59, "step": 26}),
    ("runs/log-metric", {"run_id": "R", "key": "foo", "value": 31, "timestamp": 59, "step": "foo"}),
    ("runs/log-metric", {"run_id": "R", "key": "foo", "value": 31, "timestamp": "foo", "step": 41}),
    ("runs/log-metric", {"run_id": None, "key": "foo", "value": 31, "timestamp": 59, "step": 41}),
    ("runs/log-metric", {"run_id": "R", "value": 31, "timestamp": 59, "step": 41}),
    ("runs/log-metric", {"run_id": "R", "key": None, "value": 31, "timestamp": 59, "step": 41}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "timestamp": 59}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "value": 1}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "value": "x", "timestamp": 1}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "value": "NaN", "timestamp": 1}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "value": "1.5", "timestamp": "1", "step": "7"}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "value": True, "timestamp": 1}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "value": [1], "timestamp": 1}),
    ("runs/log-metric", {"run_uuid": "R", "key": "m", "value": 1, "timestamp": 1}),
    ("runs/log-metric", {"run_id": "R", "key": "m", "value": 1, "timestamp": 1, "unknown": {"a": 1}}),
    ("runs/log-parameter", {"run_id": 31, "key": "p", "value": 41}),
    ("runs/log-parameter", {"run_id": "R", "key": 31, "value": 41}),
    ("runs/log-parameter", {"run_id": "R", "key": "p"}),
    ("runs/log-parameter", {"run_id": "R", "value": "p"}),
    ("runs/log-parameter", {"run_uuid": "R", "key": "pu", "value": "p"}),
    ("runs/set-tag", {"run_id": 31, "key": "tag", "value": 41}),
    ("runs/set-tag", {"run_id": "R", "key": "param", "value": 41}),
    ("runs/set-tag", {"run_id": "R", "value": "value"}),
    ("runs/set-tag", {"run_uuid": "R", "key": "key", "value": "value"}),
    ("runs/log-batch", {"run_id": "R", "metrics": "foo"}),
    ("runs/log-batch", {"run_id": "R", "params": "foo"}),
    ("runs/log-batch", {"run_id": "R", "tags": "foo"}),
    ("runs/log-batch", {"run_id": "R", "metrics": [{"key": "mae", "value": 2.5}]}),
    ("runs/log-batch", {"run_id": "R", "metrics": [{"key": "mae", "value": 2.5, "timestamp": 123456789}]}),
    ("runs/log-batch", {"run_id": "R", "metrics": [{"value": 2.5, "timestamp": 1}]}),
    ("runs/log-batch", {"run_id": "R", "params": [{"value": "x"}]}),
    ("runs/log-batch", {"run_id": "R", "params": [{"key": "only"}]}),
    ("runs/log-batch", {"run_id": "R", "tags": [{"value": "x"}]}),
    ("runs/log-batch", {"metrics": []}),
    ("runs/log-inputs", {"datasets": []}),
    ("runs/log-inputs", {"run_id": "R", "datasets": [{"dataset": {"name": "n"}}]}),
    ("runs/log-inputs", {"run_id": "R", "datasets": "x"}),
    ("runs/log-inputs", {"run_id": "R", "datasets": [{}]}),
    ("runs/search", {"experiment_ids": "E"}),
    ("runs/search", {"experiment_ids": ["E"], "max_results": 123456789}),
    ("runs/search", {"experiment_ids": ["E"], "max_results": "x"}),
    ("runs/search", {"experiment_ids": ["E"], "run_view_type": "NOPE"}),
    ("runs/search", {"experiment_ids": ["E"], "run_view_type": "DELETED_ONLY"}),
    ("runs/search", {"experiment_ids": [5]}),
    ("runs/search", {"experiment_ids": ["E"], "order_by": "x"}),
    ("runs/search", {}),
    ("experiments/search-datasets", {}),
    ("experiments/search-datasets", {"experiment_ids": []}),
    ("experiments/search-datasets", {"experiment_ids": [f"id_{e}" for e in range(1000)]}),
    ("experiments/search-datasets", {"experiment_ids": ["E"]}),
    ("registered-models/create", {"name": 5}),
    ("registered-models/create", {"name": "wire bad tags", "tags": "x"}),
    ("model-versions/create", {"name": "wire", "source": 5}),
    ("model-versions/transition-stage", {"name": "wire", "version": "1", "stage": "Staging"}),
    (
        "model-versions/transition-stage",
        {"name": "wire", "version": "1", "stage": "Staging", "archive_existing_versions": "x"},
    ),
    ("logged-models", {"experiment_id": "E", "name": 5}),
    ("logged-models", {"experiment_id": "E", "tags": "x"}),
    ("logged-models/search", {"experiment_ids": []}),
    ("logged-models/search", {"experiment_ids": ["E"], "max_results": "x"}),
]
SOURCES = [
    "mlflow-artifacts:/models",
    "mlflow-artifacts:/models/",
    "mlflow-artifacts:/models///",
    "mlflow-artifacts:/models/foo///bar",
    "mlflow-artifacts://host:9000/models",
    "mlflow-artifacts://host:9000/models/artifact/..../",
    "mlflow-artifacts://host:9000/models/../../../",
    "http://host:9000/models/../../../",
    "https://host/api/2.0/mlflow-artifacts/artifacts/../../../",
    "s3a://my_bucket/api/2.0/mlflow-artifacts/artifacts/../../../",
    "ftp://host:8888/api/2.0/mlflow-artifacts/artifacts/../../../",
    "mlflow-artifacts://host:9000/models/..%2f..%2fartifacts",
    "mlflow-artifacts://host:9000/models/artifact%00",
    "dbfs:/x/artifacts/a%3f/../../../../../../../../../../",
    "s3://bucket/path",
    "runs:/abc/model",
    "models:/wire/1",
    "models:/nowhere/1",
    "models:/wire@nope",
    "/tmp",
    "/etc/passwd",
    "file:///path/to/model",
    "file:///etc/passwd",
    "file://123.456.789.123/path/to/source",
    "../up",
    "relative/path",
    "s3://bucket/path?x=../../y",
    "s3://bucket/path#frag/../..",
]


def run(note, server):
    session = requests.Session()

    def ask(label, method, path, **options):
        try:
            answer = session.request(method, server + path, **options)
        except requests.ConnectionError:
            note(label, "the connection broke")
            return
        try:
            body = answer.json()
        except ValueError:
            body = answer.text[:3000]
        note(label, [answer.status_code, answer.headers.get("Content-Type", "").split(";")[0], body])

    def api(method, path, **options):
        return session.request(method, f"{server}/api/2.0/mlflow/{path}", **options)

    experiment = api("POST", "experiments/create", json={"name": "wire"}).json()["experiment_id"]
    made = api(
        "POST", "runs/create", json={"experiment_id": experiment, "start_time": 1, "run_name": "wire run"}
    ).json()
    run_id = made["run"]["info"]["run_id"]
    api("POST", "registered-models/create", json={"name": "wire"})
    for method, path in EVERY:
        ask(f"nothing {method} {path}", method, f"/api/2.0/mlflow/{path}", json={} if method != "GET" else None)
        if method != "GET":
            ask(f"no body {method} {path}", method, f"/api/2.0/mlflow/{path}")
            ask(
                f"no json {method} {path}",
                method,
                f"/api/2.0/mlflow/{path}",
                data="{no json",
                headers={"Content-Type": "application/json"},
            )
            ask(f"a list {method} {path}", method, f"/api/2.0/mlflow/{path}", json=[1])
    for path, body in WRONG:
        body = json.loads(json.dumps(body).replace('"R"', json.dumps(run_id)).replace('"E"', json.dumps(experiment)))
        shown = json.dumps(body)[:120].replace(run_id, "R")
        prefix = "/ajax-api" if "search-datasets" in path else "/api"
        ask(f"{path} {shown}", "POST", f"{prefix}/2.0/mlflow/{path}", json=body)
    ask("form", "POST", "/api/2.0/mlflow/experiments/search", data={"max_results": 5})
    ask(
        "plain",
        "POST",
        "/api/2.0/mlflow/experiments/create",
        data='{"name": "wire plain"}',
        headers={"Content-Type": "text/plain"},
    )
    ask(
        "charset",
        "POST",
        "/api/2.0/mlflow/experiments/create",
        data='{"name": "wire charset"}',
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
    ask(
        "search by GET",
        "GET",
        "/api/2.0/mlflow/experiments/search",
        params={"max_results": 1, "filter": "name = 'wire'"},
    )
    ask("wrong method", "GET", "/api/2.0/mlflow/runs/create")
    ask("wrong method too", "DELETE", "/api/2.0/mlflow/runs/get")
    ask("unknown path", "GET", "/api/2.0/mlflow/nope")
    ask("unknown in preview", "GET", "/api/2.0/preview/mlflow/experiments/get", params={"experiment_id": experiment})
    ask("health", "GET", "/health")
    ask("get by uuid", "GET", "/api/2.0/mlflow/runs/get", params={"run_uuid": run_id})
    ask("ajax", "GET", "/ajax-api/2.0/mlflow/runs/get", params={"run_id": run_id})

    history = [
        ("a", 1, 2, 10.0),
        ("a", 1, 3, 11.0),
        ("a", 1, 3, 12.0),
        ("a", 2, 3, 12.0),
        ("b", 7, -2, -100.0),
        ("b", 8, 0, 0.0),
        ("b", 8, 0, 1.0),
        ("b", 9, 1, 12.0),
    ]
    runs = [run_id]
    for each in range(2):
        runs.append(
            api(
                "POST", "runs/create", json={"experiment_id": experiment, "start_time": 2 + each, "run_name": "w"}
            ).json()["run"]["info"]["run_id"]
        )
    for owner in runs[:2]:
        for key, at, step, value in history:
            api(
                "POST",
                "runs/log-metric",
                json={"run_id": owner, "key": key, "timestamp": at, "step": step, "value": value},
            )
        for step in range(10 if owner == run_id else 20):
            api(
                "POST",
                "runs/log-metric",
                json={"run_id": owner, "key": "long", "timestamp": 1, "step": step, "value": 10.0},
            )
    bulk, interval = (
        "/ajax-api/2.0/mlflow/metrics/get-history-bulk",
        "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval",
    )
    for label, params in {
        "no runs": {"metric_key": "key"},
        "too many": {"run_id": [f"id_{e}" for e in range(1000)], "metric_key": "key"},
        "no key": {"run_id": ["123"]},
        "unknown run": {"run_id": ["123"], "metric_key": "a"},
        "one": {"run_id": [run_id], "metric_key": "a"},
        "other": {"run_id": [run_id], "metric_key": "b"},
        "most": {"run_id": [run_id], "metric_key": "a", "max_results": 2},
        "most 0": {"run_id": [run_id], "metric_key": "a", "max_results": 0},
        "most x": {"run_id": [run_id], "metric_key": "a", "max_results": "x"},
    }.items():
        ask(f"bulk {label}", "GET", bulk, params=params)
    for label, params in {
        "no runs": {"metric_key": "key"},
        "too many": {"run_ids": [f"id_{e}" for e in range(1000)], "metric_key": "key"},
        "most 0": {"run_ids": ["123"], "metric_key": "key", "max_results": 0},
        "most 2501": {"run_ids": ["123"], "metric_key": "key", "max_results": 2501},
        "empty key": {"run_ids": ["123"], "metric_key": ""},
        "no key": {"run_ids": ["123"], "max_results": 5},
        "end first": {"run_ids": ["123"], "metric_key": "key", "start_step": 1, "end_step": 0, "max_results": 5},
        "start only": {"run_ids": ["123"], "metric_key": "key", "start_step": 1, "max_results": 5},
        "limited": {"run_ids": [run_id], "metric_key": "long", "max_results": 5},
        "window": {"run_ids": [run_id], "metric_key": "long", "start_step": 0, "end_step": 4, "max_results": 5},
        "two runs": {"run_ids": runs[:2], "metric_key": "long", "max_results": 5},
        "same steps": {"run_ids": [run_id], "metric_key": "a", "max_results": 2},
        "unknown run": {"run_ids": ["123"], "metric_key": "long", "max_results": 5},
        "default": {"run_ids": [run_id], "metric_key": "long"},
    }.items():
        answer = session.get(server + interval, params=params)
        body = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
        if "metrics" in body:  # the runs of one request come in the order of their ids, which are random
            body["metrics"].sort(
                key=lambda each: (runs.index(each["run_id"]), each["step"], each["timestamp"], each["value"])
            )
        note(f"interval {label}", [answer.status_code, body])
    pages, token = [], None
    for _ in range(5):
        params = {"run_id": run_id, "metric_key": "long", "max_results": 4} | ({"page_token": token} if token else {})
        body = session.get(f"{server}/api/2.0/mlflow/metrics/get-history", params=params).json()
        pages.append([each["step"] for each in body.get("metrics", [])])
        token = body.get("next_page_token")
        if not token:
            break
    note("history pages", pages)
    for most in (0, -5, 1, 25000, 25001, 10**9, "x"):
        ask(
            f"history at most {most}",
            "GET",
            "/api/2.0/mlflow/metrics/get-history",
            params={"run_id": run_id, "metric_key": "a", "max_results": most},
        )
    ask(
        "history token",
        "GET",
        "/api/2.0/mlflow/metrics/get-history",
        params={"run_id": run_id, "metric_key": "a", "page_token": "nope"},
    )

    artifacts = "/api/2.0/mlflow-artifacts/artifacts"
    ask("put", "PUT", f"{artifacts}/wire/some%20dir/f.txt", data=b"hello")
    ask("put empty", "PUT", f"{artifacts}/wire/empty", data=b"")
    ask("get", "GET", f"{artifacts}/wire/some%20dir/f.txt")
    ask("get empty", "GET", f"{artifacts}/wire/empty")
    ask("get nothing", "GET", f"{artifacts}/wire/nothing")
    ask("get a folder", "GET", f"{artifacts}/wire")
    ask("list", "GET", artifacts, params={"path": "wire"})
    ask("list deep", "GET", artifacts, params={"path": "wire/some dir"})
    ask("list nothing", "GET", artifacts, params={"path": "nothing/here"})
    ask("put over a folder", "PUT", f"{artifacts}/wire/some%20dir", data=b"x")
    for path in (
        "../x",
        "..",
        "/etc/passwd",
        "a/../../b",
        "%2e%2e/x",
        "..%2fx",
        "%252e%252e%252fx",
        "a%00b",
        "C:/x",
        "a/./b",
    ):
        ask(f"list {path}", "GET", artifacts, params={"path": path})
        ask(f"run list {path}", "GET", "/api/2.0/mlflow/artifacts/list", params={"run_id": run_id, "path": path})
        ask(f"run get {path}", "GET", "/get-artifact", params={"run_id": run_id, "path": path})
        ask(f"put {path}", "PUT", f"{artifacts}/{path.replace('%', '%25') if '%' not in path else path}", data=b"x")
    ask("list root", "GET", "/api/2.0/mlflow/artifacts/list", params={"run_id": run_id})
    ask("upload nothing", "POST", "/ajax-api/2.0/mlflow/upload-artifact")
    ask("upload no path", "POST", "/ajax-api/2.0/mlflow/upload-artifact", params={"run_uuid": run_id})
    ask("upload empty path", "POST", "/ajax-api/2.0/mlflow/upload-artifact", params={"run_uuid": run_id, "path": ""})
    ask("upload up", "POST", "/ajax-api/2.0/mlflow/upload-artifact", params={"run_uuid": run_id, "path": "../t.txt"})
    ask("upload no data", "POST", "/ajax-api/2.0/mlflow/upload-artifact", params={"run_uuid": run_id, "path": "t.txt"})
    ask(
        "upload",
        "POST",
        "/ajax-api/2.0/mlflow/upload-artifact",
        params={"run_uuid": run_id, "path": "t.txt"},
        data="hello world",
    )
    large = b"x" * (10 * 1024 * 1024 + 1)
    ask(
        "upload large",
        "POST",
        "/ajax-api/2.0/mlflow/upload-artifact",
        params={"run_uuid": run_id, "path": "l.txt"},
        data=large,
    )
    ask("get artifact", "GET", "/get-artifact", params={"run_uuid": run_id, "path": "t.txt"})
    ask("get artifact missing", "GET", "/get-artifact", params={"run_uuid": run_id, "path": "none.txt"})
    ask("get artifact no path", "GET", "/get-artifact", params={"run_uuid": run_id})
    ask(
        "model artifact up",
        "GET",
        "/model-versions/get-artifact",
        params={"name": "wire", "version": 1, "path": "../path"},
    )
    uri = made["run"]["info"]["artifact_uri"]
    for source in [uri, f"{uri}/model", f"{uri}/.", f"{uri}/model/..", f"{uri}/../..", *SOURCES]:
        for with_run in (True, False):
            body = {"name": "wire", "source": source} | ({"run_id": run_id} if with_run else {})
            answer = api("POST", "model-versions/create", json=body)
            shown = source.replace(uri, "URI")
            told = answer.json() if "json" in answer.headers.get("Content-Type", "") else {}
            note(f"source {shown} {with_run}", [answer.status_code, told.get("error_code"), told.get("message")])
    ask(
        "log model",
        "POST",
        "/api/2.0/mlflow/runs/log-model",
        json={
            "run_id": run_id,
            "model_json": json.dumps(
                {"artifact_path": "m", "run_id": run_id, "utc_time_created": "2026-01-01", "flavors": {}}
            ),
        },
    )
    ask("log bad model", "POST", "/api/2.0/mlflow/runs/log-model", json={"run_id": run_id, "model_json": "no json"})
    ask("log empty model", "POST", "/api/2.0/mlflow/runs/log-model", json={"run_id": run_id, "model_json": "{}"})
    ask("tag of it", "GET", "/api/2.0/mlflow/runs/get", params={"run_id": run_id})
