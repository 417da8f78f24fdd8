"""Tests find `loop.py` here, work in a folder of their own, and never touch the project's workspace."""

from pathlib import Path

import pytest

PROJECT = Path(__file__).parent


@pytest.fixture(autouse=True)
def no_outside_workspace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Point every setting that names a place into the test's folder."""
    for name in ("MAINSPRING_STORE", "MAINSPRING_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "workspace"))


@pytest.fixture
def some_customers(tmp_path: Path) -> Path:
    """Return a file with every fourth customer, and the schema beside it, where the loop looks for it."""
    lines = (PROJECT / "customers.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    path = tmp_path / "customers.csv"
    path.write_text("".join([lines[0], *lines[1::4]]), encoding="utf-8")
    (tmp_path / "customers.schema.yaml").write_text((PROJECT / "customers.schema.yaml").read_text(encoding="utf-8"))
    return path
