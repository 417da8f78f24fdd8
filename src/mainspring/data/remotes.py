"""Remotes: places outside of the workspace to which dataset versions are pushed, and from which others fetch them.

A remote is a folder or a bucket. Objects lie there under their digests, so that only missing ones move and a push that
was killed goes on; a version's record is put last, under a name that holds its digest, so that it is there whole or not
at all and nobody writes over another's. Two that push different bytes as one version at once both find the other's
record, and at most one of the records stays; no more is asked of the place than that a listing shows what was put.
From a workspace whose artifacts are encrypted, objects and records go to a remote encrypted, with the same keys.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from mainspring.artifacts.bucket import SCHEMES, Bucket
from mainspring.artifacts.digests import is_digest
from mainspring.artifacts.layered import LayeredArtifactStore, copy_object
from mainspring.artifacts.opening import keys_of, open_artifacts, root_of
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.trees import parse_tree
from mainspring.data.notes import EncryptedNotes, FolderNotes, Notes
from mainspring.data.pins import check_name
from mainspring.data.terms import Terms
from mainspring.data.version_terms import refuse_expired, terms_of, write_terms
from mainspring.data.versions import DatasetVersion, adopt_version, find_dataset
from mainspring.domain.ids import Digest
from mainspring.domain.moments import from_iso
from mainspring.errors import Conflict, Corrupt, Invalid, NotFound, Refused
from mainspring.store.events import Event
from mainspring.store.protocol import Store, Transaction

__all__ = ["Moved", "Remote", "Tell", "fetch_version", "push_version", "record_key"]

#: Below the place a folder of ours, so that no artifact store, and no collection of one, has anything to do with it.
_SHELF = "mainspring-datasets"
_AT_ONCE = 8
#: From so many objects on they are looked up by one listing of all.
_MANY = 64
#: Is told how many objects of how many are there.
Tell = Callable[[int, int], None]


class Moved(NamedTuple):
    """A version, how many objects and bytes moved for it, and how many were there already."""

    version: DatasetVersion
    objects: int
    size_bytes: int
    already: int


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """What a remote knows of a version."""

    mainspring_version: int = 1
    name: str
    version: int
    digest: str
    file_name: str
    size_bytes: int
    n_rows: int | None
    columns: dict[str, str] | None
    source: str
    created_at: str
    origin: dict[str, Any] | None = None
    terms: Terms | None = None


def _folder(address: str, *, is_made: bool) -> Path:
    folder = Path(address).expanduser()
    if not folder.is_dir():
        raise NotFound(f"There is no folder `{address}`", where="--to, --from", next_step="make it, or mount it")
    root = folder / _SHELF
    if not is_made and not root.is_dir():
        raise NotFound(f"Nothing was pushed to `{address}` yet", where="--from", next_step="check the folder")
    return root


class Remote:
    """One place, seen from a workspace whose artifacts are `here`."""

    def __init__(self, address: str, here: ArtifactStore, *, is_made: bool, cache: Path | None = None) -> None:
        """Take the address: a folder, or s3://BUCKET/PREFIX, gs://..., az://...; `is_made` lets a folder be empty yet.

        What comes from a bucket, or goes there, lies in `cache` (default: among the artifacts).

        Raises:
            Invalid: it is neither.
            NotFound: there is no such folder, or nothing was pushed to it yet.
        """
        self.address = address.rstrip("/")
        self.notes: Notes
        scheme = urlsplit(address).scheme if "://" in address else ""
        if scheme in SCHEMES:
            place, self.notes = f"{self.address}/{_SHELF}", Bucket(f"{self.address}/{_SHELF}")
        elif scheme or not address:
            raise Invalid(
                f"A remote is a folder or a bucket, not a {scheme or 'nameless'} address",
                where="--to, --from",
                next_step="name a folder, or s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX",
            )
        else:
            root = _folder(address, is_made=is_made)
            place, self.notes = str(root), FolderNotes(root)
        keys = keys_of(here)
        # what comes from a bucket lands where it is wanted, and what goes there is read where it lies
        self.objects = open_artifacts(place, cache or root_of(here), keys)
        self.target = self.objects.first if isinstance(self.objects, LayeredArtifactStore) else self.objects
        if keys:
            self.notes = EncryptedNotes(self.notes, keys)

    def versions(self, name: str) -> dict[int, list[str]]:
        """Return the versions of a dataset here, each with the digests that were pushed as it, one unless two raced."""
        found: dict[int, list[str]] = {}
        for key in self.notes.keys(f"versions/{name}"):
            number, _, digest = key.rpartition("/")[2].removesuffix(".json").partition("-")
            if key.endswith(".json") and number.isdigit() and is_digest(digest):
                found.setdefault(int(number), []).append(digest)
        return found

    def put_record(self, record: _Record) -> None:
        """Put the record of a version whose objects are all here.

        Raises:
            Conflict: the version is another one here.
        """
        key = record_key(record.name, record.version, record.digest)
        self._refuse_other(record)
        self.notes.put(key, msgspec.json.format(msgspec.json.encode(record), indent=1))
        try:
            self._refuse_other(record)
        except Conflict:  # somebody pushed at the same moment: who sees the other one takes his own back
            self.notes.delete(key)
            raise

    def _refuse_other(self, record: _Record) -> None:
        others = [each for each in self.versions(record.name).get(record.version, []) if each != record.digest]
        if others:
            raise Conflict(
                f"At the remote `{record.name}/{record.version}` is another version, {others[0][:16]}",
                where=self.address,
                next_step="fetch it, add yours behind it as a new version, and push that",
            )

    def record(self, name: str, version: int | None, digest: str = "") -> _Record:
        """Return what is known here of a version; without a number of the newest.

        Raises:
            NotFound: it is not here.
            Conflict: it is not the one with `digest`, or two were pushed as it.
            Corrupt: what is here is no record.
        """
        known = self.versions(name)
        if not known:
            raise NotFound(f"The remote has no dataset `{name}`", where=self.address, next_step="push it first")
        number = max(known) if version is None else version
        if number not in known:
            listed = ", ".join(map(str, sorted(known)))
            raise NotFound(
                f"The remote has no version {number} of `{name}`", where=self.address, next_step=f"it has {listed}"
            )
        wanted = [each for each in known[number] if not digest or each == digest]
        if len(wanted) != 1:
            what = f"has {len(known[number])} versions" if wanted else "has another version"
            keys = ", ".join(record_key(name, number, each) for each in known[number])
            raise Conflict(
                f"The remote {what} under the name {name}/{number}",
                where=self.address,
                next_step=f"find out who pushed which ({keys}), and delete the wrong one below {_SHELF}",
            )
        key = record_key(name, number, wanted[0])
        return _read_record(b"".join(self.notes.read(key)), f"{self.address}/{_SHELF}/{key}", (name, number, wanted[0]))


def push_version(
    store: Store,
    artifacts: ArtifactStore,
    reference: str,
    address: str,
    *,
    at: datetime,
    digest: str = "",
    verify: bool = False,
    tell: Tell | None = None,
) -> Moved:
    """Bring a version to a remote: the objects that it lacks, then the record.

    With `digest` it must be that one. With `verify` the objects that are there already are read back as well, and put
    again where they are damaged.

    Raises:
        NotFound: there is no such version, or no such place.
        Conflict: the remote has another version under this name.
        Corrupt: an object of this workspace is damaged.
        Refused: the version is past its retention.
        Unavailable: the place does not answer.
    """
    version = find_dataset(store, reference)
    if digest and version.digest != digest:
        raise Conflict(
            f"This workspace has another `{version.reference}`, {version.digest[:16]}", next_step="fetch the pin first"
        )
    refuse_expired(store, version.digest, at=at)
    remote = Remote(address, artifacts, is_made=True)
    record = _Record(
        name=version.name, version=version.version, digest=version.digest, file_name=version.file_name,
        size_bytes=version.size_bytes, n_rows=version.n_rows, columns=version.columns, source=version.source,
        created_at=version.created_at, origin=version.origin, terms=terms_of(store, version),
    )  # fmt: skip
    remote._refuse_other(record)  # before anything moves
    digests = [*_files_of(artifacts, version), version.digest]
    there = set(remote.target.digests()) if len(digests) >= _MANY else None

    def is_there(digest: Digest) -> bool:
        found = remote.target.exists(digest) if there is None else digest in there
        if found and verify:
            with suppress(Corrupt):
                remote.target.verify(digest)
                return True
            return False
        return found

    moved = _move(artifacts, remote.target, digests, is_there, tell, "put the same bytes into this workspace again")
    remote.put_record(record)
    event = Event("data.pushed", f"data/{version.name}", {"version": version.version, "to": remote.address})
    store.change(event, lambda _: None)
    return Moved(version, *moved, len(digests) - moved[0])


def fetch_version(
    store: Store,
    artifacts: ArtifactStore,
    reference: str,
    address: str,
    *,
    at: datetime,
    digest: str = "",
    tell: Tell | None = None,
) -> Moved:
    """Bring a version from a remote into this workspace: the objects that it lacks, each verified, then the version.

    `reference` is ``name/3``, or a name for the newest one there; with `digest` it must be that one.

    Raises:
        NotFound: the remote has no such version, or there is no such place.
        Conflict: this workspace has another version under this name, or the remote is not of one mind about it.
        Corrupt: what is at the remote is not what was pushed; nothing of it counts here.
        Refused: the version is past its retention.
        Unavailable: the place does not answer.
    """
    name, _, number = reference.partition("/")
    check_name(name)
    if number and not (number.isascii() and number.isdigit() and len(number) < 10):
        raise Invalid(f"`{reference}` is not a dataset version", next_step="write it as flights/3, or flights")
    remote = Remote(address, artifacts, is_made=False)
    record = remote.record(name, int(number) if number else None, digest)
    terms = record.terms or Terms()
    ends = terms.ends_at(from_iso(record.created_at))
    if ends is not None and ends <= at:
        raise Refused(f"`{name}/{record.version}` was to be kept until {ends.isoformat()}", where="terms.retain")
    version = DatasetVersion(
        name, record.version, Digest(record.digest), record.file_name, record.size_bytes, record.n_rows, record.columns,
        record.source, record.created_at, record.origin,
    )  # fmt: skip
    again = "push it again from a workspace that has it, with --verify"
    first = _move(remote.objects, artifacts, [version.digest], artifacts.claim, None, again)
    files = _files_of(artifacts, version)
    rest = _move(remote.objects, artifacts, files, artifacts.claim, tell, again)

    def write(transaction: Transaction) -> bool:
        is_new = adopt_version(transaction, version)
        if is_new:
            write_terms(transaction, name, version.version, terms, at=from_iso(version.created_at))
        return is_new

    details = {"version": version.version, "digest": version.digest, "from": remote.address}
    store.change(lambda is_new: Event("data.fetched", f"data/{name}", details) if is_new else None, write)
    objects = first[0] + rest[0]
    return Moved(version, objects, first[1] + rest[1], len(files) + 1 - objects)


def _move(
    source: ArtifactStore,
    target: ArtifactStore,
    digests: Sequence[Digest],
    is_there: Callable[[Digest], bool],
    tell: Tell | None,
    again: str,
) -> tuple[int, int]:
    """Copy the objects that are not there; return how many, and their bytes. What is copied is what its digest says."""

    def copy(digest: Digest) -> int | None:
        if is_there(digest):
            return None
        try:
            return copy_object(source, target, digest)
        except Corrupt as error:
            raise Corrupt(error.what, where=error.where, next_step=again) from error

    moved, size = 0, 0
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="remote") as pool:
        try:
            for number, taken in enumerate(pool.map(copy, digests), start=1):
                moved, size = moved + (taken is not None), size + (taken or 0)
                if tell is not None:
                    tell(number, len(digests))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return moved, size


def _files_of(artifacts: ArtifactStore, version: DatasetVersion) -> list[Digest]:
    """Return the objects of the files of a version that is a folder."""
    if not version.file_name.endswith("/"):
        return []
    tree = parse_tree(artifacts.read_bytes(version.digest), version.digest)
    return list(dict.fromkeys(each.digest for each in tree))


def record_key(name: str, version: int, digest: str) -> str:
    """Return the key of a version's record among the notes of a remote."""
    return f"versions/{name}/{version}-{digest}.json"


def _read_record(data: bytes, where: str, wanted: tuple[str, int, str]) -> _Record:
    try:
        record = msgspec.json.decode(data, type=_Record)
        plain = record.file_name.removesuffix("/")
        if (record.name, record.version, record.digest) != wanted or record.mainspring_version != 1:
            raise ValueError("it is of another version")
        if plain in ("", ".", "..") or any(each in plain for each in "/\\\0") or plain.startswith("."):
            raise ValueError("its file has no name that can be used")
        from_iso(record.created_at)
    except (msgspec.MsgspecError, ValueError, Invalid) as error:
        said = f"The remote's record of {wanted[0]}/{wanted[1]} cannot be read: {error}"
        raise Corrupt(said, where=where, next_step="find out who wrote it, and push the version again") from error
    return record
