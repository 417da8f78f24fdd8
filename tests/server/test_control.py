"""Control over HTTP: approvals by people of a role, overrides, aliases as of a date, denials, deletion; all audited."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.access.users import create_user
from mainspring.domain.ids import Digest
from mainspring.domain.policy import by
from mainspring.registry.control import keep_loop_rule
from mainspring.registry.evidence import record_gates
from mainspring.registry.versions import register_version, set_status
from mainspring.server.native import NATIVE_ROUTES, access, audit, registry
from mainspring.workspace import Workspace

from .conftest import Answer, Server

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PEOPLE = {"ada": "data-scientist", "eve": "reviewer", "bob": "reviewer", "olga": "operator", "root": "admin"}


class Team:
    """A guarded server, asked by one person after the other."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def ask(self, who: str, method: str, path: str, body: object = None, **query: object) -> Answer:
        token = base64.b64encode(f"{who}:{who}s password".encode()).decode()
        headers = {"Authorization": f"Basic {token}"}
        at = path if path.startswith("/") else f"/api/mainspring/v1/{path}"
        return self.server.ask(method, at, body, headers=headers, **query)

    def audit(self, verb: str) -> list[dict[str, object]]:
        """Return the entries of the audit log with a verb, after its chain was verified over HTTP too."""
        assert self.ask("root", "GET", "audit/verify").json["verified"] is True
        found: list[dict[str, object]] = self.ask("root", "GET", "audit", verb=verb).json["entries"]
        return found


@pytest.fixture
def team(tmp_path: Path) -> Iterator[Team]:
    with Workspace(tmp_path / "home", actor="root") as workspace:
        store = workspace.store
        for name, role in PEOPLE.items():
            create_user(store, name, roles=[role], password=f"{name}s password", actor="root", at=NOW)
        keep_loop_rule(store, "churn", by("reviewer", count=2), actor="root", at=NOW)
        for digit in "ab":
            made = register_version(
                store, "churn", bundle=Digest(digit * 64), run_id=None, evidence={}, author="ada", at=NOW
            )
            record_gates(store, made, [], NOW)
            set_status(store, made, "ready", reason="passed")
    server = Server(tmp_path / "home", "--login")
    yield Team(server)
    server.stop()


def test_two_reviewers_who_are_not_the_author_let_a_version_be_moved(team: Team) -> None:
    approvals, alias = "models/churn/versions/1/approvals", "models/churn/aliases/champion"
    assert team.ask("ada", "POST", approvals).status == 403
    as_other = team.ask("eve", "POST", approvals, {"approver": "bob"})
    assert (as_other.status, "cannot approve as `bob`" in as_other.json["detail"]) == (403, True)
    assert team.ask("eve", "POST", approvals, {"role": "operator"}).status == 403
    assert team.ask("eve", "POST", approvals, {"comment": "slices"}).json["approver"] == "eve"
    waits = team.ask("eve", "POST", alias, {"version": 1})
    assert waits.status == 409
    assert "waits for the approval of 1 reviewer" in waits.json["detail"]
    assert team.ask("bob", "POST", approvals).status == 200
    assert team.ask("bob", "POST", "models/churn/versions/1/comments", {"text": "fine"}).status == 200
    shown = team.ask("eve", "GET", "models/churn/versions/1").json
    assert [each["approver"] for each in shown["approvals"]] == ["eve", "bob"]
    assert shown["comments"][0]["text"] == "fine"
    assert [event["actor"] for event in team.audit("model.approved")] == ["eve", "bob"]
    assert [event["actor"] for event in team.audit("alias.refused")] == ["eve"]
    assert [event["actor"] for event in team.audit("access.denied")] == ["ada"]


def test_an_override_needs_the_verb_and_a_reason_and_stands_in_the_log(team: Team) -> None:
    alias, past = "models/churn/aliases/prod", {"version": 1, "override": True}
    rule = {"gates": True, "approver_role": "reviewer", "approvals": 1}
    assert team.ask("bob", "PUT", f"{alias}/rule", rule).status == 403
    assert team.ask("olga", "PUT", f"{alias}/rule", rule).json["approval"] == {"role": "reviewer", "count": 1}
    assert len(team.ask("ada", "GET", "models/churn/rules").json["rules"]) == 2
    assert team.ask("bob", "POST", alias, {**past, "reason": "storm"}).status == 403
    assert team.ask("olga", "POST", alias, {**past, "reason": " "}).status == 422
    assert team.ask("olga", "POST", alias, {**past, "reason": "storm"}).json["aliases"] == {"prod": 1}
    (told,) = team.audit("model.overridden")
    assert told["actor"] == "olga"
    assert told["details"]["against"] == ["it waits for the approval of 1 reviewer"]
    assert team.ask("olga", "DELETE", f"{alias}/rule").json == {"removed": True}
    assert [event["actor"] for event in team.audit("alias.unprotected")] == ["olga"]


def test_where_an_alias_pointed_is_known_for_every_moment_and_a_move_is_undone(team: Team) -> None:
    alias = "models/churn/aliases/staging"
    for number in (1, 2):
        assert team.ask("ada", "POST", alias, {"version": number, "reason": f"try {number}"}).status == 200
    assert team.ask("ada", "POST", f"{alias}/undo").json["aliases"] == {"staging": 1}
    moves = team.ask("ada", "GET", "models/churn/history", alias="staging").json["moves"]
    assert [each["version"] for each in moves] == [1, 2, 1]
    pointed = [
        team.ask("ada", "GET", "models/churn/history", as_of=moment).json["aliases"]
        for moment in ("2020-01-01", *(each["at"] for each in moves))
    ]
    assert pointed == [{}, {"staging": 1}, {"staging": 2}, {"staging": 1}]
    assert team.ask("ada", "GET", "models/churn/history", as_of="soon").status == 422
    assert len(team.audit("alias.moved")) == 3


def test_what_is_in_use_is_not_deleted_and_what_is_deleted_is_gone(team: Team) -> None:
    team.ask("olga", "POST", "models/churn/aliases/staging", {"version": 2})
    held = team.ask("olga", "DELETE", "models/churn/versions/2")
    assert (held.status, "the alias staging points at it" in held.json["detail"]) == (409, True)
    team.ask("olga", "POST", "models/churn/aliases/staging", {"version": None})
    assert team.ask("ada", "DELETE", "models/churn/versions/2").status == 403
    assert team.ask("olga", "DELETE", "models/churn/versions/2").json == {}
    assert team.ask("olga", "GET", "models/churn/versions/2").status == 404
    assert team.ask("olga", "DELETE", "models/churn").json == {"versions": 1}
    assert [event["subject"] for event in team.audit("version.deleted")] == ["models/churn/2"]
    assert [event["actor"] for event in team.audit("model.deleted")] == ["olga"]


def test_an_admin_keeps_users_tokens_and_roles(team: Team) -> None:
    user = {"name": "new", "roles": ["viewer"], "password": "news password"}
    assert team.ask("olga", "POST", "users", user).status == 403
    made = team.ask("root", "POST", "users", user)
    assert made.json["roles"] == ["viewer"]
    assert "password" not in made.body.decode()
    steward = {"roles": {"steward": [{"allow": ["comment"], "resources": ["models/*"]}]}}
    assert team.ask("root", "PUT", "roles", steward).status == 200
    assert team.ask("root", "PATCH", "users/new", {"roles": ["steward"]}).json["roles"] == ["steward"]
    said = {"text": "hello"}
    assert team.ask("new", "POST", "models/churn/versions/1/comments", said).status == 200
    token = team.ask("root", "POST", "tokens", {"owner": "new", "scope": ["read"], "lasts": "1d"}).json
    bearer = {"Authorization": f"Bearer {token['token']}"}
    path = "/api/mainspring/v1/models/churn/versions/1/comments"
    assert team.server.ask("POST", path, said, headers=bearer).status == 403
    assert token["token"] not in team.ask("root", "GET", "tokens").body.decode()
    assert team.ask("root", "DELETE", f"tokens/{token['token_id']}").status == 200
    assert team.server.ask("GET", "/api/mainspring/v1/users", headers=bearer).status == 401
    assert team.ask("root", "PATCH", "users/new", {"is_active": False}).json["is_active"] is False
    assert team.ask("new", "GET", "models/churn/history").status == 401
    assert team.ask("root", "DELETE", "roles/steward").json == {}
    assert {event["verb"] for event in team.audit("user.*")} == {"user.created", "user.changed"}
    assert "news password" not in str(team.ask("root", "GET", "audit").json)


def test_a_webhook_of_ours_is_made_and_its_deliveries_are_seen(team: Team) -> None:
    hook = {"name": "h", "url": "https://example.org", "events": ["metric.crossed"], "secret": "shh"}
    assert team.ask("olga", "POST", "webhooks", hook).status == 422
    full = {**hook, "threshold": "auc > 0.9", "experiment": "churn"}
    made = team.ask("olga", "POST", "webhooks", full).json
    assert made["threshold"] == ["churn", "auc", ">", 0.9]
    assert team.ask("olga", "GET", f"webhooks/{made['webhook_id']}/deliveries").json == {"deliveries": []}
    assert "shh" not in team.ask("olga", "GET", "webhooks").body.decode()
    listed = team.ask("olga", "GET", "/api/2.0/mlflow/webhooks").json["webhooks"]
    assert listed == []  # MLflow's clients know none of its events


def test_every_native_route_denies_who_may_not(team: Team) -> None:
    team.ask("root", "PUT", "roles", {"roles": {"nothing": [{"allow": ["comment"], "resources": ["data"]}]}})
    team.ask("root", "POST", "users", {"name": "nil", "roles": ["nothing"], "password": "nils password"})
    names = {"name": "churn", "version": "1", "alias": "a", "token_id": "t", "webhook_id": "w"}
    for route in (*registry.ROUTES, *access.ROUTES, *audit.ROUTES):
        assert route in NATIVE_ROUTES
        answer = team.ask("nil", route.method, route.path.format(**names), {} if route.method != "GET" else None)
        assert answer.status == 403, route
