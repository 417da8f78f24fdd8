"""Names for single versions of a dataset: ``flights@gold`` is the version that has the tag. Owner of `dataset_tags`."""

import re
from datetime import datetime

from mainspring.data.versions import DatasetVersion, find_dataset
from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict, Invalid
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["list_tags", "tag_version"]


def tag_version(store: Store, reference: str, tag: str, *, at: datetime, move: bool = False) -> DatasetVersion:
    """Give a version a tag; a tag stays where it is unless it is to `move`.

    Raises:
        Invalid: the tag is not usable.
        NotFound: there is no such version.
        Conflict: another version has the tag.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", tag):
        raise Invalid(f"`{tag}` is not a tag", where="TAG", next_step="use letters, digits, dots and dashes")
    found = find_dataset(store, reference)

    def write(transaction: Transaction) -> bool:
        there = transaction.execute("SELECT version FROM dataset_tags WHERE name = ? AND tag = ?", (found.name, tag))
        if there and there[0][0] == found.version:
            return False
        if there and not move:
            raise Conflict(
                f"`{found.name}@{tag}` is version {there[0][0]}", next_step="choose another tag, or say --move"
            )
        transaction.execute("DELETE FROM dataset_tags WHERE name = ? AND tag = ?", (found.name, tag))
        transaction.execute(
            "INSERT INTO dataset_tags (name, tag, version, tagged_at) VALUES (?,?,?,?)",
            (found.name, tag, found.version, to_iso(at)),
        )
        return True

    event = Event("data.tagged", f"data/{found.name}", {"tag": tag, "version": found.version})
    store.change(lambda done: event if done else None, write)
    return found


def list_tags(store: Store, name: str) -> dict[str, int]:
    """Return the tags of a dataset with the version that has each."""
    return dict(store.read("SELECT tag, version FROM dataset_tags WHERE name = ? ORDER BY tag", (name,)))
