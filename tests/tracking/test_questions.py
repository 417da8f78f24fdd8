"""SQL of a person's own: it reads what it may, for a while, and does nothing else."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from mainspring.errors import Invalid, Unavailable
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store
from mainspring.tracking import log_metrics, start_run
from mainspring.tracking.questions import ask_sql

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(store_address: str) -> Iterator[Store]:
    opened = open_store(store_address)
    for value in range(3):
        run = start_run(opened, experiment="e", name=f"r{value}", parameters={}, at=NOW)
        log_metrics(opened, run, {"loss": float(value)}, NOW)
    yield opened
    opened.close()


def test_a_question_is_answered_with_its_columns(store: Store) -> None:
    sql = (
        "WITH latest AS (SELECT run, value FROM latest_metrics) SELECT name, value FROM runs JOIN latest ON run=number"
    )
    found = ask_sql(store, f"{sql} ORDER BY value DESC;  ")
    assert (found.columns, found.complete) == (("name", "value"), True)
    assert found.rows == [("r2", 2.0), ("r1", 1.0), ("r0", 0.0)]


def test_rows_are_bounded(store: Store) -> None:
    found = ask_sql(store, "SELECT name FROM runs", limit=2)
    assert (len(found.rows), found.complete) == (2, False)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM runs RETURNING 1",
        "SELECT 1) AS asked; DELETE FROM runs; --",
        "SELECT 1; DROP TABLE runs",
        "UPDATE runs SET name = 'x' RETURNING 1",
        "PRAGMA query_only=OFF",
        "ATTACH 'x' AS y",
        "nonsense",
        "",
        "SELECT nothing FROM runs",
        "SELECT " + "1," * 60_000 + "1",
    ],
)
def test_nothing_but_a_question_is_run(store: Store, sql: str) -> None:
    with pytest.raises(Invalid):
        ask_sql(store, sql)
    assert ask_sql(store, "SELECT count(*) FROM runs").rows == [(3,)]


def test_a_question_that_takes_too_long_is_stopped(store: Store) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    with pytest.raises(Unavailable, match="stopped after"):
        ask_sql(store, endless, seconds=0.2)


def test_a_stranger_reads_runs_and_no_secrets(store: Store, store_address: str) -> None:
    if store_address.startswith("postgresql"):
        with pytest.raises(Unavailable, match="Postgres keeps no query"):
            ask_sql(store, "SELECT 1", by_stranger=True)
        return
    for table in ("tokens", "users", "events", "sqlite_master"):
        with pytest.raises(Invalid, match=f"asks for `{table}`"):
            ask_sql(store, f"SELECT * FROM {table}", by_stranger=True)
    with pytest.raises(Invalid):
        ask_sql(store, "SELECT hex(zeroblob(1000000000))", by_stranger=True)
