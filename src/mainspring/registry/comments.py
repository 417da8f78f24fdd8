"""Comments: what people said of a version, in order. Owner of the table `version_comments`."""

from datetime import datetime

from mainspring.domain.moments import to_iso
from mainspring.domain.version import Comment, ModelVersion
from mainspring.errors import Invalid
from mainspring.registry.versions import known_version
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["comment_on", "list_comments"]

_MOST = 20_000


def comment_on(store: Store, version: ModelVersion, text: str, *, author: str, at: datetime) -> Comment:
    """Say something of a version; it stays as long as the version does.

    Raises:
        Invalid: nothing is said, or more than 20,000 characters.
    """
    said = text.strip()
    if not said or len(said) > _MOST:
        raise Invalid(f"A comment has 1 to {_MOST:,} characters, not {len(said):,}", where="text")
    comment = Comment(author, said, to_iso(at))

    def write(transaction: Transaction) -> None:
        known_version(transaction.execute, version.model, version.version)
        transaction.execute(
            "INSERT INTO version_comments (model, version, author, text, at) VALUES (?, ?, ?, ?, ?)",
            (version.model, version.version, comment.author, comment.text, comment.at),
        )

    store.change(Event("version.commented", f"models/{version.reference}", {}, author), write)
    return comment


def list_comments(store: Store, version: ModelVersion) -> list[Comment]:
    """Return what was said of a version, oldest first."""
    sql = "SELECT author, text, at FROM version_comments WHERE model = ? AND version = ? ORDER BY number"
    return [Comment(*row) for row in store.read(sql, (version.model, version.version))]
