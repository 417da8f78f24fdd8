"""Logins: who is let in by what, what fails and how long it waits, and that nothing secret is kept or written."""

import base64
from datetime import UTC, datetime, timedelta

import pytest

from mainspring.access.login import Actor, Login
from mainspring.access.passwords import hash_password, is_password
from mainspring.access.roles import Resource
from mainspring.access.tokens import create_token, list_tokens, parse_scope, revoke_token
from mainspring.access.users import (
    check_holds,
    create_user,
    find_user,
    list_users,
    set_password,
    set_roles,
    switch_user,
)
from mainspring.errors import Conflict, Denied, Invalid, NotFound, Throttled, Unauthenticated
from mainspring.store.events import events, verify_chain

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HERE = "127.0.0.1"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def test_a_password_is_kept_as_a_hash_that_says_how_it_was_made() -> None:
    kept = hash_password("correct horse")
    assert kept.startswith("scrypt$16384$8$")
    assert "correct" not in kept
    assert is_password("correct horse", kept)
    assert not is_password("correct horsE", kept)
    assert not is_password("correct horse", "")
    assert hash_password("correct horse") != kept
    for short in ("", "1234567", "x" * 1025):
        with pytest.raises(Invalid):
            hash_password(short)


def test_a_password_lets_its_user_in_and_a_changed_one_ends_it(login: Login, store) -> None:
    header = basic("eve", "battery staple")
    assert login.who(header, HERE) == login.who(header, HERE) == Actor("eve", ("reviewer",))
    set_password(store, "eve", "another one", actor="ada")
    with pytest.raises(Unauthenticated):
        login.who(header, HERE)
    assert login.who(basic("eve", "another one"), HERE).name == "eve"
    set_roles(store, "eve", ["viewer"], actor="ada")
    assert login.who(basic("eve", "another one"), HERE).roles == ("viewer",)
    switch_user(store, "eve", is_active=False, actor="ada")
    with pytest.raises(Unauthenticated):
        login.who(basic("eve", "another one"), HERE)


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic " + "A" * 7,
        basic("", ""),
        basic("ada", ""),
        basic("nobody", "correct horse"),
        basic("bot", ""),
        "Bearer",
        "Bearer x",
        "Bearer ms_000000000000_" + "A" * 43,
        "Bearer a.b.c",
        "Digest x",
        "\xff\0",
    ],
)
def test_what_is_no_login_is_refused(login: Login, header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        login.who(header, HERE)


def test_without_a_required_login_the_workspaces_user_may_all(store) -> None:
    login = Login(store, owner="me", is_required=False)
    actor = login.who(None, HERE)
    assert actor == Actor("me", None)
    login.authorise(actor, "delete", Resource("models", "m"))
    with pytest.raises(Unauthenticated):  # who shows something is looked at all the same
        login.who(basic("ada", "wrong"), HERE)
    assert login.who(basic("eve", "battery staple"), HERE).roles == ("reviewer",)


def test_a_token_is_shown_once_and_only_its_hash_is_kept(login: Login, store, clock) -> None:
    token, text = create_token(store, "bot", name="ci", lasts=timedelta(days=1), actor="ada", at=NOW)
    secret = text.rpartition("_")[2] if text.count("_") == 2 else text[len("ms_") + 13 :]
    assert login.who(f"Bearer {text}", HERE) == Actor("bot", ("data-scientist",))
    assert login.who(basic("bot", text), HERE) == Actor("bot", ("data-scientist",))
    with pytest.raises(Unauthenticated):
        login.who(basic("ada", text), HERE)
    rows = [*store.read("SELECT * FROM tokens"), *store.read("SELECT * FROM events")]
    assert all(secret not in str(row) for row in rows)
    assert secret not in str(list_tokens(store))
    clock.advance_to(NOW + timedelta(days=1))
    with pytest.raises(Unauthenticated):
        login.who(f"Bearer {text}", HERE)
    assert token.expires_at is not None


def test_a_token_ends_when_it_is_revoked_or_its_owner_is_switched_off(login: Login, store) -> None:
    one, text = create_token(store, "bot", actor="ada", at=NOW)
    _, other = create_token(store, "bot", actor="ada", at=NOW)
    revoke_token(store, one.token_id, actor="ada", at=NOW), revoke_token(store, one.token_id, actor="ada", at=NOW)
    with pytest.raises(Unauthenticated):
        login.who(f"Bearer {text}", HERE)
    assert login.who(f"Bearer {other}", HERE).name == "bot"
    switch_user(store, "bot", is_active=False, actor="ada")
    with pytest.raises(Unauthenticated):
        login.who(f"Bearer {other}", HERE)
    assert len(events(store, verb="token.revoked")) == 1
    with pytest.raises(NotFound):
        revoke_token(store, "none", actor="ada", at=NOW)


def test_a_scope_narrows_what_the_owner_may(login: Login, store) -> None:
    _, text = create_token(store, "bot", scope=["read", "write:runs"], actor="ada", at=NOW)
    actor = login.who(f"Bearer {text}", HERE)
    assert login.may(actor, "read", Resource("models", "m"))
    assert login.may(actor, "write", Resource("runs"))
    assert not login.may(actor, "write", Resource("experiments"))
    assert not login.may(actor, "read", Resource("users"))
    assert parse_scope(["write+delete:models/a*"])[0].resources == ("models/a*",)
    for wrong in ("reed", "read:modles", "read+:runs", "read:runs/7", ""):
        with pytest.raises(Invalid):
            create_token(store, "bot", scope=[wrong], actor="ada", at=NOW)
    for lasts in (timedelta(0), timedelta(days=-1), timedelta(days=99999)):
        with pytest.raises(Invalid):
            create_token(store, "bot", lasts=lasts, actor="ada", at=NOW)
    with pytest.raises(NotFound, match="no user `nobody`"):
        create_token(store, "nobody", actor="ada", at=NOW)


def test_a_denial_is_in_the_chain_with_what_was_asked(login: Login, store) -> None:
    with pytest.raises(Denied, match="`eve` may not delete models/m"):
        login.authorise(login.who(basic("eve", "battery staple"), HERE), "delete", Resource("models", "m"))
    (told,) = events(store, verb="access.denied")
    assert (told.actor, told.subject, told.details["verb"]) == ("eve", "models/m", "delete")
    assert verify_chain(store) == len(events(store))


def test_failures_wait_longer_and_longer_but_only_from_their_address(login: Login, store, clock) -> None:
    wrong, right = basic("eve", "battery stapl"), basic("eve", "battery staple")
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            login.who(wrong, "10.0.0.1")
    for header in (wrong, right):
        with pytest.raises(Throttled, match="wait 1 seconds"):
            login.who(header, "10.0.0.1")
    assert login.who(right, "10.0.0.2").name == "eve"
    clock.advance_to(NOW + timedelta(seconds=1))
    with pytest.raises(Unauthenticated):
        login.who(wrong, "10.0.0.1")
    with pytest.raises(Throttled, match="wait 2 seconds"):
        login.who(basic("eve", "battery stable"), "10.0.0.1")
    clock.advance_to(NOW + timedelta(seconds=5))
    assert login.who(right, "10.0.0.1").name == "eve"
    told = events(store, verb="access.login_failed")
    assert len(told) == 6
    assert told[0].subject == "users/eve"
    assert "stapl" not in str(told)


def test_an_address_that_tries_many_names_waits_too(login: Login) -> None:
    for number in range(50):
        with pytest.raises(Unauthenticated):
            login.who(basic(f"name{number}", "battery staple"), HERE)
    with pytest.raises(Throttled):
        login.who(basic("eve", "battery staple"), HERE)


def test_a_name_that_nobody_has_is_not_written_down(login: Login, store) -> None:
    with pytest.raises(Unauthenticated):
        login.who(basic("my-real-password", "x"), HERE)
    assert [event.subject for event in events(store, verb="access.login_failed")] == ["users/?"]


def test_users_are_named_once_and_hold_known_roles(store) -> None:
    assert [each.name for each in list_users(store)] == ["ada", "bot", "eve"]
    with pytest.raises(Conflict):
        create_user(store, "eve", roles=[], actor="ada", at=NOW)
    with pytest.raises(Invalid, match="Did you mean `viewer`"):
        create_user(store, "new", roles=["veiwer"], actor="ada", at=NOW)
    for name in ("", "a b", "a:b", "a/b", "x" * 101):
        with pytest.raises(Invalid, match="not a user name"):
            create_user(store, name, roles=[], actor="ada", at=NOW)
    with pytest.raises(NotFound, match="Did you mean `ada`"):
        find_user(store, "adda")
    check_holds(store, "eve", "reviewer")
    with pytest.raises(Denied):
        check_holds(store, "bot", "reviewer")
