"""What every store does with bytes that are put: read them to know them, again to keep them, and say what failed."""

import errno
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mainspring.artifacts.digests import CHUNK_BYTES
from mainspring.artifacts.protocol import Incoming
from mainspring.domain.ids import Digest
from mainspring.errors import NotFound, Unavailable

__all__ = ["outage", "pour", "put_path"]

# Signs of a disk that is full, read-only, failing or out of bounds; anything else is a fault of ours.
_OUTAGES = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG})


def put_path(
    path: Path,
    digest_of: Callable[[Path], Digest],
    is_there: Callable[[Digest, int], bool],
    write: Callable[[BinaryIO], Digest],
) -> Digest:
    """Keep the content of the file `path` by `write`, unless that is there already, and return its digest.

    Raises:
        NotFound: there is no such file.
        Unavailable: it may not be read.
    """
    try:
        digest, size = digest_of(path), path.stat().st_size
        if is_there(digest, size):
            return digest
        with path.open("rb") as source:
            return write(source)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFound(f"There is no file `{path}`", next_step="check the path; it must name a file") from error
    except PermissionError as error:
        raise Unavailable(f"The file `{path}` cannot be read: {error.strerror}") from error


def pour(source: BinaryIO, incoming: Incoming) -> Digest:
    """Keep all that is left of a stream, or nothing of it, and return its digest."""
    try:
        while chunk := source.read(CHUNK_BYTES):
            incoming.write(chunk)
        return incoming.keep()
    finally:
        incoming.discard()


def outage(error: OSError, place: Path) -> Unavailable | OSError:
    """Return what to raise for a failed write: `Unavailable` where the disk is in trouble, else the error itself."""
    if error.errno not in _OUTAGES:
        return error
    return Unavailable(
        f"The bytes cannot be kept: {error.strerror}",
        where=str(place),
        next_step="make room or make the folder writable; nothing half-written is visible, so the same command can be"
        " run again",
    )
