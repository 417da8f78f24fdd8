"""Silences: by pattern, for a time, with a reason; they end by themselves and can be ended."""

from datetime import UTC, datetime, timedelta

import pytest

from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.monitor.silences import end_silence, is_silenced, list_silences, start_silence
from mainspring.registry.models import create_model
from mainspring.store.events import events
from mainspring.store.opening import open_store
from mainspring.store.protocol import Store

NOW = datetime(2013, 4, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def store(store_address: str):
    opened = open_store(store_address, actor="ada")
    create_model(opened, "late", actor="ada", at=NOW)
    yield opened
    opened.close()


def silence(store: Store, pattern: str = "late", lasts: timedelta = 2 * HOUR, reason: str = "the feed moves"):
    return start_silence(store, pattern, lasts=lasts, reason=reason, author="ada", at=NOW)


def silenced(store: Store, key: str, after: timedelta = timedelta(0)) -> bool:
    return is_silenced(store.read, key, to_iso(NOW + after))


@pytest.mark.parametrize(
    ("pattern", "covers", "not_covered"),
    [
        ("late", "late/3/quality", "later/3/quality"),
        ("late/*/drift", "late/3/drift", "late/3/quality"),
        ("*/*/latency", "late/None/latency", "late/3/drift"),
        ("late/?/*", "late/3/quality", "late/13/quality"),
    ],
)
def test_it_covers_what_its_pattern_says_until_its_end(
    store: Store, pattern: str, covers: str, not_covered: str
) -> None:
    silence(store, pattern)
    assert silenced(store, covers)
    assert not silenced(store, not_covered)
    assert silenced(store, covers, 2 * HOUR - timedelta(microseconds=1))
    assert not silenced(store, covers, 2 * HOUR)
    assert not silenced(store, covers, -HOUR)


def test_it_is_ended_before_its_time_and_both_are_in_the_chain(store: Store) -> None:
    made = silence(store)
    assert [each.silence_id for each in list_silences(store, at=NOW)] == [made.silence_id]
    end_silence(store, made.silence_id[-8:], actor="eve", at=NOW + HOUR)
    assert not silenced(store, "late/1/quality", HOUR)
    assert list_silences(store, at=NOW + HOUR) == []
    assert len(list_silences(store)) == 1
    with pytest.raises(Conflict, match="over already"):
        end_silence(store, made.silence_id, actor="eve", at=NOW + HOUR)
    told = [(each.verb, each.actor) for each in events(store)]
    assert told[1:] == [("silence.started", "ada"), ("silence.ended", "eve")]


def test_none_is_for_ever_without_a_reason_or_of_nothing(store: Store) -> None:
    for words, said in (
        ({"lasts": timedelta(days=91)}, "is not possible"),
        ({"lasts": timedelta(0)}, "is not possible"),
        ({"reason": "  "}, "needs a reason"),
        ({"pattern": " /"}, "nothing to silence"),
    ):
        with pytest.raises(Invalid, match=said):
            silence(store, **words)
    with pytest.raises(NotFound, match="No silence has the id"):
        end_silence(store, "abcd", actor="eve", at=NOW)
    assert list_silences(store) == []
