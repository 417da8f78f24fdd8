"""The SQLite store: the public suite, and what only real processes, kills, full disks and damaged files can show."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mainspring.domain.moments import Clock
from mainspring.errors import Conflict, Corrupt, Unavailable
from mainspring.store.events import Event, events, verify_chain
from mainspring.store.protocol import Store, Transaction
from mainspring.store.sqlite import SqliteStore
from mainspring.testing.metadata_store import MetadataStoreSuite

INSERT = "INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES (?, ?, 0)"

# Writes facts and changes in turn from two threads, and says each number once it was acknowledged.
WRITER = """
import os, sys, threading
from pathlib import Path
from mainspring.store.events import Event
from mainspring.store.sqlite import SqliteStore
name, most = sys.argv[2], int(sys.argv[3])
store = SqliteStore(Path(sys.argv[1]), actor=name)
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
"""

OPENER = """
import sys
from pathlib import Path
from mainspring.store.sqlite import SqliteStore
print("here", flush=True)
sys.stdin.readline()
store = SqliteStore(Path(sys.argv[1]))
print(len(store.read("SELECT name FROM migrations")))
store.close()
"""

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from mainspring.errors import Unavailable
from mainspring.store.events import Event
from mainspring.store.sqlite import SqliteStore
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = SqliteStore(Path(sys.argv[1]))
sql = "INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES (?, ?, 0)"
store.record(lambda t: t.execute(sql, ("before", 1)))
size = max(each.stat().st_size for each in Path(sys.argv[1]).parent.iterdir())
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, hard))
for _ in range(2):
    try:
        store.change(Event("a", "b"), lambda t: t.execute(sql, ("lost" * 100_000, 1)))
    except Unavailable as error:
        print(error.what)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
store.record(lambda t: t.execute(sql, ("after", 1)))
print([row[0] for row in store.read("SELECT journal FROM journal_offsets ORDER BY journal")])
store.close()
"""

READ_ONLY = """
import os, sys
from pathlib import Path
from mainspring.errors import Unavailable
from mainspring.store.sqlite import SqliteStore
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
try:
    SqliteStore(Path(sys.argv[1]))
except Unavailable as error:
    print(error)
"""


class TestSqliteStore(MetadataStoreSuite):
    def open_store(self, place: Path, clock: Clock) -> Store:
        return SqliteStore(place / "store.sqlite", actor="suite", clock=clock)


@pytest.fixture
def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "store.sqlite", actor="ada")
    yield opened
    opened.close()


def start(program: str, *arguments: object, stdin: int | None = None) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_writes_that_queue_up_share_a_commit_and_a_bad_one_is_alone(store: SqliteStore) -> None:
    inside, let_go = threading.Event(), threading.Event()

    def hold(transaction: Transaction) -> None:
        inside.set()
        assert let_go.wait(30)

    said: dict[int, str] = {}

    def write(number: int) -> None:
        sql = INSERT if number != 5 else "INSERT INTO nowhere VALUES (1)"
        try:
            store.record(lambda t: t.execute(sql, ("x" if number in (6, 7) else str(number), number)[: sql.count("?")]))
            said[number] = "kept"
        except sqlite3.Error as error:
            said[number] = type(error).__name__

    first = threading.Thread(target=store.record, args=(hold,))
    first.start()
    assert inside.wait(30)
    others = [threading.Thread(target=write, args=(number,)) for number in range(10)]
    for thread in others:
        thread.start()
    while store._group._queue.qsize() < len(others):  # all of them wait behind the first, and so for one commit
        pass
    let_go.set()
    for thread in (first, *others):
        thread.join()
    assert sorted(said) == list(range(10))
    assert said[5] == "OperationalError"
    assert sorted((said[6], said[7])) == ["IntegrityError", "kept"]
    kept = store.read("SELECT count(*) FROM journal_offsets")[0][0]
    assert kept == list(said.values()).count("kept") == 8


def test_a_wrong_statement_is_not_taken_for_an_outage(store: SqliteStore) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.record(lambda t: t.execute("INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(sqlite3.OperationalError, match="no such column"):
        store.read("SELECT wings FROM events")


def test_a_write_inside_a_write_is_refused_instead_of_waiting_for_ever(store: SqliteStore) -> None:
    with pytest.raises(AssertionError, match="wait for itself"):
        store.record(lambda _: store.record(lambda __: None))
    assert store.record(lambda _: "goes on") == "goes on"


def test_eight_processes_write_one_file_without_being_locked_out(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    children = [start(WRITER, path, name, 200) for name in "abcdefgh"]
    told = [child.communicate(timeout=60) for child in children]
    assert [child.returncode for child in children] == [0] * 8, told
    assert all("locked" not in errors for _, errors in told)
    store = SqliteStore(path)
    assert store.read("SELECT count(*) FROM journal_offsets") == [(1600,)]
    assert verify_chain(store) == 8 * 67
    store.close()


def test_what_was_acknowledged_survives_a_kill_at_any_moment(tmp_path: Path) -> None:
    chance = random.Random(13)
    path = tmp_path / "store.sqlite"
    acknowledged: set[str] = set()
    for round_ in range(5):
        children = [start(WRITER, path, f"{name}{round_}", 150 if name != "a" else 100_000) for name in "abcd"]
        victim = children[0]
        assert victim.stdout is not None
        assert victim.stderr is not None
        lines = [victim.stdout.readline() for _ in range(chance.randrange(1, 60))]
        victim.send_signal(signal.SIGKILL)
        rest = victim.stdout.read()
        acknowledged |= {line.strip() for line in lines} | set(rest.split("\n")[:-1])
        victim.stdout.close()
        victim.stderr.close()
        victim.wait()
        for child in children[1:]:
            output, errors = child.communicate(timeout=60)
            assert child.returncode == 0, errors
            acknowledged |= set(output.split())
    store = SqliteStore(path)
    kept = {row[0] for row in store.read("SELECT journal FROM journal_offsets")}
    assert acknowledged <= kept
    assert len(kept) - len(acknowledged) <= 5 * 2  # written and not yet said: one a thread of each victim
    told = {event.subject for event in events(store)}
    assert told == {key for key in kept if int(key.partition("-")[2]) % 3 == 0}
    verify_chain(store)
    store.close()


def test_processes_that_open_a_new_file_at_once_all_get_in(tmp_path: Path) -> None:
    for round_ in range(3):
        path = tmp_path / str(round_) / "store.sqlite"
        children = [start(OPENER, path, stdin=subprocess.PIPE) for _ in range(4)]
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "here\n"
        told = [child.communicate("go\n", timeout=60) for child in children]
        assert [child.returncode for child in children] == [0] * 4, told
        assert len({output for output, _ in told}) == 1


def test_threads_that_open_a_new_file_at_once_all_get_in(tmp_path: Path) -> None:
    for round_ in range(60):
        opened: list[SqliteStore] = []
        path = tmp_path / f"{round_}.sqlite"
        threads = [
            threading.Thread(target=lambda path=path, opened=opened: opened.append(SqliteStore(path))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(opened) == 4
        for store in opened:
            store.close()


def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    store.record(lambda t: t.execute("INSERT INTO migrations (name, ran_at) VALUES ('m9999_add_wings', '')"))
    store.close()
    before = path.read_bytes()
    with pytest.raises(Conflict, match=r"newer Mainspring .*m9999_add_wings.*\n.*pip install --upgrade"):
        SqliteStore(path)
    assert path.read_bytes() == before


def test_a_full_disk_is_unavailable_keeps_what_was_there_and_heals(tmp_path: Path) -> None:
    child = start(FULL_DISK, tmp_path / "store.sqlite")
    output, errors = child.communicate(timeout=60)
    assert child.returncode == 0, errors
    first, second, kept = output.splitlines()
    assert "cannot be used" in first
    assert "cannot be used" in second
    assert kept == "['after', 'before']"


def test_a_database_at_its_limit_is_unavailable_for_the_whole_group(store: SqliteStore) -> None:
    store.record(lambda t: t.execute("PRAGMA max_page_count=1"))
    with pytest.raises(Unavailable, match="full"):
        store.change(Event("a", "b"), lambda t: t.execute(INSERT, ("x" * 100_000, 1)))
    store.record(lambda t: t.execute("PRAGMA max_page_count=1000000"))
    store.change(Event("a", "b"), lambda t: t.execute(INSERT, ("x" * 100_000, 1)))
    assert verify_chain(store) == 1


def test_a_file_that_may_not_be_written_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    SqliteStore(path).close()
    path.chmod(0o444)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o555 if folder == tmp_path else 0o755)
    try:
        child = start(READ_ONLY, path)
        output, errors = child.communicate(timeout=60)
    finally:
        tmp_path.chmod(0o755)
    assert "The metadata database cannot be used" in output, errors
    assert str(path) in output


def test_a_place_that_cannot_be_a_database_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path, tmp_path / "file" / "store.sqlite"):
        with pytest.raises(Unavailable):
            SqliteStore(path)


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.write_bytes(b"certainly no database, but long enough to be looked at\n" * 100)
    with pytest.raises(Corrupt, match="damaged"):
        SqliteStore(path)


def test_a_damaged_page_is_corrupt_where_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    store = SqliteStore(path)
    store.record(lambda t: t.execute_many(INSERT, ((f"{number:0200d}", number) for number in range(5000))))
    store.close()
    data = bytearray(path.read_bytes())
    data[len(data) // 2 :] = b"\xff" * (len(data) - len(data) // 2)
    path.write_bytes(data)
    store = SqliteStore(path)
    with pytest.raises(Corrupt):
        store.read("SELECT sum(length(journal)) FROM journal_offsets NOT INDEXED")
    store.close()


def test_a_forked_child_may_not_use_the_parents_store(store: SqliteStore) -> None:
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
    assert store.record(lambda _: 1) == 1


def test_a_thread_that_ends_lets_go_of_its_connection(store: SqliteStore) -> None:
    for _ in range(20):
        thread = threading.Thread(target=store.read, args=("SELECT 1",))
        thread.start()
        thread.join()
    assert len(store._readers) == 0
    assert len(os.listdir("/proc/self/fd")) < 200


def test_close_waits_for_a_query_that_runs(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.sqlite")
    begun = threading.Event()
    counted: list[int] = []

    def look() -> None:
        store._reader().connection.create_function("begin", 0, begun.set)
        slow = (
            "WITH RECURSIVE n(i) AS (SELECT begin() IS NULL UNION ALL SELECT i + 1 FROM n WHERE i < 300000)"
            " SELECT count(*) FROM n"
        )
        counted.append(store.read(slow)[0][0])

    thread = threading.Thread(target=look)
    thread.start()
    assert begun.wait(30)
    store.close()
    thread.join()
    assert counted == [300_000]


def test_the_chain_is_the_documented_one(store: SqliteStore) -> None:
    import hashlib

    store.change(Event("made", "é", {"b": 1, "a": [None, True]}), lambda _: None)
    (row,) = store.read("SELECT number, at, recorded_at, actor, verb, subject, details, hash FROM events")
    assert row[6] == '{"a":[null,true],"b":1}'
    assert row[7] == hashlib.sha256(json.dumps(["0" * 64, *row[:7]], separators=(",", ":")).encode()).hexdigest()
