"""Logins over HTTP: who is let in, what is denied, and what of it stands in the audit chain."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.access.roles import KINDS, VERBS
from mainspring.access.tokens import create_token
from mainspring.access.users import create_user, set_roles, switch_user
from mainspring.server.mlflow import MLFLOW_ROUTES
from mainspring.server.native import NATIVE_ROUTES
from mainspring.store.events import events, verify_chain
from mainspring.workspace import Workspace

from .conftest import Server

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def basic(name: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with Workspace(tmp_path / "home", actor="root") as workspace:
        for name, role in (("ada", "admin"), ("eve", "viewer"), ("bob", "data-scientist")):
            create_user(workspace.store, name, roles=[role], password=f"{name}s password", actor="root", at=NOW)
    return tmp_path / "home"


@pytest.fixture
def guarded(home: Path) -> Iterator[Server]:
    started = Server(home, "--login")
    yield started
    started.stop()


def test_a_user_logs_in_as_mlflow_clients_do_and_may_what_the_role_says(guarded: Server, home: Path) -> None:
    path, body = "/api/2.0/mlflow/experiments/create", {"name": "x"}
    nobody = guarded.ask("POST", path, body)
    assert (nobody.status, nobody.json["error_code"]) == (401, "UNAUTHENTICATED")
    assert nobody.headers["www-authenticate"].startswith("Basic")
    assert guarded.ask("POST", path, body, headers=basic("bob", "guess")).status == 401
    denied = guarded.ask("POST", path, body, headers=basic("eve", "eves password"))
    assert (denied.status, denied.json["error_code"]) == (403, "PERMISSION_DENIED")
    assert guarded.ask("POST", path, body, headers=basic("bob", "bobs password")).status == 200
    read = guarded.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=1", headers=basic("eve", "eves password"))
    assert read.json["experiment"]["name"] == "x"
    assert guarded.ask("GET", "/health").status == 200
    with Workspace(home) as workspace:
        told = {event.verb: (event.actor, event.subject) for event in events(workspace.store)}
        assert told["access.login_failed"] == ("bob", "users/bob")
        assert told["access.denied"] == ("eve", "experiments/")
        assert told["experiment.created"] == ("bob", "experiments/1")
        assert verify_chain(workspace.store) == len(events(workspace.store))
        assert "guess" not in str(events(workspace.store))


def test_a_token_is_a_bearer_and_ends_at_once_when_its_owner_does(guarded: Server, home: Path) -> None:
    with Workspace(home) as workspace:
        _, text = create_token(workspace.store, "bob", scope=["read"], actor="root", at=NOW)
        bearer = {"Authorization": f"Bearer {text}"}
        search = {"headers": bearer}
        assert guarded.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", **search).status == 200
        assert guarded.ask("POST", "/api/2.0/mlflow/experiments/create", {"name": "y"}, **search).status == 403
        assert (
            guarded.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", headers=basic("bob", text)).status
            == 200
        )
        switch_user(workspace.store, "bob", is_active=False, actor="root")
        assert guarded.ask("GET", "/api/2.0/mlflow/experiments/get?experiment_id=0", **search).status == 401
        set_roles(workspace.store, "eve", ["data-scientist"], actor="root")
    changed = guarded.ask(
        "POST", "/api/2.0/mlflow/experiments/create", {"name": "y"}, headers=basic("eve", "eves password")
    )
    assert changed.status == 200


def test_who_guesses_has_to_wait(guarded: Server) -> None:
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    asked = [guarded.ask("GET", path, headers=basic("eve", f"guess {number}")) for number in range(6)]
    assert [each.status for each in asked] == [401] * 5 + [429]
    assert (asked[-1].json["error_code"], asked[-1].headers["retry-after"]) == ("REQUEST_LIMIT_EXCEEDED", "5")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--host", "0.0.0.0"), "anybody could ask it"),
        (("--host", "0.0.0.0", "--login"), "there is no user yet"),
        (("--login",), "there is no user yet"),
    ],
)
def test_the_server_does_not_listen_where_nobody_is_asked_who_asks(tmp_path: Path, options, said: str) -> None:
    words = [sys.executable, "-m", "mainspring", "server", "--port", "0", *options]
    ran = subprocess.run(words, env={"MAINSPRING_HOME": str(tmp_path)}, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 2
    assert said in ran.stderr


def test_it_listens_anywhere_with_logins(home: Path) -> None:
    server = Server(home, "--host", "0.0.0.0", "--login")
    server.url = server.url.replace("0.0.0.0", "127.0.0.1")
    path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
    assert server.ask("GET", path).status == 401
    assert server.ask("GET", path, headers=basic("eve", "eves password")).status == 200
    server.stop()


def test_a_page_of_another_site_is_refused(server: Server) -> None:
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}, {"Host": "[x"}):
        refused = server.ask("POST", "/api/2.0/mlflow/experiments/create", {"name": "x"}, headers=headers)
        assert refused.status == 403
    own = {"Origin": server.url}
    assert server.ask("POST", "/api/2.0/mlflow/experiments/create", {"name": "x"}, headers=own).status == 200
    assert server.ask("GET", "/health", headers={"Host": "localhost:5000"}).status == 200


def test_every_route_needs_what_a_role_can_grant() -> None:
    public = set()
    for route in (*MLFLOW_ROUTES, *NATIVE_ROUTES):
        kind, _, verb = route.needs.partition(".")
        if not route.needs:
            public.add(route.path.rpartition("/")[2])
            continue
        assert kind in KINDS, route
        assert verb in VERBS, route
    # what anybody may ask: whether the server is well and what it can; and a part of an upload, whose id is a secret
    assert public == {"health", "version", "server-info", "workspaces", "{part}"}
