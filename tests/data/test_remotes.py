"""Versions travel by a folder or a bucket: only what is missing moves, every byte is verified, nothing is ever torn."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mainspring.artifacts.bucket import Bucket
from mainspring.artifacts.encryption import StoreKey
from mainspring.artifacts.secret_keys import make_key
from mainspring.cli.main import main
from mainspring.data import remotes
from mainspring.data.pins import pin_of, read_pin
from mainspring.data.remote_keys import encrypt_remote
from mainspring.data.remotes import Remote, fetch_version, push_version
from mainspring.data.terms import Terms
from mainspring.data.version_terms import keep_terms, terms_of
from mainspring.data.versions import DatasetVersion, add_dataset, checkout_dataset, find_dataset, list_datasets
from mainspring.domain.ids import new_id
from mainspring.errors import Conflict, Corrupt, Invalid, NotFound, Refused
from mainspring.store.events import events
from mainspring.workspace import Workspace

NOW = datetime(2013, 4, 1, tzinfo=UTC)


class Place:
    """A remote, and a way around its front door."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._bucket = Bucket(f"{address}/mainspring-datasets") if "://" in address else None
        self._folder = Path(address) / "mainspring-datasets"

    def keys(self, shelf: str) -> list[str]:
        if self._bucket is not None:
            return sorted(self._bucket.keys(shelf))
        found = (self._folder / shelf).rglob("*")
        return sorted(str(each.relative_to(self._folder)) for each in found if each.is_file())

    def read(self, key: str) -> bytes:
        return (self._folder / key).read_bytes() if self._bucket is None else b"".join(self._bucket.read(key))

    def write(self, key: str, data: bytes) -> None:
        if self._bucket is not None:
            self._bucket.put(key, data)
            return
        (self._folder / key).chmod(0o644)
        (self._folder / key).write_bytes(data)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "bucket":
        request.getfixturevalue("s3")
        return Place(f"s3://ml/{new_id()}")
    (tmp_path / "shared").mkdir()
    return Place(str(tmp_path / "shared"))


@pytest.fixture
def team(tmp_path: Path) -> Any:
    """Two workspaces."""
    with Workspace(tmp_path / "one") as one, Workspace(tmp_path / "two") as two:
        yield one, two


def images(root: Path, count: int = 5) -> Path:
    folder = root / "images"
    (folder / "deep").mkdir(parents=True, exist_ok=True)
    for number in range(count):
        (folder / "deep" / f"{number}.txt").write_text(f"picture {number}" * 50)
    return folder


def add(workspace: Workspace, path: Path) -> DatasetVersion:
    return add_dataset(workspace.store, workspace.artifacts, path, name="images", at=NOW)


def push(workspace: Workspace, to: str, reference: str = "images", **words: Any) -> remotes.Moved:
    return push_version(workspace.store, workspace.artifacts, reference, to, at=NOW, **words)


def fetch(workspace: Workspace, place: str, reference: str = "images", **words: Any) -> remotes.Moved:
    return fetch_version(workspace.store, workspace.artifacts, reference, place, at=NOW, **words)


def files(folder: Path) -> dict[str, str]:
    return {str(each.relative_to(folder)): each.read_text() for each in sorted(folder.rglob("*")) if each.is_file()}


def objects(folder: Path) -> list[Path]:
    return sorted(each for each in (folder / "objects").rglob("*") if each.is_file())


def test_a_version_goes_and_comes_and_only_what_is_missing_moves(team: Any, place: Place, tmp_path: Path) -> None:
    one, two = team
    folder = images(tmp_path)
    first = add(one, folder)
    keep_terms(one.store, first, Terms(licence="CC-BY-4.0"), at=NOW)
    pushed = push(one, place.address)
    assert (pushed.objects, pushed.already) == (6, 0)
    assert push(one, place.address)[1:] == (0, 0, 6)
    fetched = fetch(two, place.address)
    assert (fetched.objects, fetched.already) == (6, 0)
    assert find_dataset(two.store, "images/1") == first
    assert terms_of(two.store, first) == Terms(licence="CC-BY-4.0")
    checkout_dataset(two.store, two.artifacts, "images/1", tmp_path / "back")
    assert files(tmp_path / "back") == files(folder)
    (folder / "deep" / "3.txt").write_text("another")
    second = add(one, folder)
    assert (push(one, place.address, "images/2").objects, fetch(two, place.address).objects) == (2, 2)
    assert [each.version for each in list_datasets(two.store, "images")] == [2, 1]
    assert fetch(two, place.address, "images/2")[1:] == (0, 0, 6)
    assert [each.details["version"] for each in events(two.store, verb="data.fetched")] == [1, 2]
    assert find_dataset(two.store, "images").digest == second.digest


def test_one_file_travels_and_a_later_version_alone(team: Any, place: Place, tmp_path: Path) -> None:
    one, two = team
    (tmp_path / "t.csv").write_text("a\n1\n")
    add(one, tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("a\n1\n2\n")
    add(one, tmp_path / "t.csv")
    push(one, place.address, "images/2")
    fetch(two, place.address)
    assert [(each.version, each.n_rows) for each in list_datasets(two.store)] == [(2, 2)]
    with pytest.raises(NotFound, match="no version 1 of `images`"):
        fetch(two, place.address, "images/1")
    with pytest.raises(NotFound, match="no dataset `imagse`"):
        fetch(two, place.address, "imagse")


def test_another_version_under_the_same_name_is_never_written_over(team: Any, place: Place, tmp_path: Path) -> None:
    one, two = team
    add(one, images(tmp_path / "a"))
    add(two, images(tmp_path / "b", 3))
    push(one, place.address)
    with pytest.raises(Conflict, match="is another version"):
        push(two, place.address)
    with pytest.raises(Conflict, match="This workspace has another `images/1`"):
        fetch(two, place.address)
    assert find_dataset(two.store, "images/1").digest != find_dataset(one.store, "images/1").digest
    with pytest.raises(Conflict, match="has another version under the name"):
        fetch(two, place.address, "images/1", digest="0" * 64)


def test_of_two_that_push_at_once_at_most_one_is_told_that_it_did(
    team: Any, place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = team
    add(one, images(tmp_path / "a"))
    add(two, images(tmp_path / "b", 3))
    both = threading.Barrier(2, timeout=60)
    look = Remote._refuse_other
    looks = threading.local()

    def together(self: Remote, record: Any) -> None:
        looks.count = getattr(looks, "count", 0) + 1
        look(self, record)
        if looks.count == 2:  # both have looked for the last time before they put
            both.wait()

    said: list[object] = []

    def run(workspace: Workspace) -> None:
        try:
            said.append(push(workspace, place.address).version.digest)
        except Conflict as error:
            said.append(error)

    with monkeypatch.context() as patched:
        patched.setattr(Remote, "_refuse_other", together)
        threads = [threading.Thread(target=run, args=(each,)) for each in (one, two)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    won = [each for each in said if isinstance(each, str)]
    assert len(won) <= 1
    assert sum(map(len, Remote(place.address, one.artifacts, is_made=True).versions("images").values())) == len(won)
    if not won:  # both gave way, and the next one has it
        assert push(one, place.address).objects == 0


def test_what_is_damaged_at_the_far_end_is_told_and_healed(team: Any, place: Place, tmp_path: Path) -> None:
    one, two = team
    add(one, images(tmp_path))
    push(one, place.address)
    victim = max(place.keys("objects"), key=lambda each: len(place.read(each)))
    place.write(victim, b"other bytes")
    with pytest.raises(Corrupt, match="is not what was put"):
        fetch(two, place.address)
    assert list_datasets(two.store) == []
    assert push(one, place.address, verify=True).objects == 1
    fetch(two, place.address)
    for digest in two.artifacts.digests():
        two.artifacts.verify(digest)
    assert push(one, place.address, verify=True).objects == 0


def test_a_record_that_lies_is_refused(team: Any, place: Place, tmp_path: Path) -> None:
    one, two = team
    (tmp_path / "t.csv").write_text("a\n1\n")
    add(one, tmp_path / "t.csv")
    push(one, place.address)
    (record,) = place.keys("versions/images")
    told = json.loads(place.read(record))
    for change in (
        {"file_name": "../../evil.csv"}, {"file_name": ".bashrc"}, {"version": 7}, {"name": "other"},
        {"mainspring_version": 2}, {"created_at": "yesterday"}, {"digest": "1" * 64}, {"n_rows": "many"},
    ):  # fmt: skip
        place.write(record, json.dumps({**told, **change}).encode())
        with pytest.raises(Corrupt, match="record of images/1 cannot be read"):
            fetch(two, place.address)
    place.write(record, b"no JSON")
    with pytest.raises(Corrupt):
        fetch(two, place.address)
    assert list_datasets(two.store) == []


def test_a_version_past_its_retention_neither_goes_nor_comes(team: Any, place: Place, tmp_path: Path) -> None:
    one, two = team
    keep_terms(one.store, add(one, images(tmp_path)), Terms(retain="1d"), at=NOW)
    push(one, place.address)
    later = NOW.replace(day=3)
    for call, workspace in ((push_version, one), (fetch_version, two)):
        with pytest.raises(Refused, match="was to be kept until"):
            call(workspace.store, workspace.artifacts, "images", place.address, at=later)  # type: ignore[operator]  # either
    assert list_datasets(two.store) == []


def test_many_files_are_looked_up_by_one_listing(team: Any, place: Place, tmp_path: Path) -> None:
    one, two = team
    add(one, images(tmp_path, 70))
    told: list[tuple[int, int]] = []
    push(one, place.address, tell=lambda done, of: told.append((done, of)))
    assert told[-1] == (71, 71)
    assert push(one, place.address)[1:] == (0, 0, 71)
    assert fetch(two, place.address).objects == 71


def test_a_killed_push_leaves_no_version_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "one"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared").mkdir()
    images(tmp_path, 400)
    assert main(["data", "add", "images", "--pin"]) == 0
    words = ["data", "push", "images.pin", "--to", "shared"]
    killed = subprocess.Popen([sys.executable, "-m", "mainspring", *words], stderr=subprocess.DEVNULL)
    far = tmp_path / "shared" / "mainspring-datasets"
    while not (far / "objects").is_dir() or len(objects(far)) < 20:
        assert killed.poll() is None
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    there = len(objects(far))
    assert there < 400
    assert not (far / "versions").exists()
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "two"))
    assert main(["data", "fetch", "images.pin", "--from", "shared"]) == 3
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "one"))
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["already"] >= there - 8  # what was under way when the process died is put again
    assert done["objects"] + done["already"] == 401


def test_a_colleague_with_the_pin_has_the_bytes_by_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "one"))
    (tmp_path / "shared").mkdir()
    folder, pin = images(tmp_path), pin_of(tmp_path / "images")
    assert main(["data", "add", str(folder), "--pin"]) == 0
    assert main(["data", "push", str(pin)]) == 2  # nobody said where to
    assert main(["data", "push", str(pin), "--to", str(tmp_path / "shared")]) == 0
    assert read_pin(pin).remote == str(tmp_path / "shared")
    clone = tmp_path / "clone"
    clone.mkdir()
    shutil.copy(pin, clone)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "two"))
    monkeypatch.chdir(clone)
    capsys.readouterr()
    assert main(["data", "fetch", "images.pin"]) == 0
    assert "images/1 is at images: 6 objects" in capsys.readouterr().out
    assert files(clone / "images") == files(folder)
    assert main(["data", "status"]) == 0
    (clone / "images" / "deep" / "new.txt").write_text("mine")
    assert main(["data", "fetch", "images.pin"]) == 1  # what no version holds is not lost
    assert main(["data", "add", "images"]) == 0
    assert read_pin(clone / "images.pin").remote == str(tmp_path / "shared")
    assert main(["data", "push", "images.pin"]) == 0
    assert (clone / "images" / "deep" / "new.txt").read_text() == "mine"


def test_from_an_encrypted_workspace_a_remote_gets_nothing_that_can_be_read(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    make_key("team")
    make_key("newer")
    with Workspace(tmp_path / "plain") as plain:
        version = add(plain, images(tmp_path))
        monkeypatch.setenv("MAINSPRING_ENCRYPTION", "team")
        with Workspace(tmp_path / "one") as one, Workspace(tmp_path / "two") as two:
            add(one, images(tmp_path))
            assert push(one, place.address).objects == 6
            told = b"".join(each.encode() + b"\n" + place.read(each) for each in place.keys(""))
            assert not any(each in told for each in (b"picture", b"images", version.digest[2:18].encode(), b"deep"))
            assert push(one, place.address, verify=True).already == 6
            assert fetch(two, place.address).objects == 6
            checkout_dataset(two.store, two.artifacts, "images", tmp_path / "out")
            assert files(tmp_path / "out") == files(images(tmp_path))
            (images(tmp_path) / "more.txt").write_text("picture 7")
            with Workspace(tmp_path / "three") as three:
                add(three, images(tmp_path))
                with pytest.raises(Conflict, match="another version"):
                    push(three, place.address)
            # under a newer key, who has both reads all; who has none, or a wrong one, is told
            monkeypatch.setenv("MAINSPRING_ENCRYPTION", "newer,team")
            with Workspace(tmp_path / "four") as four:
                assert fetch(four, place.address).objects == 6
                four_more = add(four, images(tmp_path))
                assert push(four, place.address, four_more.reference).objects > 0
                assert Remote(place.address, four.artifacts, is_made=False).versions("images").keys() == {1, 2}
        with pytest.raises(Refused, match="no key is named"):
            push(plain, place.address)


def test_after_a_new_key_a_remote_does_not_need_the_old_one_for_ever(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    make_key("team")
    make_key("newer")
    with Workspace(tmp_path / "zero") as zero:
        add(zero, images(tmp_path))
        push(zero, place.address)  # as it is
        with pytest.raises(Invalid, match="No key is named"):
            encrypt_remote(zero.store, zero.artifacts, place.address)
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "team")
    with Workspace(tmp_path / "one") as one:
        fetch(one, place.address)
        (images(tmp_path) / "more.txt").write_text("picture 7")
        version = add(one, images(tmp_path))
        push(one, place.address, version.reference)
        monkeypatch.setenv("MAINSPRING_ENCRYPTION", "newer")
        with Workspace(tmp_path / "two") as two, pytest.raises(Refused, match="none of the keys"):
            fetch(two, place.address)
        monkeypatch.setenv("MAINSPRING_ENCRYPTION", "newer,team")
        with Workspace(tmp_path / "one") as both:
            lay = objects(tmp_path / "one" / "artifacts")
            assert encrypt_remote(both.store, both.artifacts, place.address)[1] == 2
            team_id = StoreKey("team").id
            behind = ("objects", "versions", *(f"encrypted/{team_id}/{each}" for each in ("objects", "records")))
            # a bucket keeps what was put within its last second for the next call
            deadline = time.monotonic() + 30
            while [each for shelf in behind for each in place.keys(shelf)]:
                assert encrypt_remote(both.store, both.artifacts, place.address)[1] == 0
                assert time.monotonic() < deadline
            assert objects(tmp_path / "one" / "artifacts") == lay
            assert both.artifacts.read_bytes(version.digest)
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "newer")
    with Workspace(tmp_path / "two") as two:
        assert fetch(two, place.address, "images/1").objects == 6
        assert fetch(two, place.address, "images/2").version.digest == version.digest
        checkout_dataset(two.store, two.artifacts, "images/2", tmp_path / "out")
        assert files(tmp_path / "out") == files(images(tmp_path))
    shown = main(["store", "encrypt", "--remote", place.address])
    assert shown == 0


@pytest.mark.parametrize("address", ["https://example.org/x", "ftp://x", "nowhere", ""])
def test_a_place_that_is_none_is_told(team: Any, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    add(team[0], images(tmp_path))
    with pytest.raises((Invalid, NotFound), match=r"A remote is|There is no folder"):
        push(team[0], address)
    with pytest.raises(NotFound, match="Nothing was pushed"):
        fetch(team[1], str(tmp_path))
