"""Backups of a store in use, and the look at whether one is whole."""

import threading
from functools import partial
from pathlib import Path

import pytest

from mainspring.errors import Conflict, Corrupt, Invalid, Unavailable
from mainspring.store.backup import back_up, check
from mainspring.store.events import Event, verify_chain
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store, Transaction
from mainspring.store.sqlite import SqliteStore


@pytest.fixture
def store(tmp_path: Path):
    opened = SqliteStore(tmp_path / "store.sqlite", actor="ada")
    yield opened
    opened.close()


def pair(number: int, transaction: Transaction) -> None:
    """Write two rows that belong together."""
    for half in ("left", "right"):
        transaction.execute("INSERT INTO journal_offsets VALUES (?, ?, 0)", (f"{half}{number}", number))


def test_a_copy_made_under_writers_is_of_one_instant_and_a_store_of_its_own(store: SqliteStore, tmp_path: Path) -> None:
    stop = threading.Event()
    written: list[int] = []

    def write() -> None:
        while not stop.is_set():
            store.change(Event("made", "pair"), partial(pair, len(written)))
            written.append(1)

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        for number in range(5):
            before = len(written)
            size = back_up(store, tmp_path / f"copy{number}.sqlite")
            assert size == (tmp_path / f"copy{number}.sqlite").stat().st_size
            copy = SqliteStore(tmp_path / f"copy{number}.sqlite")
            ((count,),) = copy.read("SELECT count(*) FROM journal_offsets")
            assert count == 2 * verify_chain(copy)
            assert before <= count // 2 <= len(written) + 1
            counts.append(count)
            copy.close()
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)
    names = {each.name for each in tmp_path.iterdir()}
    assert {each for each in names if each.startswith("copy")} == {f"copy{number}.sqlite" for number in range(5)}
    assert not any(each.startswith(".") for each in names)


def test_a_copy_never_replaces_a_file(store: SqliteStore, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(Conflict, match="exists"):
        back_up(store, tmp_path / "kept")
    with pytest.raises(Unavailable, match="cannot be written"):
        back_up(store, tmp_path / "no" / "such" / "folder")
    assert (tmp_path / "kept").read_text() == "mine"


def test_check_finds_a_damaged_page_and_no_copy_is_made_of_it(store: SqliteStore, tmp_path: Path) -> None:
    store.record(
        lambda t: t.execute_many(
            "INSERT INTO journal_offsets VALUES (?, ?, 0)", ((f"{number:0200d}", number) for number in range(5000))
        )
    )
    assert check(store) == 0
    store.close()
    data = bytearray(store.path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4096] = b"\xff" * 4096
    store.path.write_bytes(data)
    damaged = SqliteStore(store.path)
    with pytest.raises(Corrupt, match="damaged"):
        check(damaged)
    with pytest.raises(Corrupt, match="damaged"):
        back_up(damaged, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()
    damaged.close()


def test_check_finds_a_broken_chain_on_every_backend(store_address: str) -> None:
    store: Store = open_store(store_address)
    for _ in range(3):
        store.change(Event("made", "thing"), lambda _: None)
    assert check(store) == 3
    store.record(lambda t: t.execute("UPDATE events SET actor = 'mallory' WHERE number = 2"))
    with pytest.raises(Corrupt, match="breaks at entry 2"):
        check(store)
    store.close()


def test_postgres_is_left_to_its_own_tools(postgres, tmp_path: Path) -> None:
    store = open_store(postgres.address(tmp_path))
    with pytest.raises(Invalid, match=r"(?s)Only a store on SQLite.*pg_dump"):
        back_up(store, tmp_path / "copy")
    store.close()
