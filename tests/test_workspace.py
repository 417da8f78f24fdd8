"""The composition root: where things lie, what it refuses, and that it lets go of what it opened."""

import threading
from pathlib import Path

import pytest

from mainspring.artifacts.secret_keys import make_key
from mainspring.errors import Invalid, MainspringError, NotFound, Refused, Unavailable
from mainspring.predictions.journal import JournalWriter
from mainspring.predictions.records import LabelRecord, encode_record
from mainspring.workspace import Workspace


def test_everything_lies_in_the_home(tmp_path: Path) -> None:
    with Workspace(tmp_path / "home") as workspace:
        digest = workspace.artifacts.put_bytes(b"x")
        workspace.store.read("SELECT 1")
        assert workspace.seal() == 0
        assert workspace.log.counts("m") == (0, 0)
        assert workspace.artifacts.read_bytes(digest) == b"x"
        assert sorted(each.name for each in (tmp_path / "home").iterdir() if not each.name.startswith("store.")) == [
            "artifacts",
            "journals",
            "segments",
        ]
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_opening_a_workspace_writes_nothing(tmp_path: Path) -> None:
    with Workspace(tmp_path / "home"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_settings_name_other_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_STORE", f"sqlite:///{tmp_path}/elsewhere/facts.sqlite")
    monkeypatch.setenv("MAINSPRING_ARTIFACTS", str(tmp_path / "bytes"))
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAINSPRING_ACTOR", "eve")
    with Workspace() as workspace:
        assert workspace.store.read("SELECT count(*) FROM runs") == [(0,)]
        workspace.artifacts.put_bytes(b"x")
        assert (workspace.actor, workspace.home) == ("eve", tmp_path / "home")
    assert (tmp_path / "elsewhere" / "facts.sqlite").exists()
    assert (tmp_path / "bytes").is_dir()


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("MAINSPRING_STORE", "mysql://host/db", "store"),
        ("MAINSPRING_STORE", "/plain/path", "store"),
        ("MAINSPRING_ARTIFACTS", "ftp://bucket/x", "artifacts"),
    ],
)
def test_an_address_nothing_is_built_for_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, part: str
) -> None:
    monkeypatch.setenv(name, value)
    with Workspace(tmp_path) as workspace, pytest.raises(Invalid, match="cannot use") as caught:
        getattr(workspace, part)
    assert caught.value.where == name
    assert list(tmp_path.iterdir()) == []


def test_a_closed_workspace_says_so(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        store = workspace.store
    with pytest.raises(Unavailable, match="closed"):
        store.read("SELECT 1")


def test_a_bundle_is_laid_out_once_whoever_asks_at_once(tmp_path: Path) -> None:
    source = tmp_path / "bundle"
    source.mkdir()
    for number in range(40):
        (source / f"{number}.bin").write_bytes(bytes([number]) * 1000)
    with Workspace(tmp_path / "home") as workspace:
        digest = workspace.artifacts.put_tree(source)
        others = [Workspace(tmp_path / "home") for _ in range(4)]
        found: list[Path] = []
        threads = [threading.Thread(target=lambda o=other: found.append(o.bundle_folder(digest))) for other in others]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [workspace.bundle_folder(digest)] * 4
        assert len(list(found[0].iterdir())) == 40
        assert len(list((tmp_path / "home" / "bundles").iterdir())) == 1


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of a workspace under the key `one`, with a bundle laid out and labels that wait to be sealed."""
    pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("MAINSPRING_DECRYPTED", str(tmp_path))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    make_key("one")
    make_key("two")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "weights").write_bytes(b"w")
    with Workspace(tmp_path / "home") as workspace:
        workspace.bundle_folder(workspace.artifacts.put_tree(tmp_path / "bundle"))
        with JournalWriter(workspace.journals, name="test") as journal:
            at = "2026-01-01T00:00:00+00:00"
            journal.append(encode_record(LabelRecord(model="m", at=at, ids=["a"], labels=["yes"], source=None)))
    return tmp_path / "home"


@pytest.mark.parametrize(("named", "told"), [("", Refused), ("two", Refused), ("lost", NotFound)])
def test_without_the_key_nothing_is_sealed_and_no_bundle_is_used(
    encrypted: Path, monkeypatch: pytest.MonkeyPatch, named: str, told: type[MainspringError]
) -> None:
    with Workspace(encrypted) as workspace:
        (bundle,) = [each for each in workspace.artifacts.digests() if workspace.artifacts.size_bytes(each) > 1]
        folder = workspace.bundles
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", named)
    with Workspace(encrypted) as workspace:
        with pytest.raises(told):
            workspace.seal()
        with pytest.raises(told):
            workspace.bundle_folder(bundle)
        assert not workspace.segments.exists()
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    with Workspace(encrypted) as workspace:
        assert workspace.seal() == 1
        assert workspace.bundle_folder(bundle).parent == folder
