"""What is logged as a file, as bytes: a file's own, those handed in, or a figure as it is drawn."""

import io
from pathlib import Path, PurePath
from typing import IO, Any, Protocol

from mainspring.errors import Invalid, NotFound, Unavailable
from mainspring.tracking.limits import check_path

__all__ = ["Figure", "content_of"]

#: Files travel in batches beside numbers; larger ones are artifacts of their own.
_MOST_BYTES = 16 << 20


class Figure(Protocol):
    """What draws itself into a stream, as matplotlib's figures do."""

    def savefig(self, target: IO[bytes], **options: Any) -> Any:
        """Draw into `target`; the option `format` names the format."""


def content_of(path: str, given: Path | str | bytes | Figure) -> bytes:
    """Return the bytes to keep at `path` of a run.

    Raises:
        NotFound: the file is not there.
        Unavailable: it cannot be read.
        Invalid: the path leaves the run's files, or there are more than 16 MB.
    """
    check_path(path)
    if isinstance(given, bytes):
        data = given
    elif isinstance(given, str | PurePath):
        data = _read(Path(given))
    else:
        stream = io.BytesIO()
        given.savefig(stream, format=PurePath(path).suffix.lstrip(".") or "png")
        data = stream.getvalue()
    if len(data) > _MOST_BYTES:
        raise Invalid(
            f"The file `{path}` has {len(data):,} bytes, and 16 MB is the most that is logged at once",
            where=f"files.{path}",
            next_step="mainspring data add FILE keeps files of any size",
        )
    return data


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
        raise NotFound(f"There is no file `{file}`", next_step="check the path; it must name a file") from error
    except OSError as error:
        raise Unavailable(f"The file `{file}` cannot be read: {error.strerror}") from error
