"""Unmodified MLflow clients against `mlflow server` and Mainspring, where an environment with mlflow is named."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PARITY = Path(__file__).parents[2] / "benchmarks" / "mlflow_parity.py"
#: The Pythons of environments with mlflow, the newest 3.x and then 2.x, separated as in PATH. The server that all of
#: them face is the first one's: an older server lacks endpoints and checks that the newest has.
NAMED = [each for each in os.environ.get("MAINSPRING_MLFLOW_PYTHONS", "").split(os.pathsep) if each]


@pytest.mark.slow
@pytest.mark.skipif(
    not NAMED,
    reason="set MAINSPRING_MLFLOW_PYTHONS to the Python of an environment with mlflow, scikit-learn, xgboost, "
    "lightgbm, psutil and matplotlib (several separated as in PATH)",
)
@pytest.mark.parametrize("python", NAMED)
def test_the_scripts_leave_the_same_behind_on_both_servers(python: str):
    command = [sys.executable, str(PARITY), "--python", python, "--mlflow-python", NAMED[0]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
