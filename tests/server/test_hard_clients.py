"""The server as a process of its own, under clients that mean harm, clients that it dies under, and recorded ones."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WIRE = Path(__file__).with_name("mlflow_wire.json")


def _run(script: str, *words: str) -> str:
    """Run one of the benchmarks, which ends with 1 when what it looks for is not so."""
    command = [sys.executable, str(BENCHMARKS / script), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _golden(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("golden", BENCHMARKS / "parity" / "golden.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_acknowledged_point_outlives_kills_once():
    told = _run("kill.py", "--kills", "4", "--clients", "3")
    assert "0 lost, 0 twice, 0 never sent" in told


def test_hostile_requests_get_no_500_and_reach_nothing_outside():
    told = _run("hostile.py", "--requests", "1200", "--seed", "7")
    assert "new files outside: none" in told


def test_hostile_requests_get_no_500_where_the_database_is_postgres(tmp_path, postgres, monkeypatch):
    monkeypatch.setenv("MAINSPRING_STORE", postgres.address(tmp_path))
    told = _run("hostile.py", "--requests", "1500", "--seed", "3")
    assert "new files outside: none" in told


def test_recorded_requests_of_mlflow_clients_get_the_answers_of_mlflow_server(tmp_path, monkeypatch, store_address):
    monkeypatch.setenv("MAINSPRING_STORE", store_address)
    golden = _golden(monkeypatch)
    server = golden.Server("mainspring", None, tmp_path / "server").start()
    try:
        replay = golden.Replay(server.url)
        lines = json.loads(WIRE.read_text())
        wrong = [
            (line["method"], line["path"], line.get("body"), found) for line in lines if (found := replay.ask(line))
        ]
    finally:
        server.stop()
    assert len(lines) > 400
    assert wrong == []


def test_a_replay_sees_a_changed_answer(tmp_path, monkeypatch):
    replay = _golden(monkeypatch).Replay("http://nowhere")
    assert replay.differences({"run_id": "{id 1}", "n": 1}, {"run_id": "0a" * 16, "n": 1}, "") == []
    assert replay.differences({"run_id": "{id 1}"}, {"run_id": "0b" * 16}, "") == [
        f".run_id: '{'0b' * 16}', not '{'0a' * 16}'"
    ]
    assert replay.differences([{"key": "b"}, {"key": "a"}], [{"key": "a"}, {"key": "b"}], "") == []
    assert replay.differences({"start_time": "<moment>"}, {"start_time": "soon"}, "") != []
