"""Delete means delete, beside a running server: what was deleted over HTTP is erased with its bytes, and audited."""

import os
import subprocess
import sys

from mainspring.store.events import events, verify_chain
from mainspring.workspace import Workspace

from .conftest import Server

SECRET = b"what must not stay"


def test_a_deleted_run_and_a_deleted_version_are_erased_with_their_bytes(server: Server) -> None:
    run = server.post("runs/create", experiment_id="0").json["run"]["info"]
    root = run["artifact_uri"].removeprefix("mlflow-artifacts:/")
    path = f"/api/2.0/mlflow-artifacts/artifacts/{root}/model/data.txt"
    assert server.ask("PUT", path, raw=SECRET).status == 200
    server.post("registered-models/create", name="m")
    named = {"name": "m", "version": "1"}
    made = {"name": "m", "source": f"runs:/{run['run_id']}/model", "run_id": run["run_id"]}
    server.post("model-versions/create", **made)
    assert _gc(server).count("Erased") == 0
    assert server.ask("GET", path).body == SECRET
    assert server.post("runs/delete", run_id=run["run_id"]).status == 200
    _gc(server)
    kept = server.ask("GET", "/model-versions/get-artifact?name=m&version=1&path=data.txt")
    assert kept.body == SECRET  # the version still names it
    assert server.ask("GET", path).status == 404
    assert server.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", named).status == 200
    _gc(server)
    artifacts = server.home / "artifacts"
    assert all(SECRET not in each.read_bytes() for each in artifacts.rglob("*") if each.is_file())
    verbs = [each["verb"] for each in server.ask("GET", "/api/mainspring/v1/audit").json["entries"]]
    assert {"run.deleted", "runs.erased", "version.deleted", "artifacts.collected"} <= {*verbs}
    with Workspace(server.home) as workspace:
        assert verify_chain(workspace.store) == len(events(workspace.store))


def _gc(server: Server) -> str:
    """Collect garbage with no grace, from another process."""
    words = [sys.executable, "-m", "mainspring", "gc", "--grace", "1ms", "--retention", "1ms"]
    environment = {**os.environ, "MAINSPRING_HOME": str(server.home)}
    return subprocess.run(words, env=environment, check=True, capture_output=True, text=True, timeout=60).stdout
