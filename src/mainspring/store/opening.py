"""Which backend an address means. A backend is imported when its address is used."""

from pathlib import Path

from mainspring.domain.moments import Clock
from mainspring.errors import Invalid
from mainspring.store.protocol import Store

__all__ = ["open_store"]


def open_store(address: str, *, actor: str = "", clock: Clock | None = None) -> Store:
    """Open the metadata database at `address`: ``sqlite:///PATH`` or ``postgresql://...``.

    Raises:
        Invalid: no backend has such addresses.
        Unavailable: the database cannot be reached or written.
    """
    scheme, _, path = address.partition(":")
    if scheme == "sqlite" and path.startswith("///"):
        from mainspring.store.sqlite import SqliteStore

        return SqliteStore(Path(path.removeprefix("///")), actor=actor, clock=clock)
    if scheme in ("postgresql", "postgres"):
        from mainspring.store.postgres import PostgresStore

        return PostgresStore(address, actor=actor, clock=clock)
    raise Invalid(
        f"Mainspring cannot use the store `{scheme}`",
        where="MAINSPRING_STORE",
        next_step="use sqlite:///PATH or postgresql://USER@HOST/DATABASE, or unset it",
    )
