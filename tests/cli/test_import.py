"""`mainspring import`: from a server with models, from a folder, and from what is neither."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.conftest import Server

from mainspring.cli.main import main
from mainspring.registry.versions import find_version
from mainspring.tracking.logged_models import find_logged_model
from mainspring.workspace import Workspace

TREE = "/api/2.0/mlflow-artifacts/artifacts"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server to import from; the workspace to import into is another one."""
    started = Server(tmp_path / "far")
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "near"))
    yield started
    started.stop()


def test_models_come_with_their_files_numbers_and_aliases(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    run_id = server.post("runs/create", experiment_id="0", start_time=1).json["run"]["info"]["run_id"]
    made = server.post("logged-models", experiment_id="0", name="tree", source_run_id=run_id)
    model_id = made.json["model"]["info"]["model_id"]
    server.post("runs/log-metric", run_id=run_id, key="auc", value=0.5, timestamp=3, model_id=model_id)
    server.ask("PATCH", f"/api/2.0/mlflow/logged-models/{model_id}", {"status": 2})
    server.ask("PUT", f"{TREE}/0/models/{model_id}/artifacts/MLmodel", raw=b"flavors: {}\n")
    server.ask("PUT", f"{TREE}/0/{run_id}/artifacts/old/MLmodel", raw=b"flavors: {}\n")
    server.post("registered-models/create", name="churn")
    of_run = f"mlflow-artifacts:/0/{run_id}/artifacts/old"
    for source in (f"models:/{model_id}", of_run, f"models:/{model_id}"):
        of_model = {"model_id": model_id} if source.startswith("models:") else {}
        made = server.post("model-versions/create", name="churn", source=source, run_id=run_id, **of_model)
        assert made.status == 200
    gone = server.ask("DELETE", "/api/2.0/mlflow/model-versions/delete", {"name": "churn", "version": "1"})
    assert gone.status == 200
    server.post("registered-models/alias", name="churn", alias="best", version="3")

    assert main(["import", "mlflow", server.url]) == 0
    assert "1 logged models and 2 model versions imported" in capsys.readouterr().out
    with Workspace() as workspace:
        model = find_logged_model(workspace.store, model_id)
        assert (model.name, model.status, model.points[0].point.value) == ("tree", "ready", 0.5)
        best = find_version(workspace.store, "churn@best")
        assert (best.version, best.source, best.run_id) == (3, f"models:/{model_id}", run_id)
        assert find_version(workspace.store, "churn/2").source == of_run
    assert main(["import", "mlflow", server.url]) == 0
    assert "0 logged models and 0 model versions imported" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("mlflow", "postgresql://x/y"), 2, "start its mlflow server"),
        (("mlflow", "nowhere.db"), 3, "There is no file"),
        (("mlflow", "http://127.0.0.1:9"), 3, "Nothing answers"),
        (("tensorboard", "."), 3, "no event files"),
        (("wandb", "."), 3, "no offline runs"),
    ],
)
def test_what_is_no_source_is_told(
    words: tuple[str, ...], code: int, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "near"))
    assert main(["import", *words]) == code
    assert told in capsys.readouterr().err
