"""Decisions: what no grant allows is denied, and conditions narrow what a grant allows."""

from datetime import UTC, datetime

import pytest

from mainspring.access.roles import (
    BUILT_IN,
    Resource,
    Role,
    check_roles,
    decide,
    find_grants,
    list_roles,
    remove_role,
    roles_of_document,
    set_role,
)
from mainspring.errors import Conflict, Invalid, NotFound
from mainspring.store.events import events

NOW = datetime(2026, 5, 1, tzinfo=UTC)
#: verb, resource -> the built-in roles that may
ALLOWED = [
    ("read", Resource("models", "churn"), {"viewer", "data-scientist", "reviewer", "operator", "admin"}),
    ("write", Resource("runs", ""), {"data-scientist", "operator", "admin"}),
    ("delete", Resource("experiments", "7"), {"data-scientist", "operator", "admin"}),
    ("delete", Resource("models", "churn"), {"operator", "admin"}),
    ("move", Resource("models", "churn", alias="champion"), {"reviewer", "operator", "admin"}),
    ("move", Resource("models", "churn", alias="staging"), {"data-scientist", "reviewer", "operator", "admin"}),
    ("approve", Resource("models", "churn"), {"reviewer", "admin"}),
    ("override", Resource("models", "churn"), {"operator", "admin"}),
    ("read", Resource("audit"), {"reviewer", "operator", "admin"}),
    ("write", Resource("users", "x"), {"admin"}),
    ("write", Resource("webhooks"), {"operator", "admin"}),
]


@pytest.mark.parametrize(
    ("verb", "resource", "who"),
    ALLOWED,
    ids=lambda value: ",".join(sorted(value)) if isinstance(value, set) else str(value),
)
def test_the_built_in_roles_allow_what_their_names_say(verb: str, resource: Resource, who: set[str]) -> None:
    assert {name for name, role in BUILT_IN.items() if decide(role.grants, verb, resource)} == who


def test_conditions_on_tags_and_aliases_narrow_a_grant() -> None:
    (role,) = roles_of_document(
        {
            "steward": [
                {"allow": ["read"], "resources": "*"},
                {
                    "allow": ["move"],
                    "resources": ["models/risk-*"],
                    "tags": {"team": "r*"},
                    "aliases": ["staging", "prod-*"],
                },
            ]
        }
    )

    def may(name: str, team: str, alias: str) -> bool:
        return decide(role.grants, "move", Resource("models", name, {"team": team}, alias))

    assert may("risk-a", "risk", "staging")
    assert may("risk-a", "risk", "prod-eu")
    assert not may("risk-a", "sales", "staging")
    assert not may("risk-a", "risk", "champion")
    assert not may("churn", "risk", "staging")
    assert not decide(role.grants, "move", Resource("models", "risk-a", {}, "staging"))


@pytest.mark.parametrize(
    ("document", "where"),
    [
        ([], "mapping"),
        ({"x": []}, "no list"),
        ({"X": [{"allow": "read", "resources": "*"}]}, "not a role"),
        ({"x": [{"allow": "reed", "resources": "*"}]}, "Did you mean `read`"),
        ({"x": [{"allow": "read", "resources": "modles/*"}]}, "Did you mean `models`"),
        ({"x": [{"allow": "read", "resources": "runs/7*"}]}, "Only models are told apart"),
        ({"x": [{"allow": "read"}]}, r"x\[0\].resources"),
        ({"x": [{"allow": "read", "resources": "*", "when": 1}]}, r"x\[0\]"),
        ({"x": [{"allow": [1], "resources": "*"}]}, r"x\[0\].allow"),
    ],
)
def test_a_document_that_is_no_role_is_told_where(document: object, where: str) -> None:
    with pytest.raises(Invalid, match=where):
        roles_of_document(document)


def test_roles_of_people_are_kept_and_forgotten(store) -> None:
    (role,) = roles_of_document({"steward": [{"allow": "read", "resources": "models/a"}]})
    set_role(store, role, actor="ada", at=NOW)
    assert list_roles(store)[-1] == role
    assert decide(find_grants(store, ["steward"]), "read", Resource("models", "a"))
    assert check_roles(store, ["viewer", "steward"]) == ("steward", "viewer")
    remove_role(store, "steward", actor="ada")
    assert find_grants(store, ["steward"]) == []
    with pytest.raises(NotFound):
        remove_role(store, "steward", actor="ada")
    with pytest.raises(Invalid, match="no role `steward`"):
        check_roles(store, ["steward"])
    with pytest.raises(Conflict, match="built in"):
        set_role(store, Role("admin", ()), actor="eve", at=NOW)
    assert [event.verb for event in events(store, verb="role*")] == ["role.set", "role.removed"]
