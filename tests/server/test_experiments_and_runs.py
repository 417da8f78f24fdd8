"""Experiments and runs as MLflow's clients ask for them, over HTTP."""

from tests.server.conftest import Server


def _run(server: Server, **fields: object) -> str:
    answer = server.post("runs/create", experiment_id="0", start_time=1000, **fields)
    assert answer.status == 200
    run_id: str = answer.json["run"]["info"]["run_id"]
    return run_id


def test_health_and_version_answer(server: Server) -> None:
    assert server.ask("GET", "/health").body == b"OK"
    assert server.ask("GET", "/version").status == 200
    assert server.ask("GET", "//health").status == 200


def test_an_experiment_lives_its_life(server: Server) -> None:
    made = server.post("experiments/create", name="first", tags=[{"key": "team", "value": "a"}]).json["experiment_id"]
    found = server.get("experiments/get", experiment_id=made).json["experiment"]
    assert (found["name"], found["lifecycle_stage"], found["tags"]) == (
        "first",
        "active",
        [{"key": "team", "value": "a"}],
    )
    assert server.get("experiments/get-by-name", experiment_name="first").json["experiment"] == found
    assert server.post("experiments/update", experiment_id=made, new_name="second").status == 200
    assert server.post("experiments/delete", experiment_id=made).status == 200
    assert server.post("experiments/delete", experiment_id=made).status == 404
    gone = server.get("experiments/get", experiment_id=made).json["experiment"]
    assert (gone["name"], gone["lifecycle_stage"]) == ("second", "deleted")
    assert server.post("experiments/restore", experiment_id=made).status == 200


def test_a_taken_name_is_told_as_mlflow_tells_it(server: Server) -> None:
    server.post("experiments/create", name="first")
    again = server.post("experiments/create", name="first")
    assert (again.status, again.json["error_code"]) == (400, "RESOURCE_ALREADY_EXISTS")
    assert "already exists" in again.json["message"]


def test_what_is_missing_or_wrong_is_named(server: Server) -> None:
    unknown = server.get("experiments/get", experiment_id="77")
    assert (unknown.status, unknown.json["error_code"]) == (404, "RESOURCE_DOES_NOT_EXIST")
    missing = server.get("experiments/get")
    assert (missing.status, missing.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert "Missing value for required parameter 'experiment_id'" in missing.json["message"]
    wrong = server.ask("POST", "/api/2.0/mlflow/runs/create", {"start_time": "soon"})
    assert (wrong.status, "'start_time'" in wrong.json["message"]) == (400, True)
    half = server.ask("POST", "/api/2.0/mlflow/logged-models/search", raw=b'{"datasets": "\\ud800"}')
    assert (half.status, half.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    beyond = server.get("metrics/get-history", run_id="x", metric_key="m", max_results=str(2**70))
    assert (beyond.status, beyond.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    huge = server.post("runs/create", start_time=2**63)
    assert (huge.status, "'start_time'" in huge.json["message"]) == (400, True)
    broken = server.ask("POST", "/api/2.0/mlflow/runs/create", raw=b'{"a":')
    assert (broken.status, broken.json["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    nowhere = server.post("traces/nonsense")
    assert (nowhere.status, nowhere.json["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


def test_a_run_is_logged_to_and_read_back(server: Server) -> None:
    run_id = _run(server, run_name="mine", tags=[{"key": "a", "value": "b"}])
    batch = server.post(
        "runs/log-batch",
        run_id=run_id,
        metrics=[
            {"key": "loss", "value": 0.5, "timestamp": 1, "step": 0},
            {"key": "loss", "value": "NaN", "timestamp": 2, "step": 1},
        ],
        params=[{"key": "c", "value": "1"}],
        tags=[{"key": "d", "value": "e"}],
    )
    assert batch.status == 200
    server.post("runs/log-metric", run_id=run_id, key="auc", value=0.7, timestamp="3", step="4")
    server.post("runs/update", run_id=run_id, status="FINISHED", end_time=2000)
    run = server.get("runs/get", run_id=run_id).json["run"]
    assert run["info"]["status"] == "FINISHED"
    assert (run["info"]["run_name"], run["info"]["start_time"], run["info"]["end_time"]) == ("mine", 1000, 2000)
    assert run["data"]["metrics"] == [
        {"key": "auc", "value": 0.7, "timestamp": 3, "step": 4},
        {"key": "loss", "value": "NaN", "timestamp": 2, "step": 1},
    ]
    assert run["data"]["params"] == [{"key": "c", "value": "1"}]
    assert {"key": "mlflow.runName", "value": "mine"} in run["data"]["tags"]


def test_a_parameter_never_changes(server: Server) -> None:
    run_id = _run(server)
    assert server.post("runs/log-parameter", run_id=run_id, key="c", value="1").status == 200
    assert server.post("runs/log-parameter", run_id=run_id, key="c", value="1").status == 200
    assert server.post("runs/log-parameter", run_id=run_id, key="c", value="2").status == 400


def test_a_deleted_run_takes_nothing_until_it_is_restored(server: Server) -> None:
    run_id = _run(server)
    server.post("runs/delete", run_id=run_id)
    refused = server.post("runs/log-metric", run_id=run_id, key="m", value=1.0, timestamp=1)
    assert (refused.status, "must be in the 'active' state" in refused.json["message"]) == (400, True)
    server.post("runs/restore", run_id=run_id)
    assert server.post("runs/log-metric", run_id=run_id, key="m", value=1.0, timestamp=1).status == 200


def test_an_acknowledged_point_outlives_the_server(server: Server) -> None:
    run_id = _run(server)
    for step in range(50):
        server.post("runs/log-metric", run_id=run_id, key="m", value=float(step), timestamp=1, step=step)
    server.kill()
    again = Server(server.home)
    run = again.get("runs/get", run_id=run_id).json["run"]
    again.stop()
    assert run["data"]["metrics"][0]["step"] == 49
