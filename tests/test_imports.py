"""What an import costs and what it may touch, counted in fresh processes: the budget is part of the product."""

import subprocess
import sys

import pytest

from mainspring.cli.main import COMMANDS

#: Modules above bare Python that `import mainspring` may load.
MOST_MODULES = 60
#: What starting the command line must not import: engines, models, servers.
HEAVY = {"numpy", "duckdb", "pandas", "sklearn", "scipy", "skops", "starlette", "uvicorn", "msgspec", "rich", "yaml"}


def modules_after(code: str) -> set[str]:
    """Return the names of all modules that a fresh interpreter has loaded behind `code`."""
    listed = f"{code}\nimport sys\nprint('\\n' + ' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", listed], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def outside(modules: set[str]) -> set[str]:
    """Return the top-level packages that are neither Python's nor ours."""
    return {name.partition(".")[0] for name in modules} - sys.stdlib_module_names - {"mainspring", "__main__"}


def rooms(modules: set[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("mainspring.")}


@pytest.fixture(scope="module")
def bare() -> set[str]:
    return modules_after("pass")


def test_importing_mainspring_stays_within_its_budget(bare: set[str]) -> None:
    loaded = modules_after("import mainspring") - bare
    assert len(loaded) <= MOST_MODULES, sorted(loaded)
    assert not outside(loaded), sorted(outside(loaded))
    assert not rooms(loaded), "a room was imported before anything of it was used"


def test_every_public_name_is_there_after_every_room_was_imported() -> None:
    code = """
import importlib, pkgutil, types
import mainspring
for each in pkgutil.iter_modules(mainspring.__path__):
    if each.name not in ("__main__", "testing", "templates"):
        importlib.import_module(f"mainspring.{each.name}")
for name in mainspring.__all__:
    assert not isinstance(getattr(mainspring, name), types.ModuleType), name
assert set(mainspring.__all__) <= set(dir(mainspring))
"""
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


@pytest.mark.parametrize("room", ["pipeline", "evaluate", "monitor"])
def test_a_room_that_shares_its_name_with_a_function_can_be_imported(room: str) -> None:
    code = f"""
import types
from mainspring import {room} as function
import mainspring.{room}
import sys
assert not isinstance(function, types.ModuleType)
assert mainspring.{room} is function
assert isinstance(sys.modules["mainspring.{room}"], types.ModuleType)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_told() -> None:
    import mainspring

    with pytest.raises(AttributeError, match="no attribute 'forecast'"):
        _ = mainspring.forecast


def test_help_lists_every_command_and_imports_no_engine() -> None:
    code = "from mainspring.cli.main import main\nassert main(['--help']) == 0"
    assert not HEAVY & outside(modules_after(code))
    done = subprocess.run([sys.executable, "-m", "mainspring", "--help"], capture_output=True, text=True, check=True)
    listed = done.stdout.partition("Commands:")[2].split("\n")
    assert {line.split()[0] for line in listed if line.startswith("  ") and line[2] != " "} == set(COMMANDS)


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_every_command_has_a_module_and_helps(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    from mainspring.cli.main import main

    assert main([command, "--help"]) == 0
    assert f"Usage: mainspring {command}" in capsys.readouterr().out


def test_the_prediction_server_knows_no_registry_and_no_engine() -> None:
    loaded = modules_after("import mainspring.serve.main")
    assert not rooms(loaded) & {"registry", "pipeline", "store", "loop", "monitor", "train", "data", "workspace", "cli"}
    assert not {"duckdb", "pandas", "sklearn", "skops", "scipy", "starlette", "rich"} & outside(loaded)


def test_the_prediction_server_as_a_process_starts_from_that_module() -> None:
    code = "import runpy, sys\nsys.argv = ['serve', '--help']\n"
    code += "try:\n    runpy.run_module('mainspring.serve', run_name='__main__')\nexcept SystemExit:\n    pass"
    loaded = modules_after(code)
    assert "mainspring.serve.main" in loaded
    assert not rooms(loaded) & {"registry", "pipeline", "store", "loop"}
    assert "duckdb" not in loaded
