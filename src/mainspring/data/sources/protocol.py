"""What a source must do: tables give rows beyond a cursor, places of files give files whose stamps tell what changed.

A source is made of an address by a function that the entry points of ``mainspring.source`` name by its scheme.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from mainspring.errors import Invalid, nearest

__all__ = ["LOGIN_SIGNS", "FileSource", "RowSource", "Source", "SourceFile", "Wanted", "source_at"]

_GROUP = "mainspring.source"
#: What to do about an address whose login may be cut at the wrong place; such an address is never repeated.
LOGIN_SIGNS = "in user, password and names write @ as %40, / as %2F, # as %23, ? as %3F, [ as %5B"


class Wanted(NamedTuple):
    """What is asked of a source beside its address.

    `cursor` is a column that grows. `form` is the ending that says how files are read where their names do not
    (``csv``). No more than `most_bytes` are taken of one file.
    """

    cursor: str = ""
    form: str = ""
    most_bytes: int = 100 << 30


@dataclass(frozen=True, slots=True)
class RowSource:
    """Rows of a table. `fetch` gives them as mappings; with a cursor those beyond the value handed in, in its order.

    `told` is the address as it may be told, without secrets.
    """

    told: str
    fetch: Callable[[object | None], Iterable[Mapping[str, object]]]


class SourceFile(NamedTuple):
    """One file of a source: its name, its stamp, and what brings it into a folder.

    Equal stamps mean equal bytes; an empty one means nothing. `bring` returns the file there, whose ending says how it
    is read; it may raise what `FileSource.files` raises.
    """

    name: str
    stamp: str
    bring: Callable[[Path], Path]


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files at a place, in the order of their names. `told` is the address as it may be told, without secrets.

    `files` is handed the stamps of the files that were pulled last, by name, and may raise `NotFound`, `Invalid` or
    `Unavailable`.
    """

    told: str
    files: Callable[[Mapping[str, str]], Iterator[SourceFile]]


Source = RowSource | FileSource


_NOTHING_MORE = Wanted()


def source_at(address: str, wanted: Wanted = _NOTHING_MORE) -> Source:
    """Return the source that an address names; a path without a scheme is a file or folder.

    Raises:
        Invalid: no kind of source has this scheme, or the address is incomplete. No secret of it is repeated.
        MissingExtra: the package for it is not installed.
    """
    scheme = address.partition(":")[0].lower() if ":" in address else "file"
    known = {each.name: each for each in entry_points(group=_GROUP)}
    if scheme not in known:
        kinds = ", ".join(sorted(known))
        raise Invalid(
            f"`{scheme}` is no kind of source",
            where="SOURCE",
            next_step=f"{nearest(scheme, known)} Known are {kinds}; a bare path is a file or folder",
        )
    try:
        urlsplit(address)
    except ValueError:  # it repeats what it cannot read
        raise Invalid("The address cannot be taken apart", where="SOURCE", next_step=LOGIN_SIGNS) from None
    make: Callable[[str, Wanted], Source] = known[scheme].load()
    return make(address, wanted)
