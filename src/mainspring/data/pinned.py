"""What a pin names, brought back beside it: a checkout that loses nothing that was not saved.

A checkout first makes every new file in a folder of its own beside the target, verified, and only then moves them into
place, so a full disk or a damaged object changes nothing. Neighbours: `pins` is the file, `file_index` what was seen,
`pin_status` what has changed.
"""

import contextlib
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from mainspring.artifacts.digests import CHUNK_BYTES, digest_of_file
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.data.file_index import SeenFile, index_of, look, read_index, root_digest, write_index
from mainspring.data.pin_status import beside, digests_of, wanted_of
from mainspring.data.pins import read_pin
from mainspring.domain.ids import Digest
from mainspring.errors import Conflict, Corrupt, Invalid

if sys.platform != "win32":
    import fcntl

__all__ = ["checkout_pin", "place"]


def checkout_pin(pin_file: Path, artifacts: ArtifactStore, indexes: Path, *, force: bool = False) -> Path:
    """Make what lies beside a pin what it names, file by file, and return its path.

    Raises:
        NotFound, Invalid: there is no such pin, it is none, or this artifact store does not have what it names.
        Conflict: files have changes that no version holds, and `force` is not given. Nothing was touched.
        Corrupt: the stored bytes are damaged. Nothing was touched.
    """
    pin = read_pin(pin_file)
    path = beside(pin_file, pin)
    place(artifacts, pin.digest, path, indexes, folder=pin.folder, force=force)
    return path


def place(
    artifacts: ArtifactStore, digest: Digest, path: Path, indexes: Path, *, folder: bool, force: bool = False
) -> None:
    """Make `path` the file or folder that `digest` names; files that are so already are left alone.

    Raises:
        NotFound: the artifact store does not have it.
        Conflict: files have changes that no version holds, and `force` is not given. Nothing was touched.
        Corrupt: the stored bytes are damaged. Nothing was touched.
    """
    wanted = wanted_of(artifacts, digest, folder=folder)
    with _alone(indexes, path) as staging:
        index = read_index(indexes, path)
        before = index.files()
        seen: dict[str, SeenFile] = {}
        if path.is_symlink() or (path.exists() and path.is_dir() is not folder):
            if not force:
                raise Conflict(
                    f"`{path}` is no {'folder' if folder else 'file'}", next_step="move it away, or say --force"
                )
        elif path.exists():
            seen = look(path, index, digest_of_file).files()
        unsaved = [name for name, each in seen.items() if not _is_saved(name, each.digest, before, wanted)]
        if unsaved and not force:
            shown = ", ".join(f"`{name or path.name}`" for name in sorted(unsaved)[:3])
            more = f" and {len(unsaved) - 3:,} more" if len(unsaved) > 3 else ""
            raise Conflict(
                f"{shown}{more} would be lost: no version holds what is there",
                where=str(path),
                next_step="add it with `mainspring data add`, or say --force to lose it",
            )
        differing = {name: each for name, each in wanted.items() if name not in seen or seen[name].digest != each}
        for name, each in differing.items():
            _copy_out(artifacts, each, _under(staging, name))
        now = look(path, index_of("", seen), digest_of_file) if seen and not force else None
        if now is not None and digests_of(now.files()) != digests_of(seen):
            raise Conflict(f"`{path}` was changed meanwhile", where=str(path), next_step="nothing was touched; repeat")
        if not seen:
            _remove(path)
        _move_in(path, staging, differing, seen.keys() - wanted.keys(), folder=folder)
        known = {name: each for name, each in seen.items() if name not in differing}
        found = look(path, index_of("", known), digest_of_file).files()
        # what somebody writes from now on is no version's, and must not pass for one
        placed = {name: each for name, each in found.items() if wanted.get(name) == each.digest}
        write_index(indexes, path, index_of(root_digest(placed) if placed else digest, placed))


def _under(root: Path, name: str) -> Path:
    return root / "whole" / name if name else root / "whole"


def _is_saved(name: str, digest: Digest, before: Mapping[str, SeenFile], wanted: Mapping[str, Digest]) -> bool:
    return wanted.get(name) == digest or (name in before and before[name].digest == digest)


@contextlib.contextmanager
def _alone(indexes: Path, path: Path) -> Iterator[Path]:
    """Keep other checkouts away from `path`, and give an empty folder on its disk for what will be moved there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    indexes.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(f".{path.name}.checkout")
    with (indexes / "checkout.lock").open("ab") as lock:
        if sys.platform != "win32":
            fcntl.flock(lock, fcntl.LOCK_EX)
        if staging.is_symlink():
            raise Invalid(f"`{staging}` is a link", next_step="remove it")
        shutil.rmtree(staging, ignore_errors=True)  # of a checkout that was killed
        staging.mkdir()
        try:
            yield staging
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _copy_out(artifacts: ArtifactStore, digest: Digest, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with artifacts.open(digest) as source, target.open("xb") as stream:
        shutil.copyfileobj(source, stream, CHUNK_BYTES)
    if digest_of_file(target) != digest:
        artifacts.verify(digest)
        raise Corrupt(f"The copy of {digest[:16]} is not what was read", where=str(target), next_step="check the disk")


def _move_in(path: Path, staging: Path, new: Mapping[str, Digest], gone: "set[str]", *, folder: bool) -> None:
    """Put the files of `staging` in place and remove the others; a link on the way is replaced, never followed."""
    if folder and not path.exists():
        (staging / "whole").mkdir(exist_ok=True)
        (staging / "whole").rename(path)
        return
    for name in gone:
        (path / name).unlink()
        for parent in (path / name).parents:
            if parent == path or any(parent.iterdir()):
                break
            parent.rmdir()
    for name in new:
        target = path / name if name else path
        if name:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)  # holds no files any more: those of it are gone
        _under(staging, name).replace(target)


def _remove(path: Path) -> None:
    """Remove what is no version's form of `path`: a link, a file for a folder, a folder without files."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)
