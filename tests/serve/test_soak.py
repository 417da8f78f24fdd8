"""Swaps, rollbacks and a killed worker under load: the benchmark's scene, shorter."""

import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).resolve().parents[2] / "benchmarks" / "serving_soak.py"


@pytest.mark.slow
def test_no_request_is_lost_while_everything_changes() -> None:
    words = ["--seconds", "8", "--swaps", "6", "--rollbacks", "2", "--kills", "1", "--clients", "4"]
    done = subprocess.run([sys.executable, str(SOAK), *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "failed: 0" in done.stdout
