"""`mainspring gc` on a trained project."""

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_gc_says_what_it_would_free_frees_it_and_the_models_stay(run: Run, project: Path) -> None:
    models = run("models", "--json").out
    assert json.loads(run("gc", "--grace", "1ms", "--dry-run", "--json").out)["dry_run"]
    assert run("cache", "clear", "--older-than", "1ms", "--yes").code == 0
    told = json.loads(run("gc", "--grace", "1ms", "--dry-run", "--json").out)
    freed = json.loads(run("gc", "--grace", "1ms", "--json").out)
    assert freed == told | {"dry_run": False}
    assert freed["size_bytes"] > 0
    assert json.loads(run("gc", "--grace", "1ms", "--json").out)["objects"] == 0
    assert "Freed 0 bytes" in run("gc").out
    assert run("models", "--json").out == models
    assert run("predict", "churn", "customers.csv", "out.csv").code == 0
    assert run("gc", "--grace", "soon").code == 2
