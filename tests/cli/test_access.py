"""Users, tokens, roles, the audit log and aliases on the command line."""

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mainspring.access.login import Login
from mainspring.cli.main import main
from mainspring.domain.ids import Digest
from mainspring.domain.policy import by
from mainspring.registry.control import keep_loop_rule
from mainspring.registry.versions import register_version
from mainspring.workspace import Workspace

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAINSPRING_ACTOR", "ada")
    return tmp_path


@pytest.fixture
def said(home: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command with something on standard input; return its exit code and what it printed."""

    def call(*words: str, stdin: str = "") -> tuple[int, str]:
        capfd.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = main(list(words))
        out, err = capfd.readouterr()
        return code, out + err

    return call


def test_a_user_gets_a_token_that_lets_it_in(said) -> None:
    assert said("users", "create", "eve", "--role", "reviewer", "--password-stdin", stdin="battery staple\n")[0] == 0
    assert said("users", "create", "ci", "--role", "viewer", "--no-password")[0] == 0
    code, text = said("tokens", "create", "--for", "ci", "--scope", "read:runs", "--expires", "90d")
    assert code == 0
    with Workspace() as workspace:
        login = Login(workspace.store, owner="", is_required=True)
        assert login.who(f"Bearer {text.strip()}", "").name == "ci"
        identifier = text.split("_")[1]
    assert [each["name"] for each in json.loads(said("users", "list", "--json")[1])] == ["ci", "eve"]
    assert said("tokens", "revoke", identifier)[0] == 0
    (listed,) = json.loads(said("tokens", "list", "--json")[1])
    assert listed["revoked_at"]
    assert text.strip() not in json.dumps(listed)
    assert said("users", "set", "eve", "--off", "--role", "viewer")[0] == 0
    assert "off" in said("users", "list")[1]
    assert said("users", "create", "x", "--role", "nobody", "--no-password")[0] == 2
    assert said("tokens", "create", "--for", "ci", "--expires", "2020-01-01")[0] == 2


def test_roles_of_a_file_are_kept(said, home: Path) -> None:
    file = home / "roles.yaml"
    file.write_text(
        "steward:\n  - {allow: [read, move], resources: [models/*], tags: {team: risk}, aliases: [staging]}\n"
    )
    assert said("roles", "apply", str(file))[0] == 0
    assert "read, move on models/* where team=risk and aliases staging" in said("roles", "list")[1]
    assert said("roles", "remove", "steward")[0] == 0
    assert said("roles", "remove", "admin")[0] == 2
    file.write_text("steward: [")
    code, text = said("roles", "apply", str(file))
    assert (code, "no YAML" in text) == (2, True)


def test_a_champion_waits_for_its_approvals_or_an_override(said) -> None:
    with Workspace() as workspace:
        keep_loop_rule(workspace.store, "m", by("reviewer"), actor="ada", at=NOW)
        for digit in "ab":
            bundle = Digest(digit * 64)
            register_version(workspace.store, "m", bundle=bundle, run_id=None, evidence={}, author="ada", at=NOW)
    said("users", "create", "eve", "--role", "reviewer", "--no-password")
    code, text = said("alias", "set", "m", "champion", "1")
    assert (code, "it waits for the approval of 1 reviewer" in text) == (1, True)
    assert said("approve", "m/1", "--as", "bob")[0] == 1  # holds no such role
    assert said("approve", "m/1", "--as", "eve")[0] == 0
    assert said("alias", "set", "m", "champion", "1", "--override")[0] == 2  # without a reason
    assert said("alias", "set", "m", "staging", "1")[0] == said("alias", "set", "m", "staging", "2")[0] == 0
    assert said("alias", "undo", "m", "staging")[0] == 0
    assert said("alias", "protect", "m", "staging", "--role", "operator", "--approvals", "risk:2")[0] == 0
    code, text = said("alias", "remove", "m", "staging")
    assert (code, "only operator may move staging" in text) == (1, True)
    assert "2 risk" in said("alias", "rules", "m")[1]
    assert said("alias", "unprotect", "m", "staging")[0] == said("alias", "remove", "m", "staging")[0] == 0
    moves = json.loads(said("alias", "history", "m", "staging", "--json")[1])
    assert [each["version"] for each in moves] == [1, 2, 1, None]
    pointed = json.loads(said("models", "history", "m", "--as-of", moves[1]["at"], "--json")[1])
    assert pointed["aliases"] == {"staging": 2}
    assert json.loads(said("models", "history", "m", "--as-of", "2020-01-01", "--json")[1])["aliases"] == {}
    assert said("models", "history", "nothing")[0] == 3


def test_what_is_said_of_a_model_is_shown_and_what_is_deleted_is_gone(said) -> None:
    with Workspace() as workspace:
        register_version(workspace.store, "m", bundle=Digest("a" * 64), run_id=None, evidence={}, author="ada", at=NOW)
    assert said("models", "set", "m", "--owner", "eve", "--description", "d", "--tag", "team=risk")[0] == 0
    assert said("models", "set", "m/1", "--description", "the first", "--tag", "a=1")[0] == 0
    assert said("comment", "m/1", "looks good")[0] == 0
    shown = json.loads(said("models", "m/1", "--json")[1])
    assert (shown["version"]["description"], shown["version"]["tags"]) == ("the first", {"a": "1"})
    assert shown["comments"][0]["text"] == "looks good"
    assert said("models", "set", "m", "--tag", "team=")[0] == said("models", "set", "m/1", "--tag", "a=")[0] == 0
    assert said("models", "set", "m", "--tag", "team")[0] == said("models", "set", "m/1", "--owner", "x")[0] == 2
    said("alias", "set", "m", "staging", "1")
    code, text = said("models", "delete", "m/1", "--yes")
    assert (code, "the alias staging points at it" in text) == (1, True)
    said("alias", "remove", "m", "staging")
    assert said("models", "delete", "m/1", "--yes")[0] == said("models", "delete", "m", "--yes")[0] == 0
    assert json.loads(said("models", "--json")[1]) == []


def test_the_audit_log_is_read_and_verified(said, home: Path) -> None:
    said("users", "create", "eve", "--role", "reviewer", "--no-password")
    said("users", "set", "eve", "--role", "viewer")
    code, text = said("audit", "verify", "--json")
    told = json.loads(text)
    assert (code, told["entries"], told["verified"]) == (0, 2, True)
    assert said("audit", "verify", "--noted", f"2:{told['last_hash']}")[0] == 0
    assert said("audit", "verify", "--noted", f"1:{told['last_hash']}")[0] == 3
    assert said("audit", "verify", "--noted", "x")[0] == 2
    listed = json.loads(said("audit", "list", "--verb", "user.*", "--actor", "ada", "--json")[1])
    assert [each["verb"] for each in listed] == ["user.created", "user.changed"]
    with Workspace() as workspace:
        workspace.store.record(lambda transaction: transaction.execute("UPDATE events SET actor = 'bob'"))
    code, text = said("audit", "verify")
    assert (code, "breaks at entry 1" in text) == (3, True)
