"""Brings a remote under the newest key, so that who pushes there and who fetches need the older ones no more."""

import msgspec

from mainspring.artifacts.protocol import ArtifactStore
from mainspring.artifacts.scratch import scratch_folder
from mainspring.artifacts.settling import Settled, settle
from mainspring.data.notes import EncryptedNotes
from mainspring.data.remotes import Remote, Tell, record_key
from mainspring.errors import Corrupt
from mainspring.store.events import Event
from mainspring.store.protocol import Store

__all__ = ["encrypt_remote"]


class _Named(msgspec.Struct, frozen=True):
    """The part of a record that says where it lies."""

    name: str
    version: int
    digest: str


def encrypt_remote(
    store: Store, artifacts: ArtifactStore, address: str, tell: Tell | None = None
) -> tuple[Settled, int]:
    """Bring the objects of a remote, then its records, under the first key of `artifacts`; return how many records.

    What lay there before is removed; what was put into a bucket within its last second stays for the next call.

    Raises:
        Invalid: no key is named, or the address is none.
        NotFound: there is no such place, or nothing was pushed to it yet.
        Refused: something there lies under a key that is not named.
        Corrupt: an object or a record is damaged; the other objects were brought over, and none was removed.
        Unavailable: the place does not answer.
    """
    # what passes through here must not come to lie among the artifacts of this workspace, nor be removed from them
    with scratch_folder() as cache:
        remote = Remote(address, artifacts, is_made=False, cache=cache)
        settled = settle(remote.objects, tell)
        assert isinstance(remote.notes, EncryptedNotes), "else no key is named, which was told"
        records = remote.notes.settle("versions", _key_of)
    details = {"at": remote.address, "objects": settled.objects, "records": records}
    store.change(Event("data.encrypted", "data", details), lambda _: None)
    return settled, records


def _key_of(content: bytes) -> str:
    try:
        record = msgspec.json.decode(content, type=_Named)
    except msgspec.MsgspecError as error:
        raise Corrupt(
            f"A record of the remote cannot be read: {error}", next_step="find out who wrote it, and push it again"
        ) from error
    return record_key(record.name, record.version, record.digest)
