"""The tables, as named changes that are only ever appended; each runs once and is recorded in `migrations`.

A room owns the tables its migration makes. Columns ending in ``_at`` hold ISO 8601 UTC text; ids and digests are
hexadecimal text; documents are JSON text. A new change goes to the end of the last file; a full file gets a successor.
Start with `migrate`; the lock beside its tests keeps released changes as they are.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from mainspring.domain.moments import to_iso
from mainspring.errors import Conflict
from mainspring.store.migrations.from_0001 import FROM_0001
from mainspring.store.migrations.from_0014 import FROM_0014
from mainspring.store.protocol import Transaction

__all__ = ["MIGRATIONS", "Migration", "migrate"]

Migration = Callable[[Transaction], None]

MIGRATIONS: tuple[Migration, ...] = (*FROM_0001, *FROM_0014)


def migrate(transaction: Transaction, migrations: Sequence[Migration], *, finish: Migration | None = None) -> list[str]:
    """Run the migrations that have not run yet, in one transaction, and return their names.

    `finish` runs in the same transaction, behind those that ran: what a backend has to mend after any of them.
    Two processes that open a new database at once take turns: the second finds the work done.

    Raises:
        Conflict: the database was made by a newer Mainspring, whose tables this one does not know.
    """
    transaction.execute("BEGIN IMMEDIATE")
    try:
        transaction.execute("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY, ran_at TEXT NOT NULL)")
        done = {row[0] for row in transaction.execute("SELECT name FROM migrations")}
        unknown = sorted(done - {each.__name__ for each in migrations})
        if unknown:
            raise Conflict(
                f"The database was made by a newer Mainspring (it has `{unknown[-1]}`)",
                next_step="pip install --upgrade mainspring",
            )
        ran = []
        for each in migrations:
            if each.__name__ not in done:
                each(transaction)
                now = to_iso(datetime.now(UTC))
                transaction.execute("INSERT INTO migrations (name, ran_at) VALUES (?, ?)", (each.__name__, now))
                ran.append(each.__name__)
        if ran and finish is not None:
            finish(transaction)
    except BaseException:
        transaction.execute("ROLLBACK")
        raise
    transaction.execute("COMMIT")
    return ran
