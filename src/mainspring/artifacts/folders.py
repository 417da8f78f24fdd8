"""Whole folders into a store and out of it, each as a tree; the format of trees is in `trees`."""

from pathlib import Path
from typing import TYPE_CHECKING

from blake3 import blake3

from mainspring.artifacts.digests import CHUNK_BYTES
from mainspring.artifacts.putting import outage
from mainspring.artifacts.trees import TreeFile, files_under, parse_tree, tree_bytes
from mainspring.domain.ids import Digest, new_id
from mainspring.errors import Conflict, Corrupt, NotFound

if TYPE_CHECKING:
    from mainspring.artifacts.protocol import ArtifactStore

__all__ = ["check_out", "copy_out", "put_folder"]


def put_folder(store: "ArtifactStore", folder: Path, *, at_once: int = 1) -> Digest:
    """Keep every file under `folder`, so many at once, and last the list of them, whose digest is returned."""

    def put(found: tuple[str, Path]) -> TreeFile:
        digest = store.put_file(found[1])
        return TreeFile(found[0], digest, store.size_bytes(digest))

    found = list(files_under(folder))
    if at_once == 1:
        return store.put_bytes(tree_bytes([put(each) for each in found]))
    from concurrent.futures import ThreadPoolExecutor  # refused while the interpreter ends and sends the last log

    with ThreadPoolExecutor(at_once, thread_name_prefix="artifacts") as pool:
        return store.put_bytes(tree_bytes(list(pool.map(put, found))))


def check_out(store: "ArtifactStore", tree: Digest, target: Path) -> None:
    """Write the files of a tree as the new folder `target`, all of them or none; the bytes are verified.

    Raises:
        Conflict: `target` exists and is not an empty folder.
        Corrupt: the object is no tree, a path in it leaves the folder, or a file's bytes are not what was put.
        Unavailable: the files cannot be written.
    """
    import shutil  # with what it imports it stands on a thirtieth of adding what is there already

    files = parse_tree(store.read_bytes(tree), tree)
    target = target.absolute()
    if target.is_symlink() or (target.exists() and (not target.is_dir() or any(target.iterdir()))):
        raise Conflict(f"`{target}` exists already", next_step="name a folder that does not exist or is empty")
    draft = target.with_name(f".{target.name}.{new_id()}")
    try:
        draft.mkdir(parents=True)
        for each in files:
            copy_out(store, each.digest, draft / each.path)
        draft.rename(target)
    except OSError as error:
        raise outage(error, target) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def copy_out(store: "ArtifactStore", digest: Digest, target: Path) -> None:
    """Write an object as the new file `target`, and its folder; what is left of it after an error is not the object.

    Raises:
        Corrupt: the bytes are not what was put.
        NotFound: there is no such object.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    hasher = blake3()
    try:
        with store.open(digest) as source, target.open("xb") as stream:
            while chunk := source.read(CHUNK_BYTES):
                hasher.update(chunk)
                stream.write(chunk)
        if hasher.hexdigest() != digest:
            raise Corrupt(f"The object {digest[:16]} was not what was put, and has been healed since")
    except Corrupt as error:
        try:
            store.verify(digest)  # sets it aside, and tells where
        except NotFound:  # that was done
            raise error from None
        raise
