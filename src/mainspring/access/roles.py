"""Roles: verbs that are granted on resources, under conditions on tags and aliases. Owner of the table `roles`.

A decision is a pure function of grants, verb and resource: whatever no grant allows is denied. The built-in roles are
data of the same shape as the roles that people write in a file:

    steward:
      - {allow: [read], resources: ["*"]}
      - {allow: [write, move], resources: ["models/*"], tags: {team: risk}, aliases: [staging]}
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any

from mainspring.domain.moments import to_iso
from mainspring.domain.policy import by
from mainspring.errors import Conflict, Invalid, NotFound, nearest
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "BUILT_IN",
    "KINDS",
    "VERBS",
    "Grant",
    "Resource",
    "Role",
    "check_pattern",
    "check_roles",
    "decide",
    "find_grants",
    "list_roles",
    "remove_role",
    "roles_of_document",
    "set_role",
]

#: What can be done. `write` makes and changes, `move` points an alias or a stage; `override` goes past missing gates
#: and approvals.
VERBS = ("read", "write", "delete", "move", "approve", "comment", "override")
#: What it can be done to; a resource is written ``kind/name``.
KINDS = (
    "artifacts",
    "audit",
    "data",
    "experiments",
    "incidents",
    "models",
    "roles",
    "runs",
    "sql",
    "tokens",
    "users",
    "webhooks",
)


@dataclass(frozen=True, slots=True)
class Resource:
    """What somebody wants to do something to: a kind, a name (empty: all of the kind), its tags, the alias at stake."""

    kind: str
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    alias: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" + (f"@{self.alias}" if self.alias else "")


@dataclass(frozen=True, slots=True)
class Grant:
    """Verbs that are allowed on resources whose ``kind/name`` fits one of the patterns in `resources`.

    All of `tags` must be on the resource, each fitting its pattern. `aliases` narrows the verb `move`: the alias must
    fit a pattern and none of those that begin with ``!``.
    """

    allow: tuple[str, ...]
    resources: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()

    def may_fit(self, verb: str, kind: str) -> bool:
        """Whether this grant could allow the verb on some resource of the kind."""
        return (verb in self.allow or "*" in self.allow) and any(
            each == "*" or each.startswith(f"{kind}/") for each in self.resources
        )

    def fits(self, verb: str, resource: Resource) -> bool:
        """Whether this grant allows the verb on the resource."""
        if verb not in self.allow and "*" not in self.allow:
            return False
        if not any(fnmatchcase(f"{resource.kind}/{resource.name}", pattern) for pattern in self.resources):
            return False
        if not all(fnmatchcase(resource.tags.get(key, "\0"), pattern) for key, pattern in self.tags.items()):
            return False
        if verb != "move" or not self.aliases:
            return True
        refused = [each[1:] for each in self.aliases if each.startswith("!")]
        allowed = [each for each in self.aliases if not each.startswith("!")]
        return any(fnmatchcase(resource.alias, each) for each in allowed) and not any(
            fnmatchcase(resource.alias, each) for each in refused
        )


@dataclass(frozen=True, slots=True)
class Role:
    """A name for grants that go together."""

    name: str
    grants: tuple[Grant, ...]
    built_in: bool = False


_SEEN = tuple(f"{kind}/*" for kind in ("artifacts", "data", "experiments", "incidents", "models", "runs", "sql"))
_WORK = tuple(f"{kind}/*" for kind in ("artifacts", "data", "experiments", "runs"))
_READ = Grant(("read",), _SEEN)
_LEARN = (
    _READ,
    Grant(("write", "delete"), _WORK),
    Grant(("write", "comment"), ("models/*",)),
)
#: The roles that are always there. A data scientist moves every alias but the one that serves.
BUILT_IN: dict[str, Role] = {
    role.name: role
    for role in (
        Role("viewer", (_READ,), True),
        Role("data-scientist", (*_LEARN, Grant(("move",), ("models/*",), aliases=("*", "!champion"))), True),
        Role(
            "reviewer",
            (_READ, Grant(("comment", "approve", "move"), ("models/*",)), Grant(("read",), ("audit/*",))),
            True,
        ),
        Role(
            "operator",
            (
                *_LEARN,
                Grant(("delete", "move", "override"), ("models/*",)),
                Grant(("write",), ("incidents/*",)),
                Grant(("*",), ("webhooks/*",)),
                Grant(("read",), ("audit/*",)),
            ),
            True,
        ),
        Role("admin", (Grant(("*",), ("*",)),), True),
    )
}


def decide(grants: Iterable[Grant], verb: str, resource: Resource) -> bool:
    """Whether any grant allows the verb on the resource.

    >>> decide(BUILT_IN["viewer"].grants, "delete", Resource("models", "churn"))
    False
    """
    return any(grant.fits(verb, resource) for grant in grants)


def roles_of_document(document: object) -> list[Role]:
    """Read roles as people write them: a mapping of names to lists of grants.

    Raises:
        Invalid: something in it is no role; the message names the place.
    """
    if not isinstance(document, Mapping) or not document:
        raise Invalid("A roles file is a mapping of names to grants", next_step="see docs/access.md for an example")
    return [_role(str(name), grants) for name, grants in document.items()]


def _role(name: str, grants: object) -> Role:
    by(name)  # the name of a role is what an approval can ask for
    if not isinstance(grants, Sequence) or isinstance(grants, str) or not grants:
        raise Invalid(f"The role `{name}` has no list of grants", where=name)
    return Role(name, tuple(_grant(each, f"{name}[{number}]") for number, each in enumerate(grants)))


def _grant(document: object, where: str) -> Grant:
    if not isinstance(document, Mapping) or not set(document) <= {"allow", "resources", "tags", "aliases"}:
        raise Invalid("A grant has allow, resources, and perhaps tags and aliases", where=where)
    allow = _words(document.get("allow"), f"{where}.allow")
    named = _words(document.get("resources"), f"{where}.resources")
    resources = tuple(check_pattern(each, f"{where}.resources") for each in named)
    for verb in allow:
        if verb not in (*VERBS, "*"):
            raise Invalid(f"`{verb}` is no verb", where=f"{where}.allow", next_step=nearest(verb, VERBS))
    tags = document.get("tags", {})
    if not isinstance(tags, Mapping):
        raise Invalid("tags is a mapping of keys to patterns", where=f"{where}.tags")
    aliases = _words(document["aliases"], f"{where}.aliases") if "aliases" in document else ()
    return Grant(allow, resources, {str(key): str(value) for key, value in tags.items()}, aliases)


def check_pattern(pattern: str, where: str) -> str:
    """Return what fits the resources that somebody names: ``*``, a kind, or ``models/`` with a pattern of names.

    Raises:
        Invalid: there is no such kind, or its resources are not told apart by name.
    """
    kind, _, names = pattern.partition("/")
    if kind == "*" and names in ("", "*"):
        return "*"
    if kind not in KINDS:
        raise Invalid(f"`{kind}` is no kind of resource", where=where, next_step=nearest(kind, KINDS))
    if kind != "models" and names not in ("", "*"):
        raise Invalid(f"Only models are told apart by name, and not {kind}", where=where, next_step=f"write {kind}/*")
    return f"{kind}/{names or '*'}"


def _words(value: object, where: str) -> tuple[str, ...]:
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, Sequence) or not words or not all(isinstance(each, str) and each for each in words):
        raise Invalid("A list of words is missing", where=where)
    return tuple(words)


def set_role(store: Store, role: Role, *, actor: str, at: datetime) -> None:
    """Keep a role that people wrote, in the place of an earlier one of that name.

    Raises:
        Conflict: it is a built-in one.
    """
    if role.name in BUILT_IN:
        raise Conflict(f"`{role.name}` is built in and stays as it is", next_step="write a role of another name")
    document = json.dumps([asdict(grant) for grant in role.grants])

    def write(transaction: Transaction) -> None:
        transaction.execute(
            "INSERT INTO roles (name, grants, made_by, made_at) VALUES (?, ?, ?, ?) ON CONFLICT (name)"
            " DO UPDATE SET grants = excluded.grants, made_by = excluded.made_by, made_at = excluded.made_at",
            (role.name, document, actor, to_iso(at)),
        )

    store.change(Event("role.set", f"roles/{role.name}", {"grants": json.loads(document)}, actor), write)


def remove_role(store: Store, name: str, *, actor: str) -> None:
    """Forget a role that people wrote; who holds it keeps the word, and it allows nothing.

    Raises:
        NotFound: there is no such role of people.
    """

    def write(transaction: Transaction) -> None:
        if not transaction.execute("DELETE FROM roles WHERE name = ? RETURNING name", (name,)):
            raise NotFound(f"No role `{name}` that people wrote", next_step="list them: mainspring roles list")

    store.change(Event("role.removed", f"roles/{name}", {}, actor), write)


def list_roles(store: Store) -> list[Role]:
    """Return the built-in roles, then those that people wrote, by name."""
    rows = store.read("SELECT name, grants FROM roles ORDER BY name")
    return [*BUILT_IN.values(), *(Role(name, _grants(document)) for name, document in rows)]


def find_grants(store: Store, names: Iterable[str]) -> list[Grant]:
    """Return all grants of the roles named; a role that is not known allows nothing."""
    grants: list[Grant] = []
    for name in names:
        if name in BUILT_IN:
            grants += BUILT_IN[name].grants
            continue
        for row in store.read("SELECT grants FROM roles WHERE name = ?", (name,)):
            grants += _grants(row[0])
    return grants


def _grants(document: str) -> tuple[Grant, ...]:
    loaded: list[dict[str, Any]] = json.loads(document)  # as `set_role` wrote them
    return tuple(
        Grant(tuple(each["allow"]), tuple(each["resources"]), each["tags"], tuple(each["aliases"])) for each in loaded
    )


def check_roles(store: Store, names: Sequence[str]) -> tuple[str, ...]:
    """Return the names, sorted, if every one is a role.

    Raises:
        Invalid: one is not.
    """
    known = [role.name for role in list_roles(store)]
    for name in names:
        if name not in known:
            raise Invalid(f"There is no role `{name}`", where="role", next_step=nearest(name, known))
    return tuple(sorted(set(names)))
