"""The benchmark of planted faults, on its cheapest fault: it finds what is there, and says what it did not find."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sklearn", reason="the year trains with scikit-learn: pip install 'mainspring[demo]'")

FAULTS = Path(__file__).parents[2] / "benchmarks" / "faults.py"


def _lived(*words: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, str(FAULTS), "--fast", "--json", "--only", "duplicates", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.slow
def test_a_planted_fault_is_found_told_rightly_and_over() -> None:
    code, told = _lived()
    (fault,) = told["faults"]
    assert fault["is_right"], fault
    assert fault["lines"]["cause told"].startswith("infrastructure: ")
    assert fault["lines"]["over"] == "after 7 days"
    assert fault["lines"]["until over"].endswith(" 0 answered wrong")
    assert told["weeks"]["alarms"] == []
    assert code == 0


@pytest.mark.slow
def test_a_fault_that_is_not_found_is_said_to_be_so() -> None:
    code, told = _lived("--until", "1")
    (fault,) = told["faults"]
    assert not fault["is_found"]
    assert fault["lines"]["verdict"] == "NOT FOUND"
    assert code == 1
