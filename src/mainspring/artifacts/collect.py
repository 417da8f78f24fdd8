"""Removing the objects that nothing names any more, beside writers that are at work.

An object stays when a root names it, or an object that stays does, or when it was put within the grace: who puts
bytes has that long to write down their digest where a root will find it. What an object names is read off its bytes: a
tree, a step's result and any other JSON document names every digest in its text. That can keep too much, and never
too little; no room has to explain its formats here.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from mainspring.artifacts.digests import CHUNK_BYTES
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import NotFound

__all__ = ["Collected", "collect", "digests_in", "reachable"]

_DIGEST_CHARACTERS = 64
_DIGEST = re.compile(r"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
_DIGEST_BYTES = re.compile(_DIGEST.pattern.encode())


class Collected(NamedTuple):
    """What a collection came to: objects and bytes removed, kept because they are named, and too young to tell."""

    removed: int
    removed_bytes: int
    kept: int
    young: int


def digests_in(text: str | None) -> list[Digest]:
    """Return every digest that a text holds."""
    return [Digest(each) for each in _DIGEST.findall(text or "")]


def reachable(artifacts: ArtifactStore, roots: Iterable[Digest]) -> set[Digest]:
    """Return the objects that are there and named by `roots`, or by one of themselves.

    Raises:
        Unavailable: an object cannot be read, so nobody knows what it names.
    """
    found: set[Digest] = set()
    waiting = list(dict.fromkeys(roots))
    while waiting:
        digest = waiting.pop()
        if digest in found:
            continue
        base = artifacts.base_of(digest)  # such an object is no document, and names nothing
        try:
            named = list(_named_by(artifacts, digest)) if base is None else [base]
        except NotFound:
            continue
        found.add(digest)
        waiting += [each for each in named if each not in found]
    return found


def collect(
    artifacts: ArtifactStore, roots: Iterable[Digest], *, put_before: datetime, dry_run: bool = False
) -> Collected:
    """Remove every object that was put before a moment and that nothing names; say what that frees.

    `roots` must be taken from one snapshot of the facts. A dry run removes nothing and tells the same.

    Raises:
        Unavailable: an object that stays cannot be read; nothing has been removed.
    """
    named = reachable(artifacts, roots)
    unnamed = [digest for digest in artifacts.digests() if digest not in named]
    too_young = {digest for digest in unnamed if _is_young(artifacts, digest, put_before)}
    needed = reachable(artifacts, too_young) - too_young
    removed = removed_bytes = 0
    kept, young = len(named), len(too_young)
    for digest in unnamed:
        if digest in too_young:
            continue
        if digest in needed:
            kept += 1
            continue
        try:
            size = artifacts.size_bytes(digest)
        except NotFound:  # another collection was faster
            continue
        if dry_run or artifacts.remove(digest, unless_put_since=put_before):
            removed, removed_bytes = removed + 1, removed_bytes + size
        elif artifacts.exists(digest):
            young += 1
    return Collected(removed, removed_bytes, kept, young)


def _is_young(artifacts: ArtifactStore, digest: Digest, put_before: datetime) -> bool:
    try:
        return artifacts.put_at(digest) >= put_before
    except NotFound:
        return False


def _named_by(artifacts: ArtifactStore, digest: Digest) -> Iterator[Digest]:
    with artifacts.open(digest) as stream:
        piece = stream.read(CHUNK_BYTES)
        if piece[:1] not in (b"{", b"["):
            return
        tail = b""
        while piece:
            text = tail + piece
            piece = stream.read(CHUNK_BYTES)
            # a digest at the end of one piece is told from a longer word by what comes next
            end = len(text) if not piece else len(text) - _DIGEST_CHARACTERS - 1
            for each in _DIGEST_BYTES.finditer(text):
                if each.start() < end:
                    yield Digest(each.group().decode())
            tail = text[max(end - 1, 0) :] if piece else b""
