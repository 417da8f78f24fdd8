"""Forgetting an entity online: its rows go from every view keyed by it, and no later materializing brings them back.

What stays is a mark in the state of the views, the digest of the key: it says of a key that one knows already that it
was forgotten, and gives no key away. Rows of the source, which training reads, are for whoever keeps the source.
"""

import contextlib
from collections.abc import Collection, Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from mainspring.errors import Conflict, NotFound, nearest
from mainspring.features.online import OnlineState, OnlineStore
from mainspring.features.packed import decode_key, encode_key

__all__ = ["Forgotten", "forget", "is_forgotten", "mark_of", "marks_in"]

#: Somebody who materializes in between makes us look again; nobody does so often.
_TRIES = 10


class Forgotten(NamedTuple):
    """One view after `forget`: how many rows went."""

    view: str
    version: str
    rows: int


def mark_of(column: str, value: object) -> str:
    """Return the mark of a forgotten key, in hexadecimal digits."""
    return blake2b(msgspec.msgpack.encode([column, str(value)]), digest_size=16).hexdigest()


def marks_in(states: Iterable[OnlineState]) -> frozenset[str]:
    """Return all marks: what was forgotten in one view is not to come back in the next one."""
    return frozenset(mark for each in states for mark in each.forgotten)


def is_forgotten(columns: Sequence[str], key: Sequence[object], marks: Collection[str]) -> bool:
    """Whether one of the values of an entity's key bears a mark."""
    return any(mark_of(column, value) in marks for column, value in zip(columns, key, strict=True))


def forget(online: OnlineStore, column: str, values: Sequence[str], *, undo: bool = False) -> list[Forgotten]:
    """Forget the entities with these values in the key `column`, in all views and versions; return what went where.

    With `undo` the marks go, and the next materializing of everything brings back what the source holds.

    Raises:
        NotFound: no view has such a key.
        Conflict: others write the view all the time.
        Unavailable: the store cannot be written; what was forgotten before stays so.
    """
    states = online.states()
    named = [each for each in states if column in each.view.keys]
    if not named:
        known = sorted({key for each in states for key in each.view.keys})
        raise NotFound(f"No view in the online store has the key `{column}`", next_step=nearest(column, known))
    if undo:
        named = states  # each took the marks of all
    return [_forget_again(online, each, column, values, undo) for each in named]


def _forget_again(online: OnlineStore, known: OnlineState, column: str, values: Sequence[str], undo: bool) -> Forgotten:
    for _ in range(_TRIES - 1):
        with contextlib.suppress(Conflict):
            return _forget_in(online, known, column, values, undo)
    return _forget_in(online, known, column, values, undo)


def _forget_in(online: OnlineStore, known: OnlineState, column: str, values: Sequence[str], undo: bool) -> Forgotten:
    view, version = known.view, known.version
    state = online.state(view.name, version)
    if state is None:
        return Forgotten(view.name, version, 0)
    numbers = {int(each) for each in values if each.removeprefix("-").isdecimal()}
    marks = {mark_of(column, each) for each in numbers.union(values)}
    after = sorted(set(state.forgotten) - marks if undo else marks.union(state.forgotten))
    gone = [] if undo else _keys_with(online, state, column, numbers.union(values))
    changed = msgspec.structs.replace(state, forgotten=after)
    written = online.write(changed, (), after=state, replace=False, gone=gone)
    return Forgotten(view.name, version, state.entities - written.entities)


def _keys_with(online: OnlineStore, state: OnlineState, column: str, values: set[int | str]) -> list[bytes]:
    """Return the packed keys of a view that may be there and have one of the values in a column."""
    columns = state.view.keys
    if columns == (column,):
        wanted = int if state.key_kinds[0] == "integer" else str
        return [encode_key([each], state.key_kinds) for each in values if type(each) is wanted]
    place = columns.index(column)
    return [key for key in online.keys(state.view.name, state.version) if decode_key(key)[place] in values]
