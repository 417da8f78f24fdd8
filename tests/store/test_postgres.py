"""The Postgres store: the public suite on a real server, and what only processes, kills and a restart can show."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mainspring.domain.moments import Clock
from mainspring.errors import Conflict, Invalid, Unavailable
from mainspring.store.events import Event, events, verify_chain
from mainspring.store.migrations import MIGRATIONS
from mainspring.store.opening import open_store
from mainspring.store.postgres import PostgresStore
from mainspring.store.protocol import Store, Transaction
from mainspring.testing.metadata_store import MetadataStoreSuite

# Writes facts and changes in turn from two threads, and says each number once it was acknowledged.
WRITER = """
import os, sys, threading
from mainspring.store.events import Event
from mainspring.store.opening import open_store
name, most = sys.argv[2], int(sys.argv[3])
store = open_store(sys.argv[1], actor=name)
sql = "INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES (?, ?, 0)"
def work(odd):
    for number in range(odd, most, 2):
        key = f"{name}-{number}"
        if number % 3:
            store.record(lambda t: t.execute(sql, (key, number)))
        else:
            store.change(Event("made", key), lambda t: t.execute(sql, (key, number)))
        os.write(1, f"{key}\\n".encode())
threads = [threading.Thread(target=work, args=(odd,)) for odd in (0, 1)]
for thread in threads: thread.start()
for thread in threads: thread.join()
store.close()
"""


class TestPostgresStore(MetadataStoreSuite):
    @pytest.fixture(autouse=True)
    def _server(self, postgres: Any) -> None:
        self.postgres = postgres

    def open_store(self, place: Path, clock: Clock) -> Store:
        return PostgresStore(self.postgres.address(place), actor="suite", clock=clock)

    def test_a_value_that_it_cannot_hold_is_told_and_spoils_no_other_write(self, store: Store) -> None:
        for value in ("a\0b", 1 << 70):
            with pytest.raises(Invalid, match="no room for a value"):
                store.read("SELECT 1 WHERE ? = ?", (value, value))
        with pytest.raises(Invalid, match="no room for a value"):
            store.record(partial(put, "a\0b", 1))
        store.record(partial(put, "fine", 2))
        assert store.read("SELECT journal FROM journal_offsets") == [("fine",)]

    def test_names_that_only_one_backend_would_take_mean_the_same(self, store: Store) -> None:
        for number, name in enumerate(("b", "B", "é", "a", "_")):
            store.record(partial(put, name, number))
        names = [row[0] for row in store.read("SELECT journal FROM journal_offsets ORDER BY journal")]
        assert names == sorted(names)
        (row,) = store.read(
            "SELECT sum(offset_bytes), avg(offset_bytes), 1 < 2, CAST(count(*) AS TEXT), '?' FROM journal_offsets"
        )
        assert row == (10, 2.0, 1, "5", "?")
        assert [type(each) for each in row] == [int, float, int, str, str]


@pytest.fixture
def address(postgres: Any, tmp_path: Path) -> str:
    return postgres.address(tmp_path)


@pytest.fixture
def store(address: str) -> Iterator[PostgresStore]:
    opened = PostgresStore(address, actor="ada")
    yield opened
    opened.close()


def put(name: str, number: int, transaction: Transaction) -> None:
    sql = "INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES (?, ?, 0)"
    transaction.execute(sql, (name, number))


def kept(store: Store) -> list[str]:
    return [row[0] for row in store.read("SELECT journal FROM journal_offsets ORDER BY offset_bytes")]


def end_connections(postgres: Any) -> None:
    postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()")


def start(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WRITER, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_processes_that_are_killed_lose_nothing_acknowledged_and_leave_one_chain(address: str) -> None:
    chance = random.Random(17)
    acknowledged: set[str] = set()
    for round_ in range(3):
        children = [start(address, f"{name}{round_}", 60 if name != "a" else 100_000) for name in "abcd"]
        victim = children[0]
        assert victim.stdout is not None
        lines = [victim.stdout.readline() for _ in range(chance.randrange(1, 60))]
        victim.send_signal(signal.SIGKILL)
        # not `communicate`, which would not see what `readline` has read ahead
        acknowledged |= {line.strip() for line in lines} | set(victim.stdout.read().split("\n")[:-1])
        victim.communicate(timeout=60)
        for child in children[1:]:
            output, errors = child.communicate(timeout=60)
            assert child.returncode == 0, errors
            acknowledged |= set(output.split())
    store = PostgresStore(address)
    found = set(kept(store))
    assert acknowledged <= found
    assert len(found) - len(acknowledged) <= 3 * 2  # written and not yet said: one a thread of each victim
    assert {event.subject for event in events(store)} == {key for key in found if int(key.partition("-")[2]) % 3 == 0}
    assert verify_chain(store) == len([key for key in found if int(key.partition("-")[2]) % 3 == 0])
    store.close()


def test_processes_that_open_a_new_database_at_once_all_get_in(address: str) -> None:
    children = [start(address, name, 3) for name in "abcd"]
    told = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 4, told


def test_connections_that_died_while_they_idled_are_replaced_unnoticed(store: PostgresStore, postgres: Any) -> None:
    store.record(partial(put, "before", 1))
    assert kept(store) == ["before"]
    end_connections(postgres)
    store.change(Event("made", "after"), partial(put, "after", 2))
    end_connections(postgres)
    assert kept(store) == ["before", "after"]
    assert verify_chain(store) == 1


def test_a_server_that_goes_away_is_unavailable_and_back_with_everything(store: PostgresStore, postgres: Any) -> None:
    store.record(partial(put, "before", 1))
    postgres.stop()
    try:
        for use in (lambda: store.record(partial(put, "lost", 2)), lambda: kept(store)):
            with pytest.raises(Unavailable, match="cannot be used"):
                use()
    finally:
        postgres.start()
    store.record(partial(put, "after", 3))
    assert kept(store) == ["before", "after"]


def test_a_write_whose_connection_dies_under_it_is_unavailable_and_undone(store: PostgresStore, postgres: Any) -> None:
    def write(transaction: Transaction) -> None:
        put("lost", 1, transaction)
        end_connections(postgres)
        put("lost too", 2, transaction)

    with pytest.raises(Unavailable, match="cannot be used"):
        store.record(write)
    assert kept(store) == []
    store.record(partial(put, "after", 3))
    assert kept(store) == ["after"]


def test_a_write_that_swallows_a_failed_statement_is_not_taken_for_kept(store: PostgresStore) -> None:
    def write(transaction: Transaction) -> None:
        put("a", 1, transaction)
        with contextlib.suppress(Exception):
            put("a", 2, transaction)

    with pytest.raises(AssertionError, match="had failed"):
        store.record(write)
    assert kept(store) == []


def test_a_wrong_statement_is_not_taken_for_an_outage(store: PostgresStore) -> None:
    for use in (
        lambda: store.record(lambda t: t.execute("INSERT INTO nowhere VALUES (1)")),
        lambda: store.read("SELECT 1 FROM nowhere"),
    ):
        with pytest.raises(Exception, match="nowhere") as told:
            use()
        assert not isinstance(told.value, Unavailable)
    assert store.read("SELECT 1") == [(1,)]


def test_more_threads_than_readers_share_them(store: PostgresStore, postgres: Any) -> None:
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(store.read("SELECT 1 FROM pg_sleep(0.01)")[0][0]))
        for _ in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [1] * 40
    assert len(store._idle) <= 8


def test_the_password_of_the_address_is_never_told(address: str) -> None:
    for wrong in (
        "postgresql://ada:s3cret@127.0.0.1:1/facts",
        "postgresql://ada:s3cret@[broken/facts",
        "postgresql://ada:s3cret@/facts?nonsense=s3cret",
    ):
        with pytest.raises((Unavailable, Invalid)) as told:
            open_store(wrong)
        assert "s3cret" not in str(told.value)
        assert told.value.next_step


def test_an_address_of_no_backend_is_refused() -> None:
    with pytest.raises(Invalid, match="cannot use the store `mysql`"):
        open_store("mysql://somewhere/facts")


def test_a_newer_database_is_refused_and_left_alone(store: PostgresStore, address: str) -> None:
    store.record(lambda t: t.execute("INSERT INTO migrations (name, ran_at) VALUES ('m9999_add_wings', '')"))
    with pytest.raises(Conflict, match=r"newer Mainspring .*m9999_add_wings"):
        PostgresStore(address)


def test_numbers_go_on_behind_those_a_migration_copied(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    PostgresStore(address).close()

    def m9999_copy(transaction: Transaction) -> None:
        transaction.execute(
            "INSERT INTO alias_moves (number, model, alias, at, actor, reason) VALUES (41, 'm', 'a', '', '', '')"
        )

    monkeypatch.setattr("mainspring.store.postgres.MIGRATIONS", (*MIGRATIONS, m9999_copy))
    store = PostgresStore(address)
    sql = "INSERT INTO alias_moves (model, alias, at, actor, reason) VALUES ('m', 'a', '', '', '') RETURNING number"
    assert store.record(lambda t: t.execute(sql)) == [(42,)]
    store.close()


def test_a_forked_child_may_not_use_the_parents_store(store: PostgresStore) -> None:
    store.read("SELECT 1")
    child = os.fork()
    if child == 0:
        said = []
        for use in (lambda: store.read("SELECT 1"), lambda: store.record(lambda _: None)):
            try:
                use()
            except Unavailable as error:
                said.append("forked" in error.what)
        store.close()
        os._exit(0 if said == [True, True] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert store.read("SELECT 1") == [(1,)]
    assert store.record(lambda _: 1) == 1
