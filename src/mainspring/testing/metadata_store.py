"""The conformance suite of `Store`: subclass it, say how to open a store, and pytest does the rest.

    class TestMyStore(MetadataStoreSuite):
        def open_store(self, place: Path, clock: Clock) -> Store:
            return MyStore(place, actor="suite", clock=clock)

Two calls with the same `place` must give two stores on the same facts, as two processes would have them. The suite
writes to tables that the migrations make, in the subset of SQL that all backends share.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from mainspring.domain.moments import Clock, SimulatedClock, to_iso
from mainspring.errors import Corrupt, Unavailable
from mainspring.store.events import Event, events, verify_chain
from mainspring.store.migrations import MIGRATIONS
from mainspring.store.protocol import Store, Transaction

__all__ = ["MetadataStoreSuite"]

_START = datetime(2013, 4, 1, tzinfo=UTC)
_INSERT = "INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES (?, ?, 0)"


class MetadataStoreSuite:
    """What every metadata store must do, as tests. The store's actor must be ``suite``."""

    def open_store(self, place: Path, clock: Clock) -> Store:
        """Open a store whose facts live at `place`."""
        raise NotImplementedError("a subclass says how its store is opened")

    @pytest.fixture
    def clock(self) -> SimulatedClock:
        """The clock of the store under test."""
        return SimulatedClock(_START)

    @pytest.fixture
    def store(self, tmp_path: Path, clock: SimulatedClock) -> Iterator[Store]:
        """A new, empty store."""
        opened = self.open_store(tmp_path / "store", clock)
        yield opened
        opened.close()

    def test_a_record_is_read_back_with_its_types(self, store: Store) -> None:
        row = ("é", 2**62, "'; --?", None, 0.1)
        sql = (
            "INSERT INTO run_steps (run_id, number, name, ended_at, cpu_seconds, key, status, cached, reason, opaque,"
            " attempts, error, started_at) VALUES (?, ?, ?, ?, ?, '', '', 0, '', '', 1, '', '')"
        )
        store.record(lambda t: t.execute(sql, row))
        assert store.read("SELECT run_id, number, name, ended_at, cpu_seconds FROM run_steps") == [row]

    def test_a_write_returns_what_its_function_returns(self, store: Store) -> None:
        assert store.record(lambda _: 7) == 7
        assert store.change(Event("a", "b"), lambda _: [1]) == [1]

    def test_a_transaction_reads_its_own_writes(self, store: Store) -> None:
        def write(transaction: Transaction) -> int:
            transaction.execute(_INSERT, ("a", 3))
            found: int = transaction.execute("SELECT offset_bytes FROM journal_offsets")[0][0]
            return found

        assert store.record(write) == 3

    def test_execute_many_writes_every_row(self, store: Store) -> None:
        store.record(lambda t: t.execute_many(_INSERT, ((str(number), number) for number in range(1000))))
        assert store.read("SELECT count(*), sum(offset_bytes) FROM journal_offsets") == [(1000, 499_500)]

    def test_a_failing_write_leaves_nothing_and_its_error_reaches_the_caller(self, store: Store) -> None:
        def write(transaction: Transaction) -> None:
            transaction.execute(_INSERT, ("a", 1))
            raise LookupError("changed its mind")

        with pytest.raises(LookupError, match="changed its mind"):
            store.record(write)
        assert store.read("SELECT * FROM journal_offsets") == []

    def test_a_failing_write_takes_none_of_its_neighbours_with_it(self, store: Store) -> None:
        failed: list[int] = []

        def write(number: int) -> None:
            def work(transaction: Transaction) -> None:
                transaction.execute(_INSERT, (str(number), number))
                if number % 3 == 0:
                    raise LookupError(str(number))

            try:
                store.record(work)
            except LookupError as error:
                failed.append(int(str(error)))

        _at_once([partial(write, number) for number in range(60)])
        kept = [row[0] for row in store.read("SELECT offset_bytes FROM journal_offsets ORDER BY offset_bytes")]
        assert kept == [number for number in range(60) if number % 3]
        assert sorted(failed) == list(range(0, 60, 3))

    def test_submitted_writes_are_kept_in_their_order_and_durable_when_answered(
        self, store: Store, tmp_path: Path, clock: SimulatedClock
    ) -> None:
        seen: list[int] = []
        other = self.open_store(tmp_path / "store", clock)
        futures = [store.submit(partial(_insert_and_count, number)) for number in range(50)]
        futures[-1].add_done_callback(lambda _: _count(other, seen))
        assert [future.result(60) for future in futures] == list(range(1, 51))
        _count(other, seen)
        assert set(seen) == {50}
        other.close()

    def test_a_submitted_change_keeps_its_event_and_a_failing_one_tells_its_future(self, store: Store) -> None:
        made = store.submit(partial(_insert, 1), Event("thing.made", "things/1"))
        nothing = store.submit(partial(_insert_and_count, 2), lambda _: None)
        again = store.submit(partial(_insert, 1), Event("thing.made", "things/1"))
        made.result(60)
        assert nothing.result(60) == 2
        with pytest.raises(Exception, match=r"(?i)unique"):
            again.result(60)
        assert [event.subject for event in events(store)] == ["things/1"]
        assert store.read("SELECT offset_bytes FROM journal_offsets") == [(1,)]

    def test_a_write_that_is_cancelled_while_it_queues_never_runs(self, store: Store) -> None:
        inside, let_go = threading.Event(), threading.Event()

        def hold(_: Transaction) -> None:
            inside.set()
            assert let_go.wait(60)

        held = store.submit(hold)
        assert inside.wait(60)
        dropped, kept = store.submit(partial(_insert, 1)), store.submit(partial(_insert, 2))
        assert dropped.cancel()
        assert not held.cancel()
        let_go.set()
        kept.result(60)
        assert store.read("SELECT offset_bytes FROM journal_offsets") == [(2,)]

    def test_an_asyncio_server_awaits_many_writes_at_once(self, store: Store) -> None:
        async def serve() -> list[None]:
            writes = [asyncio.wrap_future(store.submit(partial(_insert, number))) for number in range(100)]
            return await asyncio.gather(*writes)

        assert asyncio.run(serve()) == [None] * 100
        assert store.read("SELECT count(*) FROM journal_offsets") == [(100,)]

    def test_a_change_keeps_its_row_and_its_event(self, store: Store, clock: SimulatedClock) -> None:
        clock.advance_to(_START + timedelta(days=3))
        store.change(Event("thing.made", "things/1", {"why": "é"}), lambda t: t.execute(_INSERT, ("a", 1)))
        (event,) = events(store)
        assert (event.number, event.actor, event.verb, event.subject) == (1, "suite", "thing.made", "things/1")
        assert event.details == {"why": "é"}
        assert event.at == to_iso(_START + timedelta(days=3)) != event.recorded_at
        assert len(store.read("SELECT * FROM journal_offsets")) == 1

    def test_a_failing_change_keeps_neither_row_nor_event(self, store: Store) -> None:
        def write(transaction: Transaction) -> None:
            transaction.execute(_INSERT, ("a", 1))
            raise LookupError

        with pytest.raises(LookupError):
            store.change(Event("thing.made", "things/1"), write)
        assert events(store) == []
        assert store.read("SELECT * FROM journal_offsets") == []

    def test_a_change_whose_event_cannot_be_written_keeps_no_row(self, store: Store) -> None:
        with pytest.raises(TypeError):
            store.change(Event("a", "b", {"no json": object()}), lambda t: t.execute(_INSERT, ("a", 1)))
        assert store.read("SELECT * FROM journal_offsets") == []

    def test_an_event_may_be_made_of_what_the_change_found_out(self, store: Store) -> None:
        made = store.change(lambda number: Event("thing.made", f"things/{number}"), lambda _: 7)
        assert made == 7
        assert [event.subject for event in events(store)] == ["things/7"]

    def test_a_change_without_an_event_is_undone_and_still_answers(self, store: Store) -> None:
        def write(transaction: Transaction) -> str:
            transaction.execute(_INSERT, ("a", 1))
            return "as it was"

        assert store.change(lambda _: None, write) == "as it was"
        assert events(store) == []
        assert store.read("SELECT * FROM journal_offsets") == []

    def test_events_are_found_by_subject_verb_and_number(self, store: Store) -> None:
        for subject in ("models/a/1", "models/a%/1", "models/ab/1", "data/a"):
            store.change(Event("made", subject, actor="ada"), lambda _: None)
        store.change(Event("made.again", "models/a/1"), lambda _: None)
        assert [event.number for event in events(store, subject="models/a/*")] == [1, 5]
        assert [event.number for event in events(store, subject="models/a%*")] == [2]
        assert [event.number for event in events(store, subject="models/a/1", verb="made")] == [1]
        assert [event.number for event in events(store, verb="made*", after=3)] == [4, 5]
        assert [event.number for event in events(store, subject="*", limit=2)] == [1, 2]
        assert [event.actor for event in events(store, after=3)] == ["ada", "suite"]

    def test_the_chain_of_many_writers_holds(self, store: Store, tmp_path: Path, clock: SimulatedClock) -> None:
        other = self.open_store(tmp_path / "store", clock)

        def write(where: Store) -> None:
            for number in range(10):
                where.change(Event("made", f"things/{number}"), lambda _: None)

        _at_once([partial(write, each) for each in (store, other) * 2])
        assert verify_chain(store) == verify_chain(other) == 40
        other.close()

    @pytest.mark.parametrize(
        ("damage", "broken"),
        [
            ("UPDATE events SET details = '{\"n\":9}' WHERE number = 4", 4),
            ("UPDATE events SET actor = 'mallory' WHERE number = 1", 1),
            ("DELETE FROM events WHERE number = 3", 3),
            ("DELETE FROM events WHERE number = 1", 1),
            ("UPDATE events SET number = number - 1 WHERE number > 3", 3),
            ("UPDATE events SET hash = 'x' WHERE number = 6", 6),
            ("INSERT INTO events SELECT 7, at, recorded_at, actor, verb, subject, details, hash FROM events"
             " WHERE number = 6", 7),
            ("INSERT INTO events SELECT 0, at, recorded_at, actor, verb, subject, details, hash FROM events"
             " WHERE number = 1", 1),
        ],
    )  # fmt: skip
    def test_damage_to_the_chain_is_found_and_named(self, store: Store, damage: str, broken: int) -> None:
        self._six_events(store)
        assert verify_chain(store) == 6
        if "number - 1" in damage:
            store.record(lambda t: t.execute("DELETE FROM events WHERE number = 3"))
        store.record(lambda t: t.execute(damage))
        with pytest.raises(Corrupt, match=f"breaks at entry {broken} "):
            verify_chain(store)

    def test_two_entries_that_changed_places_are_found(self, store: Store) -> None:
        self._six_events(store)

        def swap(transaction: Transaction) -> None:
            for old, new in ((2, 100), (5, 2), (100, 5)):
                transaction.execute("UPDATE events SET number = ? WHERE number = ?", (new, old))

        store.record(swap)
        with pytest.raises(Corrupt, match="breaks at entry 2"):
            verify_chain(store)

    def test_a_cut_end_is_found_by_whoever_noted_an_entry(self, store: Store) -> None:
        self._six_events(store)
        last = events(store)[-1]
        store.record(lambda t: t.execute("DELETE FROM events WHERE number > 4"))
        assert verify_chain(store) == 4
        with pytest.raises(Corrupt, match="breaks at entry 5"):
            verify_chain(store, noted=(last.number, last.hash))
        fourth = events(store)[-1]
        assert verify_chain(store, noted=(4, fourth.hash)) == 4
        with pytest.raises(Corrupt, match="breaks at entry 4"):
            verify_chain(store, noted=(4, last.hash))

    def test_acknowledged_writes_are_seen_by_every_thread_and_store(
        self, store: Store, tmp_path: Path, clock: SimulatedClock
    ) -> None:
        other = self.open_store(tmp_path / "store", clock)
        for number in range(20):
            store.record(partial(_insert, number))
            seen: list[int] = []
            _at_once([partial(_count, each, seen) for each in (store, other)])
            assert seen == [number + 1] * 2
            _count(store, seen)
            assert seen[-1] == number + 1
        other.close()

    def test_a_reader_cannot_write(self, store: Store) -> None:
        with pytest.raises(Exception, match=r"read.?only"):
            store.read("INSERT INTO journal_offsets (journal, offset_bytes, ended) VALUES ('a', 1, 0)")
        assert store.read("SELECT * FROM journal_offsets") == []

    def test_a_snapshot_sees_one_instant_while_others_write(self, store: Store) -> None:
        store.record(partial(_insert, 1))

        def look(transaction: Transaction) -> list[int]:
            counts = []
            for number in (2, 3):
                counts.append(transaction.execute("SELECT count(*) FROM journal_offsets")[0][0])
                _at_once([partial(store.record, partial(_insert, number))])
            return counts

        assert store.snapshot(look) == [1, 1]
        assert store.snapshot(look_at := lambda t: t.execute("SELECT count(*) FROM journal_offsets")) == [(3,)]
        with pytest.raises(Exception, match=r"read.?only"):
            store.snapshot(partial(_insert, 4))
        with pytest.raises(LookupError):
            store.snapshot(_fail)
        assert store.snapshot(look_at) == [(3,)]

    def test_every_migration_is_recorded_and_opening_again_runs_none(
        self, store: Store, tmp_path: Path, clock: SimulatedClock
    ) -> None:
        ran = store.read("SELECT name, ran_at FROM migrations ORDER BY name")
        assert [row[0] for row in ran] == [each.__name__ for each in MIGRATIONS]
        other = self.open_store(tmp_path / "store", clock)
        assert other.read("SELECT name, ran_at FROM migrations ORDER BY name") == ran
        other.close()

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        store.close()
        with pytest.raises(Unavailable, match="closed"):
            store.record(lambda _: None)
        with pytest.raises(Unavailable, match="closed"):
            store.submit(lambda _: None)
        with pytest.raises(Unavailable, match="closed"):
            store.read("SELECT 1")

    def test_close_finishes_what_was_queued(self, store: Store, tmp_path: Path, clock: SimulatedClock) -> None:
        kept: list[int] = []

        def write(number: int) -> None:
            try:
                store.record(partial(_insert, number))
            except Unavailable:
                return
            kept.append(number)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(30)]
        for thread in threads:
            thread.start()
        store.close()
        for thread in threads:
            thread.join()
        again = self.open_store(tmp_path / "store", clock)
        rows = again.read("SELECT offset_bytes FROM journal_offsets ORDER BY offset_bytes")
        assert [row[0] for row in rows] == sorted(kept)
        again.close()

    def _six_events(self, store: Store) -> None:
        for number in range(6):
            store.change(Event("made", f"things/{number}", {"n": number}), lambda _: None)


def _insert(number: int, transaction: Transaction) -> None:
    transaction.execute(_INSERT, (str(number), number))


def _fail(_: Transaction) -> None:
    raise LookupError


def _insert_and_count(number: int, transaction: Transaction) -> int:
    _insert(number, transaction)
    count: int = transaction.execute("SELECT count(*) FROM journal_offsets")[0][0]
    return count


def _count(store: Store, seen: list[int]) -> None:
    seen.append(store.read("SELECT count(*) FROM journal_offsets")[0][0])


def _at_once(work: list[Callable[[], object]]) -> None:
    threads = [threading.Thread(target=each) for each in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
