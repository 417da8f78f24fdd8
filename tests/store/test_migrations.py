"""Migrations: appended and never edited, each run once and recorded, and every older file can be brought up to date."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from mainspring.errors import Conflict
from mainspring.store.migrations import MIGRATIONS, Migration, migrate
from mainspring.store.protocol import Row, Transaction, Value
from mainspring.store.sqlite import SqliteStore

#: Name and SHA-256 of the statements of each migration, in order. A line is added with each migration and then stands
#: for ever: databases in the field were made by these statements.
LOCK = Path(__file__).with_name("migrations.lock.json")


class Connection:
    """The least transaction: one connection, every statement written down."""

    def __init__(self, path: Path | str = ":memory:") -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.statements: list[str] = []

    def execute(self, sql: str, parameters: Sequence[Value] = ()) -> list[Row]:
        self.statements.append(" ".join(sql.split()))
        return self.connection.execute(sql, parameters).fetchall()

    def execute_many(self, sql: str, rows: Iterable[Sequence[Value]]) -> None:
        self.statements.append(" ".join(sql.split()))
        self.connection.executemany(sql, rows)

    def tables(self) -> list[Row]:
        return self.execute("SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type, name")


@pytest.fixture
def connection():
    made = Connection()
    yield made
    made.connection.close()


def digests() -> dict[str, str]:
    transaction = Connection()
    found = {}
    for each in MIGRATIONS:
        transaction.statements.clear()
        each(transaction)
        found[each.__name__] = hashlib.sha256("\n".join(transaction.statements).encode()).hexdigest()
    transaction.connection.close()
    return found


def test_no_migration_in_the_lock_was_edited_moved_or_removed() -> None:
    locked: dict[str, str] = json.loads(LOCK.read_text())
    found = digests()
    assert list(found)[: len(locked)] == list(locked), "migrations are only ever appended"
    assert {name: found[name] for name in locked} == locked, "a migration was edited; add another instead"


def test_names_are_numbered_on_and_say_what_they_do() -> None:
    assert [int(each.__name__[1:5]) for each in MIGRATIONS] == list(range(1, len(MIGRATIONS) + 1))
    assert all(each.__doc__ for each in MIGRATIONS)


def test_each_runs_once_in_order_and_is_recorded(connection: Connection) -> None:
    names = [each.__name__ for each in MIGRATIONS]
    assert migrate(connection, MIGRATIONS) == names
    assert migrate(connection, MIGRATIONS) == []
    recorded = connection.execute("SELECT name, ran_at FROM migrations ORDER BY name")
    assert [row[0] for row in recorded] == names
    assert all(row[1].endswith("Z") for row in recorded)


@pytest.mark.parametrize("known", range(len(MIGRATIONS)))
def test_the_file_of_every_older_release_becomes_like_a_new_one(tmp_path: Path, known: int) -> None:
    older = Connection(tmp_path / "store.sqlite")
    migrate(older, MIGRATIONS[:known])
    older.connection.close()
    store = SqliteStore(tmp_path / "store.sqlite")
    store.close()
    brought_up, new = Connection(tmp_path / "store.sqlite"), Connection()
    migrate(new, MIGRATIONS)
    assert brought_up.tables() == new.tables()
    brought_up.connection.close()
    new.connection.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(connection: Connection) -> None:
    def m9999_fail(transaction: Transaction) -> None:
        transaction.execute("CREATE TABLE half (a TEXT)")
        raise LookupError

    migrate(connection, MIGRATIONS)
    before = connection.tables()
    with pytest.raises(LookupError):
        migrate(connection, (*MIGRATIONS, m9999_fail))
    assert connection.tables() == before
    assert ("m9999_fail",) not in connection.execute("SELECT name FROM migrations")


def test_a_file_of_a_newer_release_is_refused_and_left_alone(connection: Connection) -> None:
    migrate(connection, MIGRATIONS)
    before = connection.tables()
    newest: tuple[Migration, ...] = MIGRATIONS[:-1]
    with pytest.raises(Conflict, match=f"newer Mainspring .*{MIGRATIONS[-1].__name__}"):
        migrate(connection, newest)
    assert connection.tables() == before


def test_the_segments_of_an_older_file_keep_their_traffic(connection: Connection) -> None:
    migrate(connection, MIGRATIONS[:7])
    connection.execute(
        "INSERT INTO log_segments (model, kind, path, n_rows, first_at, last_at, first_id, last_id, sealed_at)"
        " VALUES ('m', 'labels', 'p', 7, 'a', 'b', 'c', 'd', 'e')"
    )
    migrate(connection, MIGRATIONS)
    assert connection.execute("SELECT model, kind, n_rows, sealed_at FROM log_traffic") == [("m", "labels", 7, "e")]
    assert connection.execute("SELECT model_version FROM log_segments") == [(0,)]


def test_the_versions_of_an_older_file_get_their_model_and_its_rule(connection: Connection) -> None:
    migrate(connection, MIGRATIONS[:12])
    for number, asked in (
        (1, '{"approval": {"role": null, "count": 1}}'),
        (2, '{"approval": {"role": "r", "count": 2}}'),
    ):
        connection.execute(
            "INSERT INTO model_versions (model, version, bundle, run_id, status, evidence, created_at, created_by)"
            " VALUES ('m', ?, 'b', NULL, 'ready', ?, ?, ?)",
            (number, asked, f"day {number}", f"author {number}"),
        )
    migrate(connection, MIGRATIONS)
    kept = connection.execute("SELECT version, bundle, stage, updated_at FROM model_versions ORDER BY version")
    assert kept == [(1, "b", "None", "day 1"), (2, "b", "None", "day 2")]
    models = connection.execute("SELECT name, owner, last_version, created_at, updated_at FROM models")
    assert models == [("m", "author 1", 2, "day 1", "day 2")]
    rules = connection.execute("SELECT model, alias, origin, gates, approver_role, approvals FROM alias_rules")
    assert rules == [("m", "champion", "loop", 1, "r", 2)]
