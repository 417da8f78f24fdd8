"""The conformance suite of `ArtifactStore`: subclass it, say how to open a store, and pytest does the rest.

    class TestMyStore(ArtifactStoreSuite):
        def open_store(self, place: Path) -> ArtifactStore:
            return MyArtifactStore(place)

Two calls with the same `place` must give two stores on the same objects. A backend that can be damaged from outside
says how in `damage`, and then corruption is tested too.
"""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NoReturn

import pytest

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.artifacts.protocol import ArtifactStore
from mainspring.domain.ids import Digest
from mainspring.errors import Conflict, Corrupt, Invalid, NotFound

__all__ = ["ArtifactStoreSuite"]

_ABSENT = Digest("0" * 64)
_SOME_BYTES = (b"", b"x", b"flights\n" * 1000, bytes(range(256)) * 9000)


class ArtifactStoreSuite:
    """What every artifact store must do, as tests."""

    def open_store(self, place: Path) -> ArtifactStore:
        """Open a store whose objects live at `place`."""
        raise NotImplementedError("a subclass says how its store is opened")

    def damage(self, store: ArtifactStore, digest: Digest) -> None:
        """Alter the bytes of an object behind the store's back; leave this out where that cannot be done."""
        pytest.skip("this backend's objects cannot be damaged from outside")

    @pytest.fixture
    def store(self, tmp_path: Path) -> ArtifactStore:
        """A new, empty store."""
        return self.open_store(tmp_path / "artifacts")

    @pytest.mark.parametrize("data", _SOME_BYTES, ids=len)
    def test_bytes_come_back(self, store: ArtifactStore, data: bytes) -> None:
        digest = store.put_bytes(data)
        assert digest == digest_of_bytes(data)
        assert store.read_bytes(digest) == data
        assert store.path_of(digest).read_bytes() == data
        assert store.size_bytes(digest) == len(data)
        assert store.exists(digest)
        with store.open(digest) as stream:
            assert stream.read() == data
        store.verify(digest)

    @pytest.mark.parametrize("data", _SOME_BYTES, ids=len)
    def test_bytes_that_came_in_pieces_come_back(self, store: ArtifactStore, data: bytes) -> None:
        incoming = store.incoming()
        for start in range(0, len(data), 1000):
            incoming.write(data[start : start + 1000])
        digest = incoming.keep()
        incoming.discard()
        assert digest == digest_of_bytes(data)
        assert store.read_bytes(digest) == data

    def test_discarded_bytes_are_not_there(self, store: ArtifactStore) -> None:
        incoming = store.incoming()
        incoming.write(b"never mind")
        incoming.discard()
        assert not store.exists(digest_of_bytes(b"never mind"))
        assert list(store.digests()) == []

    def test_file_comes_back_and_is_left_alone(self, store: ArtifactStore, tmp_path: Path) -> None:
        source = tmp_path / "source.bin"
        source.write_bytes(b"abc" * 3_000_000)
        digest = store.put_file(source)
        assert digest == digest_of_bytes(b"abc" * 3_000_000)
        with store.open(digest) as stream:
            assert stream.read() == source.read_bytes()
        source.write_bytes(b"changed")
        store.verify(digest)

    def test_put_can_be_repeated(self, store: ArtifactStore) -> None:
        assert store.put_bytes(b"same") == store.put_bytes(b"same")
        assert list(store.digests()) == [digest_of_bytes(b"same")]

    def test_other_store_on_the_same_place_sees_the_object(self, store: ArtifactStore, tmp_path: Path) -> None:
        digest = store.put_bytes(b"shared")
        assert self.open_store(tmp_path / "artifacts").read_bytes(digest) == b"shared"

    def test_of_many_digests_the_missing_ones_are_told(self, store: ArtifactStore) -> None:
        assert store.missing([_ABSENT]) == {_ABSENT}
        put = [store.put_bytes(str(number).encode()) for number in range(50)]
        assert store.missing(put) == set()
        assert store.remove(put[7], unless_put_since=store.put_at(put[7]) + timedelta(hours=1))
        assert store.missing([*put, _ABSENT]) == {put[7], _ABSENT}

    def test_digests_lists_every_object(self, store: ArtifactStore) -> None:
        put = {store.put_bytes(str(number).encode()) for number in range(50)}
        assert set(store.digests()) == put

    def test_an_object_is_removed_unless_it_was_put_since(self, store: ArtifactStore) -> None:
        old, again, claimed = (store.put_bytes(each) for each in (b"old", b"again", b"claimed"))
        moment = max(store.put_at(each) for each in (old, again, claimed)) + timedelta(milliseconds=1)
        while datetime.now(UTC) <= moment + timedelta(seconds=1):  # some keep whole seconds
            pass
        assert store.put_bytes(b"again") == again
        assert store.claim(claimed)
        assert not store.claim(_ABSENT)
        assert [store.remove(each, unless_put_since=moment) for each in (old, again, claimed, _ABSENT)] == [
            True,
            False,
            False,
            False,
        ]
        assert set(store.digests()) == {again, claimed}
        assert not store.exists(old)
        assert store.put_bytes(b"old") == old
        assert store.read_bytes(old) == b"old"

    def test_empty_store_has_no_objects(self, store: ArtifactStore) -> None:
        assert list(store.digests()) == []
        assert not store.exists(_ABSENT)

    @pytest.mark.parametrize("method", ["open", "read_bytes", "path_of", "size_bytes", "verify", "put_at"])
    def test_absent_object_is_not_found(self, store: ArtifactStore, method: str) -> None:
        with pytest.raises(NotFound):
            getattr(store, method)(_ABSENT)

    @pytest.mark.parametrize("text", ["", "abc", "../../etc/passwd", "G" * 64, "A" * 64, "0" * 63 + "/"])
    def test_text_that_is_no_digest_is_refused(self, store: ArtifactStore, text: str) -> None:
        with pytest.raises(Invalid):
            store.exists(Digest(text))

    def test_missing_file_is_not_found(self, store: ArtifactStore, tmp_path: Path) -> None:
        with pytest.raises(NotFound):
            store.put_file(tmp_path / "absent")
        with pytest.raises(NotFound):
            store.put_file(tmp_path)
        with pytest.raises(NotFound):
            store.put_tree(tmp_path / "absent")

    def test_tree_comes_back(self, store: ArtifactStore, tmp_path: Path) -> None:
        files = {"a.txt": b"1", "deep/er/b.bin": b"\0" * 5000, "deep/c": b"", "été/ü.txt": b"1"}
        digest = store.put_tree(_folder(tmp_path / "source", files))
        store.checkout_tree(digest, tmp_path / "made" / "target")
        assert _content(tmp_path / "made" / "target") == files
        assert sorted(each.name for each in (tmp_path / "made").iterdir()) == ["target"]

    def test_equal_trees_have_equal_digests(self, store: ArtifactStore, tmp_path: Path) -> None:
        one = store.put_tree(_folder(tmp_path / "one", {"a": b"1", "b": b"2"}))
        two = store.put_tree(_folder(tmp_path / "two", {"b": b"2", "a": b"1"}))
        three = store.put_tree(_folder(tmp_path / "three", {"a": b"2", "b": b"1"}))
        assert one == two != three

    def test_checkout_does_not_write_over_files(self, store: ArtifactStore, tmp_path: Path) -> None:
        digest = store.put_tree(_folder(tmp_path / "source", {"a": b"new"}))
        target = _folder(tmp_path / "target", {"a": b"mine"})
        with pytest.raises(Conflict):
            store.checkout_tree(digest, target)
        assert _content(target) == {"a": b"mine"}

    def test_checkout_into_an_empty_folder_is_allowed(self, store: ArtifactStore, tmp_path: Path) -> None:
        digest = store.put_tree(_folder(tmp_path / "source", {"a": b"new"}))
        (tmp_path / "target").mkdir()
        store.checkout_tree(digest, tmp_path / "target")
        assert _content(tmp_path / "target") == {"a": b"new"}

    @pytest.mark.parametrize(
        "path", ["../out", "/out", "a/../../out", "a//b", "", ".", "a\\..\\out", "C:/out", "a\0b", 7, "same", "file/x"]
    )
    def test_tree_that_leaves_its_folder_is_never_written(
        self, store: ArtifactStore, tmp_path: Path, path: object
    ) -> None:
        content = store.put_bytes(b"evil")
        paths = ["same", "file", path]
        files = [{"path": each, "digest": content, "size_bytes": 4} for each in paths]
        digest = store.put_bytes(json.dumps({"mainspring_tree": 1, "files": files}).encode())
        with pytest.raises(Corrupt):
            store.checkout_tree(digest, tmp_path / "jail" / "target")
        assert not (tmp_path / "jail").exists()
        assert not (tmp_path / "out").exists()

    def test_object_that_is_no_tree_is_not_checked_out(self, store: ArtifactStore, tmp_path: Path) -> None:
        with pytest.raises(Corrupt):
            store.checkout_tree(store.put_bytes(b"not a tree"), tmp_path / "target")

    def test_checkout_with_a_missing_file_leaves_nothing(self, store: ArtifactStore, tmp_path: Path) -> None:
        files = [
            {"path": "a", "digest": store.put_bytes(b"a"), "size_bytes": 1},
            {"path": "b", "digest": _ABSENT, "size_bytes": 1},
        ]
        digest = store.put_bytes(json.dumps({"mainspring_tree": 1, "files": files}).encode())
        (tmp_path / "made").mkdir()
        with pytest.raises(NotFound):
            store.checkout_tree(digest, tmp_path / "made" / "target")
        assert list((tmp_path / "made").iterdir()) == []

    def test_damage_is_found_and_the_next_put_heals_it(self, store: ArtifactStore, tmp_path: Path) -> None:
        data = b"precious" * 1000
        tree = store.put_tree(_folder(tmp_path / "source", {"a": data}))
        digest = digest_of_bytes(data)

        def checkout(_: Digest) -> NoReturn:
            store.checkout_tree(tree, tmp_path / "target")
            raise AssertionError("a damaged file was checked out")

        for find in (store.read_bytes, store.open, store.verify, checkout):
            self.damage(store, digest)
            with pytest.raises(Corrupt):
                find(digest)
            assert store.put_bytes(data) == digest
            assert store.read_bytes(digest) == data
        assert not (tmp_path / "target").exists()


def _folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def _content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
