"""Files on this machine and in buckets as sources: one file, or all files of a folder or below a prefix."""

import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mainspring.artifacts.bucket import Bucket
from mainspring.artifacts.trees import files_under
from mainspring.data.sources.protocol import FileSource, SourceFile, Wanted
from mainspring.errors import Invalid, NotFound

__all__ = ["bucket", "local", "too_large"]


def local(address: str, wanted: Wanted) -> FileSource:
    """Return the source that is a file, with the sheet of a workbook behind a `#`, or a folder of files."""
    _refuse_cursor(wanted)
    path = Path(unquote(urlsplit(address).path) if address.startswith("file://") else address.removeprefix("file:"))
    whole, _, sheet = str(path).partition("#")
    if sheet and not path.exists():
        path = Path(whole)
    else:
        sheet = ""
    if not path.exists():
        raise NotFound(f"There is no file or folder `{path}`", where="SOURCE", next_step="check the path")

    def files(seen: Mapping[str, str]) -> Iterator[SourceFile]:
        listed = files_under(path) if path.is_dir() else iter([(path.name, path)])
        for name, file in listed:
            if any(part.startswith(".") for part in name.split("/")):
                continue
            stat = file.stat()
            if stat.st_size > wanted.most_bytes:
                raise too_large(name, wanted.most_bytes)
            stamp = f"{stat.st_size}-{stat.st_mtime_ns}-{stat.st_ino}"
            yield SourceFile(name + (f"#{sheet}" if sheet else ""), stamp, partial(_linked, file))

    return FileSource(str(path) + (f"#{sheet}" if sheet else ""), files)


def _linked(file: Path, folder: Path) -> Path:
    """Return a copy by name only: the bytes stay where they are."""
    target = folder / file.name
    target.unlink(missing_ok=True)
    target.symlink_to(os.path.abspath(file))
    return target


def bucket(address: str, wanted: Wanted) -> FileSource:
    """Return the source ``s3://bucket/key`` (or ``gs``, ``az``): one object, or all below a prefix that ends in `/`."""
    _refuse_cursor(wanted)
    parts = urlsplit(address)
    key = unquote(parts.path.lstrip("/"))
    if not key:
        raise Invalid("The address names no object", where="SOURCE", next_step="write it as s3://bucket/folder/")
    place = Bucket(f"{parts.scheme}://{parts.netloc}")
    told = f"{place.address}/{key}"

    def files(seen: Mapping[str, str]) -> Iterator[SourceFile]:
        keys = sorted(place.keys(key.rstrip("/"))) if key.endswith("/") else [key]
        for each in keys:
            if key.endswith("/") and not each.startswith(key):
                continue
            found = place.find(each)
            if found is None:
                raise NotFound(f"There is no object `{each}`", where=told, next_step="a folder ends in /")
            if found.size_bytes > wanted.most_bytes:
                raise too_large(each, wanted.most_bytes)
            name = each.removeprefix(key) if key.endswith("/") else Path(each).name
            stamp = found.etag or f"{found.size_bytes}-{found.at.isoformat()}"
            yield SourceFile(name, stamp, partial(_fetched, place, each, wanted.most_bytes))

    return FileSource(told, files)


def _fetched(place: Bucket, key: str, most: int, folder: Path) -> Path:
    target, taken = folder / Path(key).name, 0
    with target.open("wb") as file:
        for piece in place.read(key):
            taken += file.write(piece)
            if taken > most:
                raise too_large(key, most)
    return target


def too_large(name: str, most_bytes: int) -> Invalid:
    """Return the error for a file that is larger than what may be taken."""
    return Invalid(f"`{name}` is larger than {most_bytes:,} bytes", where="SOURCE", next_step="raise --most-bytes")


def _refuse_cursor(wanted: Wanted) -> None:
    if wanted.cursor:
        raise Invalid(
            "Files have no cursor", where="--cursor", next_step="leave it out: files that did not change are not read"
        )
