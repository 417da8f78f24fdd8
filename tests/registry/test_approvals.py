"""Approvals: somebody else than the author, and each person once."""

import threading
from datetime import UTC, datetime, timedelta

import pytest

from mainspring.domain.policy import automatic, by
from mainspring.errors import Denied, Invalid
from mainspring.registry.approvals import approve, list_approvals, missing_approvals
from mainspring.store.events import events

NOW = datetime(2013, 4, 1, tzinfo=UTC)


def test_an_approval_is_kept_with_its_words(register, store) -> None:
    version = register("a")
    given = approve(store, version, approver="eve", role="reviewer", comment="good", at=NOW)
    assert list_approvals(store, version) == [given]
    (event,) = events(store, verb="model.approved")
    assert (event.actor, event.subject, event.details) == ("eve", "models/m/1", {"role": "reviewer", "comment": "good"})


def test_the_author_cannot_approve(register, store) -> None:
    version = register("a", author="eve")
    with pytest.raises(Denied, match="`eve` made m/1 and cannot approve it"):
        approve(store, version, approver="eve", role="reviewer", at=NOW)
    with pytest.raises(Invalid, match="needs a name"):
        approve(store, version, approver=" ", role="reviewer", at=NOW)
    assert list_approvals(store, version) == []


def test_approving_twice_is_once_even_at_once(register, store) -> None:
    version = register("a")
    first = approve(store, version, approver="eve", role="reviewer", at=NOW)
    assert approve(store, version, approver="eve", role="owner", at=NOW + timedelta(days=1)) == first
    threads = [
        threading.Thread(target=approve, args=(store, version), kwargs={"approver": "bob", "role": "owner", "at": NOW})
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.approver for each in list_approvals(store, version)] == ["bob", "eve"]
    assert len(events(store, verb="model.approved")) == 2


def test_approvals_count_for_their_role_and_version_only(register, store) -> None:
    version, other = register("a"), register("b")
    for approver, role in (("eve", "reviewer"), ("bob", "owner")):
        approve(store, version, approver=approver, role=role, at=NOW)
    given = list_approvals(store, version)
    assert missing_approvals(by("reviewer", count=2), given) == 1
    assert missing_approvals(by("owner"), given) == 0
    assert missing_approvals(automatic, []) == 0
    assert list_approvals(store, other) == []
