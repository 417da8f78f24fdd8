"""Ids sort by birth, in one process whatever its clock does, and are told apart in all."""

import os
import re
import threading

import pytest

from mainspring.domain import ids
from mainspring.domain.ids import born_at_ms, id_floor, new_id


def test_ids_are_uuids_of_version_7() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15}", new_id())


def test_ids_rise_even_when_thousands_are_born_in_a_millisecond(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_700_000_000_000_000_000)
    made = [new_id() for _ in range(10_000)]
    assert made == sorted(set(made))


def test_ids_rise_when_the_clock_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id()
    monkeypatch.setattr(ids.time, "time_ns", lambda: 0)
    assert new_id() > before


def test_ids_of_many_threads_are_distinct_and_rise_in_each() -> None:
    made: list[list[str]] = [[] for _ in range(4)]
    threads = [threading.Thread(target=lambda mine=mine: mine.extend(new_id() for _ in range(2000))) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(each == sorted(each) for each in made)
    assert len({each for some in made for each in some}) == 8000


def test_a_forked_child_makes_other_ids() -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 32).decode() != new_id()
    os.close(reader), os.close(writer)


def test_an_id_tells_when_it_was_born(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_last", 0)
    monkeypatch.setattr(ids.time, "time_ns", lambda: 1_365_000_000_123_456_789)
    made = new_id()
    assert born_at_ms(made) == 1_365_000_000_123
    assert id_floor(1_365_000_000_123) <= made < id_floor(1_365_000_000_124)
