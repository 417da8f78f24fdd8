"""The prediction server stays lean: what it must never import, and how much it imports."""

import json
import subprocess
import sys

import pytest

FORBIDDEN = {"registry", "pipeline", "ui", "store", "loop", "server", "cli", "workspace", "monitor", "train", "data"}

SERVER = """
import json, sys
import mainspring.serve.server
print(json.dumps(sorted(sys.modules)))
"""

SCORED = """
import asyncio, json, sys
from pathlib import Path
from mainspring.domain.moments import SystemClock
from mainspring.predictions.journal import JournalWriter
from mainspring.serve.endpoint import Endpoints
from mainspring.serve.server import _fixed_table
from mainspring.serve.metrics import ServerMetrics
from mainspring.serve.asking import Received
from mainspring.serve.dialects import PredictDialect
from mainspring.serve.service import PredictionService

async def score(bundle, journals):
    metrics = ServerMetrics()
    endpoints = Endpoints(None, metrics, [_fixed_table(Path(bundle))])
    await endpoints.load_fixed()
    with JournalWriter(Path(journals), name="p") as journal:
        service = PredictionService(endpoints, journal, metrics, SystemClock())
        answer = await service.answer(Received("delay", None, {}, 0.0), PredictDialect(), b'[{"distance": 2}]')
        await service.close()
    return answer

assert json.loads(asyncio.run(score(sys.argv[1], sys.argv[2])).body)["predictions"]
print(json.dumps(sorted(sys.modules)))
"""

ROOM = """
import json, sys
import mainspring.serve, mainspring.bundle, mainspring.predictions
print(json.dumps(sorted(sys.modules)))
"""


def modules_after(code: str, *arguments: object) -> set[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return set(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))


def rooms(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("mainspring.")}


def test_the_server_imports_no_room_it_must_not_know() -> None:
    modules = modules_after(SERVER)
    assert not rooms(modules) & FORBIDDEN
    assert rooms(modules) <= {"bundle", "config", "domain", "errors", "predictions", "serve"}
    assert not {"duckdb", "sklearn", "pandas", "scipy", "skops", "starlette", "rich", "yaml"} & modules


def test_answering_imports_the_models_own_library_and_nothing_else(regression: object, tmp_path: object) -> None:
    modules = modules_after(SCORED, regression, tmp_path)
    assert "sklearn" in modules
    assert not rooms(modules) & FORBIDDEN
    assert "starlette" not in modules  # joblib imports all of dask, and what dask imports, if installed


def test_the_supervisor_imports_neither_models_nor_http() -> None:
    modules = modules_after(
        "import json, sys\nimport mainspring.serve.supervisor\nprint(json.dumps(sorted(sys.modules)))"
    )
    assert not {"numpy", "uvicorn", "asyncio", "httptools"} & modules
    assert rooms(modules) <= {"domain", "errors", "serve"}


def test_a_rooms_front_door_is_cheap() -> None:
    modules = modules_after(ROOM)
    assert not {"numpy", "uvicorn", "msgspec", "asyncio"} & modules


@pytest.mark.parametrize("room", ["bundle", "serve"])
def test_every_name_a_room_shows_is_there(room: str) -> None:
    code = f"import mainspring.{room} as room; assert sorted(room.__all__) == room.__all__; "
    code += "print([getattr(room, name) for name in room.__all__])"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
