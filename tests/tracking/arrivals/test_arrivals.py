"""Runs from elsewhere: an MLflow database and server, W&B's offline files, TensorBoard's events."""

import json
import sqlite3
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.server.conftest import Server

from mainspring.errors import Corrupt, Invalid, NotFound
from mainspring.store.protocol import Store
from mainspring.tracking.arrivals import keep_arrival
from mainspring.tracking.arrivals.arrival import keep_experiment
from mainspring.tracking.arrivals.mlflow_file import arrivals_in_database, experiments_in_database
from mainspring.tracking.arrivals.mlflow_server import arrivals_from_server, experiments_on_server
from mainspring.tracking.arrivals.tensorboard import arrivals_in_events
from mainspring.tracking.arrivals.wandb import arrivals_in_wandb
from mainspring.tracking.experiments import find_experiment_named, set_experiment_tag
from mainspring.tracking.files import find_file, list_folder, root_of
from mainspring.tracking.inputs import Input, InputDataset, ModelUse, inputs_of, models_of
from mainspring.tracking.metrics import history
from mainspring.tracking.runs import run_with_id
from mainspring.workspace import Workspace

RUN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace(tmp_path / "home") as opened:
        yield opened


def kept(workspace: Workspace, arrivals, origin: str = "test") -> list[bool]:
    return [keep_arrival(workspace.store, workspace.artifacts, each, origin=origin) for each in arrivals]


def points(store: Store, run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in history(store, run_id, key)]


@pytest.fixture
def mlflow_database(tmp_path: Path) -> Path:
    """A database with the tables of MLflow's that hold runs."""
    path = tmp_path / "mlflow.db"
    files = tmp_path / "mlartifacts" / "1" / RUN / "artifacts" / "model"
    files.mkdir(parents=True)
    (files / "MLmodel").write_text("flavors: {}\n")
    (files / "link").symlink_to("/etc/hostname")
    connection = sqlite3.connect(path)
    connection.executescript(
        f"""
        CREATE TABLE experiments (experiment_id INTEGER, name TEXT, artifact_location TEXT, lifecycle_stage TEXT);
        CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time INTEGER, end_time INTEGER,
            lifecycle_stage TEXT, user_id TEXT, artifact_uri TEXT, experiment_id INTEGER);
        CREATE TABLE params (key TEXT, value TEXT, run_uuid TEXT);
        CREATE TABLE tags (key TEXT, value TEXT, run_uuid TEXT);
        CREATE TABLE metrics (key TEXT, value REAL, timestamp INTEGER, run_uuid TEXT, step INTEGER, is_nan INTEGER);
        INSERT INTO experiments VALUES (1, 'flights', 'mlflow-artifacts:/1', 'active');
        INSERT INTO runs VALUES ('{RUN}', 'old run', 'FAILED', 1000, 2000, 'active', 'ada',
            'mlflow-artifacts:/1/{RUN}/artifacts', 1);
        INSERT INTO runs VALUES ('{RUN[::-1]}', 'gone', 'FINISHED', 3000, NULL, 'deleted', '', '', 1);
        INSERT INTO params VALUES ('depth', '3', '{RUN}');
        INSERT INTO tags VALUES ('team', 'risk', '{RUN}');
        INSERT INTO metrics VALUES ('auc', 0.5, 10, '{RUN}', 0, 0), ('auc', 0, 11, '{RUN}', 1, 1),
            ('auc', 0.75, 12, '{RUN}', 2, 0);
        CREATE TABLE experiment_tags (key TEXT, value TEXT, experiment_id INTEGER);
        CREATE TABLE datasets (dataset_uuid TEXT, experiment_id INTEGER, name TEXT, digest TEXT,
            dataset_source_type TEXT, dataset_source TEXT, dataset_schema TEXT, dataset_profile TEXT);
        CREATE TABLE inputs (input_uuid TEXT, source_type TEXT, source_id TEXT, destination_type TEXT,
            destination_id TEXT, step INTEGER);
        CREATE TABLE input_tags (input_uuid TEXT, name TEXT, value TEXT);
        CREATE TABLE logged_models (model_id TEXT);
        INSERT INTO experiment_tags VALUES ('mlflow.note.content', 'late flights', 1), ('team', 'risk', 1);
        INSERT INTO datasets VALUES ('d', 1, 'table', '1a', 'local', '{{}}', NULL, '{{"rows": 3}}');
        INSERT INTO inputs VALUES ('i', 'DATASET', 'd', 'RUN', '{RUN}', 0),
            ('o', 'RUN_OUTPUT', '{RUN}', 'MODEL_OUTPUT', 'm-1', 4);
        INSERT INTO input_tags VALUES ('i', 'mlflow.data.context', 'training');
        """
    )
    connection.close()
    return path


def test_a_database_of_mlflow_comes_in_once_with_everything(workspace: Workspace, mlflow_database: Path) -> None:
    folder = mlflow_database.parent / "mlartifacts"
    assert kept(workspace, arrivals_in_database(mlflow_database, folder)) == [True, True]
    run = run_with_id(workspace.store, RUN)
    assert (run.experiment, run.name, run.status, run.author) == ("flights", "old run", "failed", "ada")
    assert (run.started_ms, run.ended_ms, run.parameters["depth"]) == (1000, 2000, "3")
    assert (run.tags["team"], run.metrics["auc"]) == ("risk", 0.75)
    assert [step for step, _ in points(workspace.store, RUN, "auc")] == [0, 1, 2]
    root = root_of(run.artifact_uri)
    assert [each.name for each in list_folder(workspace.store, f"{root}/model")] == ["MLmodel"]
    kept_file = find_file(workspace.store, f"{root}/model/MLmodel")
    assert workspace.artifacts.read_bytes(kept_file.digest) == b"flavors: {}\n"
    assert run_with_id(workspace.store, RUN[::-1]).stage == "deleted"
    assert kept(workspace, arrivals_in_database(mlflow_database, folder)) == [False, False]


def test_datasets_made_models_and_tags_of_experiments_come_along(workspace: Workspace, mlflow_database: Path) -> None:
    kept(workspace, arrivals_in_database(mlflow_database))
    dataset = InputDataset("table", "1a", "local", "{}", None, '{"rows": 3}')
    used = (Input(dataset, (("mlflow.data.context", "training"),)),)
    assert inputs_of(workspace.store, [RUN])[RUN] == [*used]
    assert models_of(workspace.store, [RUN], "output")[RUN] == [ModelUse("m-1", 4)]
    here = find_experiment_named(workspace.store, "flights").experiment_id
    workspace.store.record(lambda transaction: set_experiment_tag(transaction, here, "team", "moved"))
    assert [keep_experiment(workspace.store, each) for each in experiments_in_database(mlflow_database)] == [True]
    assert [keep_experiment(workspace.store, each) for each in experiments_in_database(mlflow_database)] == [False]
    tags = find_experiment_named(workspace.store, "flights").tags
    assert tags == {"mlflow.note.content": "late flights", "team": "moved"}


def test_an_import_that_was_cut_off_goes_on(workspace: Workspace, mlflow_database: Path) -> None:
    arrivals = arrivals_in_database(mlflow_database)
    run = next(arrivals)

    def broken():
        yield from list(run.points())[:2]
        raise OSError("the cable was pulled")

    with pytest.raises(OSError, match="cable"):
        kept(workspace, [type(run)(**{**run.__dict__, "points": broken})])
    assert kept(workspace, arrivals_in_database(mlflow_database)) == [True, True]
    assert len(points(workspace.store, RUN, "auc")) == 3
    assert run_with_id(workspace.store, RUN).status == "failed"


def test_what_is_no_database_of_mlflow_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        list(arrivals_in_database(tmp_path / "none.db"))
    (tmp_path / "text.db").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(Invalid, match="no database of MLflow"):
        list(arrivals_in_database(tmp_path / "text.db"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server whose API is that of MLflow's."""
    started = Server(tmp_path / "far")
    yield started
    started.stop()


def test_a_server_comes_in_over_its_api(workspace: Workspace, server: Server) -> None:
    made = server.post("runs/create", experiment_id="0", run_name="far", start_time=7).json["run"]["info"]
    run_id = made["run_id"]
    metrics = [{"key": "m", "value": step / 4, "timestamp": step, "step": step} for step in range(5)]
    server.post("runs/log-batch", run_id=run_id, metrics=metrics, params=[{"key": "p", "value": "1"}])
    server.post("runs/update", run_id=run_id, status="FINISHED", end_time=9)
    server.ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/a/b.txt", raw=b"hello")
    dataset = {"name": "table", "digest": "1a", "source_type": "local", "source": "{}"}
    server.post("runs/log-inputs", run_id=run_id, datasets=[{"dataset": dataset, "tags": [{"key": "k", "value": "v"}]}])
    server.post("runs/outputs", run_id=run_id, models=[{"model_id": "m-1", "step": 2}])
    server.post("experiments/set-experiment-tag", experiment_id="0", key="team", value="risk")
    assert kept(workspace, arrivals_from_server(server.url)) == [True]
    for each in experiments_on_server(server.url):
        keep_experiment(workspace.store, each)
    assert find_experiment_named(workspace.store, "Default").tags == {"team": "risk"}
    assert [(each.dataset.name, each.tags) for each in inputs_of(workspace.store, [run_id])[run_id]] == [
        ("table", (("k", "v"),))
    ]
    assert models_of(workspace.store, [run_id], "output")[run_id] == [ModelUse("m-1", 2)]
    run = run_with_id(workspace.store, run_id)
    assert (run.name, run.status, run.ended_ms, run.parameters) == ("far", "finished", 9, {"p": "1"})
    assert points(workspace.store, run_id, "m") == [(step, step / 4) for step in range(5)]
    assert find_file(workspace.store, f"{root_of(run.artifact_uri)}/a/b.txt").size_bytes == 5


def _varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def _field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    return _varint(number << 3 | 2) + _varint(len(value)) + value


def _event(at: float, step: int, value: bytes) -> bytes:
    event = b"\x09" + struct.pack("<d", at) + _field(2, step) + _field(5, _field(1, value))
    return struct.pack("<QI", len(event), 0) + event + b"\0\0\0\0"


def test_scalars_of_tensorboard_come_in_a_run_a_folder(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "logs" / "train"
    folder.mkdir(parents=True)
    plain = _field(1, b"loss") + b"\x15" + struct.pack("<f", 0.5)
    tensor = _field(1, b"acc") + _field(8, _field(1, 1) + _field(4, struct.pack("<f", 0.25)))
    image = _field(1, b"picture") + _field(4, b"...")
    torn = _event(3.0, 9, plain)[:-6]
    data = _event(1.0, 3, plain) + _event(2.0, 4, tensor) + _event(2.5, 4, image) + torn
    (folder / "events.out.tfevents.1.host").write_bytes(data)
    found = list(arrivals_in_events(tmp_path / "logs", "tb"))
    assert [(each.name, each.started_ms, each.ended_ms) for each in found] == [("train", 1000, 2500)]
    assert kept(workspace, found) == [True]
    assert points(workspace.store, found[0].run_id, "loss") == [(3, 0.5)]
    assert points(workspace.store, found[0].run_id, "acc") == [(4, 0.25)]
    assert kept(workspace, arrivals_in_events(tmp_path / "logs", "tb")) == [False]
    with pytest.raises(NotFound):
        list(arrivals_in_events(tmp_path / "home", "tb"))


def _wandb_log(records: list[bytes]) -> bytes:
    """Lay records out as W&B does: blocks of 32 KiB, pieces of records with checksums."""
    out = bytearray(struct.pack("<4sHB", b":W&B", 0xBEE1, 0))
    for record in records:
        rest, first = record, True
        while first or rest:
            left = 32_768 - len(out) % 32_768
            if left < 7:
                out += bytes(left)
                left = 32_768
            piece, rest = rest[: left - 7], rest[left - 7 :]
            kind = (1 if first else 4) if not rest else (2 if first else 3)
            out += struct.pack("<IHB", zlib.crc32(piece, zlib.crc32(bytes([kind]))), len(piece), kind) + piece
            first = False
    return bytes(out)


def _item(key: str, value: object) -> bytes:
    return _field(1, _field(1, key.encode()) + _field(16, json.dumps(value).encode()))


@pytest.fixture
def wandb_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "wandb" / "offline-run-1-abc"
    (folder / "files").mkdir(parents=True)
    (folder / "files" / "requirements.txt").write_text("numpy\n")
    config = _item("lr", 0.1) + _item("net", {"depth": 3}) + _item("_wandb", {"x": 1})
    run = _field(1, b"abc") + _field(3, b"proj") + _field(4, config) + _field(8, b"nice") + _field(10, b"tagged")
    records = [_field(17, run + _field(17, _field(1, 1000) + _field(2, 500_000_000)))]
    for step in range(300):
        row = _item("loss", step / 2) + _item("acc", {"top1": step}) + _item("_timestamp", 1000.5 + step)
        records.append(_field(2, row + _item("text", "x" * 200) + _field(2, _field(1, step))))
    records.append(_field(18, _field(1, 0)))
    (folder / "run-abc.wandb").write_bytes(_wandb_log(records))
    return tmp_path / "wandb"


def test_an_offline_run_of_wandb_comes_in(workspace: Workspace, wandb_folder: Path) -> None:
    found = list(arrivals_in_wandb(wandb_folder))
    assert kept(workspace, found) == [True]
    run = run_with_id(workspace.store, found[0].run_id)
    assert (run.experiment, run.name, run.status, run.started_ms) == ("proj", "nice", "finished", 1_000_500)
    assert run.parameters == {"lr": "0.1", "net.depth": "3"}
    assert (run.tags["wandb.run_id"], run.tags["wandb.tags"]) == ("abc", '["tagged"]')
    assert points(workspace.store, run.run_id, "loss") == [(step, step / 2) for step in range(300)]
    assert run.metrics == {"acc.top1": 299.0, "loss": 149.5}
    assert find_file(workspace.store, f"{root_of(run.artifact_uri)}/requirements.txt").size_bytes == 6
    assert kept(workspace, arrivals_in_wandb(wandb_folder)) == [False]


def test_a_damaged_file_of_wandb_is_told(wandb_folder: Path) -> None:
    path = next(wandb_folder.rglob("*.wandb"))
    data = bytearray(path.read_bytes())
    data[5_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(Corrupt, match="damaged"):
        list(arrivals_in_wandb(wandb_folder))
    path.write_bytes(b"something else")
    with pytest.raises(Corrupt, match=r"no file of W&B"):
        list(arrivals_in_wandb(wandb_folder))
