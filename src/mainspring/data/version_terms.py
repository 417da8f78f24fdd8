"""The terms of dataset versions, and the end of those whose time is over. Owner of the table `dataset_terms`.

A version past its retention refuses to be used. `remove_expired` lets go of its bytes, and of those of its ingestion;
the version itself stays written down, so that what was made of it can still be traced.
"""

import dataclasses
import json
from datetime import datetime
from typing import NamedTuple

from mainspring.data.terms import Terms
from mainspring.data.versions import DatasetVersion
from mainspring.domain.moments import from_iso, to_iso
from mainspring.errors import Refused
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = [
    "Expired",
    "expired_versions",
    "hand_on_terms",
    "keep_terms",
    "refuse_expired",
    "remove_expired",
    "terms_of",
    "terms_of_bytes",
    "write_terms",
]


_INSERT = "INSERT INTO dataset_terms (name, version, terms, ends_at, set_at) VALUES (?,?,?,?,?)"


class Expired(NamedTuple):
    """A version whose retention ended, and when."""

    reference: str
    ended_at: str


def keep_terms(store: Store, version: DatasetVersion, terms: Terms, *, at: datetime) -> None:
    """Write down the terms of a version; terms that were there are replaced, and the audit log tells both."""
    text, ends = _written(terms, from_iso(version.created_at))
    key = (version.name, version.version)

    def write(transaction: Transaction) -> str | None:
        return _put(transaction, key, text, ends, at)

    def event(before: str | None) -> Event | None:
        if before is None:
            return None
        told = {"version": version.version, "terms": json.loads(text), "before": json.loads(before) if before else None}
        return Event("data.terms", f"data/{version.name}", told)

    store.change(event, write)


def write_terms(transaction: Transaction, name: str, version: int, terms: Terms, *, at: datetime) -> Terms | None:
    """Write down the terms of a version that is made in the same transaction; none are written where none are said.

    A version of the same bytes may have been there: its terms are replaced, and returned for the audit log.
    """
    if terms == Terms():
        return None
    made_at = transaction.execute(
        "SELECT created_at FROM dataset_versions WHERE name = ? AND version = ?", (name, version)
    )
    before = _put(transaction, (name, version), *_written(terms, from_iso(made_at[0][0])), at)
    return _read(before) if before else None


def _put(transaction: Transaction, key: tuple[str, int], text: str, ends: str | None, at: datetime) -> str | None:
    """Write terms down; return those that were there, an empty text if none were, and None if nothing changes."""
    old = transaction.execute("SELECT terms FROM dataset_terms WHERE name = ? AND version = ?", key)
    if old and old[0][0] == text:
        return None
    if old:
        changed = (text, ends, to_iso(at), *key)
        transaction.execute(
            "UPDATE dataset_terms SET terms = ?, ends_at = ?, set_at = ? WHERE name = ? AND version = ?", changed
        )
    else:
        transaction.execute(_INSERT, (*key, text, ends, to_iso(at)))
    return str(old[0][0]) if old else ""


def hand_on_terms(transaction: Transaction, name: str, old: int, new: int) -> None:
    """Give a version the terms of the one that it is made of, and not a day more."""
    transaction.execute(
        "INSERT INTO dataset_terms (name, version, terms, ends_at, set_at)"
        " SELECT name, ?, terms, ends_at, set_at FROM dataset_terms WHERE name = ? AND version = ?",
        (new, name, old),
    )


def _written(terms: Terms, kept_at: datetime) -> tuple[str, str | None]:
    ends = terms.ends_at(kept_at)
    return json.dumps(dataclasses.asdict(terms), sort_keys=True), None if ends is None else to_iso(ends)


def terms_of(store: Store, version: DatasetVersion) -> Terms | None:
    """Return the terms of a version; None where none were declared."""
    found = store.read(
        "SELECT terms FROM dataset_terms WHERE name = ? AND version = ?", (version.name, version.version)
    )
    return _read(found[0][0]) if found else None


def terms_of_bytes(store: Store, digest: str) -> dict[str, Terms]:
    """Return the terms of all versions that are these bytes, by their references."""
    found = store.read(
        "SELECT d.name, d.version, t.terms FROM dataset_versions d JOIN dataset_terms t"
        " ON t.name = d.name AND t.version = d.version WHERE d.digest = ? ORDER BY d.name, d.version",
        (digest,),
    )
    return {f"{name}/{version}": _read(text) for name, version, text in found}


def _read(text: str) -> Terms:
    told = json.loads(text)
    return Terms(
        tuple(told["purpose"]),
        told["licence"],
        tuple(told["forbids"]),
        told["severity"],
        told["retain"],
        told["consent"],
    )


def refuse_expired(store: Store, digest: str, *, at: datetime) -> None:
    """Refuse bytes that are a version past its retention, or were ingested into one, under whatever name.

    Raises:
        Refused: they are.
    """
    found = store.read(
        "SELECT d.name, d.version, t.ends_at, t.removed_at FROM dataset_versions d JOIN dataset_terms t"
        " ON t.name = d.name AND t.version = d.version WHERE t.ends_at IS NOT NULL AND t.ends_at <= ? AND (d.digest = ?"
        " OR EXISTS (SELECT 1 FROM ingestions i WHERE i.name = d.name AND i.version = d.version AND i.original = ?))"
        " ORDER BY t.ends_at LIMIT 1",
        (to_iso(at), digest, digest),
    )
    for name, version, ends_at, removed_at in found:
        gone = f" and was removed at {removed_at}" if removed_at else ""
        raise Refused(
            f"`{name}/{version}` was to be kept until {ends_at}{gone}",
            where="terms.retain",
            next_step="use a newer version; `mainspring gc --dry-run` tells what is past its retention",
        )


def expired_versions(store: Store, at: datetime) -> list[Expired]:
    """Return the versions whose retention ended and whose bytes are still held, the longest ended first."""
    rows = store.read(
        "SELECT name, version, ends_at FROM dataset_terms WHERE ends_at IS NOT NULL AND ends_at <= ?"
        " AND removed_at IS NULL ORDER BY ends_at, name, version",
        (to_iso(at),),
    )
    return [Expired(f"{name}/{version}", ends_at) for name, version, ends_at in rows]


def remove_expired(store: Store, at: datetime) -> list[Expired]:
    """Let go of the versions whose retention ended: the next collection frees the bytes that nothing else holds."""
    found = expired_versions(store, at)

    def write(transaction: Transaction) -> None:
        for each in found:
            name, _, version = each.reference.rpartition("/")
            transaction.execute(
                "UPDATE dataset_terms SET removed_at = ? WHERE name = ? AND version = ?",
                (to_iso(at), name, int(version)),
            )
            _blank_samples(transaction, name, int(version))

    if found:
        told = {"versions": [each.reference for each in found]}
        store.change(Event("data.expired", "data", told), write)
    return found


def _blank_samples(transaction: Transaction, name: str, version: int) -> None:
    """Take the values of a version out of what its ingestions tell of the rules: these belong to what must go."""
    key = (name, version)
    for number, text in transaction.execute(
        "SELECT number, effects FROM ingestions WHERE name = ? AND version = ?", key
    ):
        blank = json.dumps([{**each, "samples": []} for each in json.loads(text)])
        transaction.execute("UPDATE ingestions SET effects = ? WHERE name = ? AND number = ?", (blank, name, number))
