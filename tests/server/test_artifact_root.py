"""`mainspring server --default-artifact-root`: files that clients keep beside the server, and what it reads of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainspring.errors import Invalid
from mainspring.server.artifact_root import ArtifactRoot

from .conftest import Server

UPLOAD = "/ajax-api/2.0/mlflow/upload-artifact"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def beside(tmp_path: Path, folder: Path) -> Iterator[Server]:
    """A server whose experiments keep their files in a folder of this machine."""
    started = Server(tmp_path / "home", "--default-artifact-root", folder.as_uri())
    yield started
    started.stop()


def _run(server: Server, experiment: str = "0") -> tuple[str, str]:
    info = server.post("runs/create", experiment_id=experiment, start_time=5).json["run"]["info"]
    return info["run_id"], info["artifact_uri"]


def _versioned(server: Server, source: str, **words: object):
    return server.post("model-versions/create", name="late", source=source, **words)


def test_new_experiments_and_the_default_one_lie_below_the_root(beside: Server, folder: Path) -> None:
    made = beside.post("experiments/create", name="flights").json["experiment_id"]
    found = beside.get("experiments/get", experiment_id=made).json["experiment"]
    assert found["artifact_location"] == f"{folder.as_uri()}/{made}"
    run_id, uri = _run(beside)
    assert uri == f"{folder.as_uri()}/0/{run_id}/artifacts"
    chosen = beside.post("experiments/create", name="own", artifact_location="s3://bucket/x").json["experiment_id"]
    assert _run(beside, chosen)[1].startswith("s3://bucket/x/")


def test_files_that_a_client_put_there_are_listed_and_sent(beside: Server, folder: Path) -> None:
    run_id, uri = _run(beside)
    place = Path(uri.removeprefix("file://"))
    (place / "dir").mkdir(parents=True)
    (place / "my file.txt").write_text("Hello, World!")
    (place / "dir" / "b").write_text("")
    assert beside.get("artifacts/list", run_id=run_id).json == {
        "root_uri": uri,
        "files": [{"path": "dir", "is_dir": True}, {"path": "my file.txt", "is_dir": False, "file_size": 13}],
    }
    listed = f"/api/2.0/mlflow/artifacts/list?run_id={run_id}&path="
    assert beside.ask("GET", f"{listed}dir").json["files"][0]["path"] == "dir/b"
    assert "files" not in beside.ask("GET", f"{listed}nothing").json
    answer = beside.ask("GET", f"/get-artifact?run_id={run_id}&path=my%20file.txt")
    assert (answer.body, answer.headers["content-type"]) == (b"Hello, World!", "text/plain")
    part = beside.ask("GET", f"/get-artifact?run_id={run_id}&path=my%20file.txt", headers={"Range": "bytes=7-"})
    assert (part.status, part.body) == (206, b"World!")
    assert beside.ask("GET", f"/get-artifact?run_id={run_id}&path=none").status == 404
    assert beside.ask("GET", f"/get-artifact?run_id={run_id}&path=dir").status == 400


def test_a_page_uploads_into_the_folder(beside: Server) -> None:
    run_id, uri = _run(beside)
    assert beside.ask("POST", f"{UPLOAD}?run_uuid={run_id}&path=a/b.txt", raw=b"hello").status == 200
    assert Path(uri.removeprefix("file://"), "a", "b.txt").read_bytes() == b"hello"
    assert beside.ask("GET", f"/get-artifact?run_uuid={run_id}&path=a/b.txt").body == b"hello"
    assert beside.ask("POST", f"{UPLOAD}?run_uuid={run_id}&path=a", raw=b"x").status == 400
    assert beside.ask("POST", f"{UPLOAD}?run_uuid={run_id}&path=a/b.txt/c", raw=b"x").status == 400
    assert sorted(each.name for each in Path(uri.removeprefix("file://"), "a").iterdir()) == ["b.txt"]


def test_nothing_beyond_the_root_is_read_or_written(beside: Server, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    run_id, uri = _run(beside)
    place = Path(uri.removeprefix("file://"))
    place.mkdir(parents=True)
    (place / "way").symlink_to(tmp_path)
    for path in ("way/secret", "../../../secret", "%2e%2e/%2e%2e/secret"):
        assert beside.ask("GET", f"/get-artifact?run_id={run_id}&path={path}").status == 400
    assert beside.ask("GET", f"/api/2.0/mlflow/artifacts/list?run_id={run_id}&path=way").status == 400
    assert beside.ask("POST", f"{UPLOAD}?run_uuid={run_id}&path=way/new", raw=b"x").status == 400
    assert not (tmp_path / "new").exists()
    outside = beside.post("experiments/create", name="outside", artifact_location=tmp_path.as_uri()).json
    other, _ = _run(beside, outside["experiment_id"])
    told = beside.ask("GET", f"/get-artifact?run_id={other}&path=../../secret")
    assert told.status == 400
    assert "does not serve" in beside.get("artifacts/list", run_id=other).json["message"]


def test_a_version_comes_from_the_folder_of_its_run(beside: Server) -> None:
    beside.post("registered-models/create", name="late")
    run_id, uri = _run(beside)
    path = uri.removeprefix("file://")
    for source in (uri, f"{uri}/model", f"{uri}/.", f"{uri}/model/..", path, f"{path}/model"):
        assert _versioned(beside, source, run_id=run_id).status == 200
    for source, words in (
        (uri, {}),
        ("file:///tmp", {"run_id": run_id}),
        ("/tmp", {"run_id": run_id}),
        (f"{uri}/../..", {"run_id": run_id}),
    ):
        refused = _versioned(beside, source, **words)
        assert refused.status == 400
        assert "To use a local path as a model version" in refused.json["message"]
    remote = _versioned(beside, "file://123.456.789.123/path", run_id=run_id)
    assert (remote.status, "is not a valid remote uri" in remote.json["message"]) == (400, True)
    Path(path, "model").mkdir(parents=True)
    Path(path, "model", "MLmodel").write_text("flavors: {}")
    file = beside.ask("GET", "/model-versions/get-artifact?name=late&version=2&path=MLmodel")
    assert file.body == b"flavors: {}"


def test_a_root_on_a_web_address_is_the_tree_of_the_server(tmp_path: Path) -> None:
    root = "http://tracking.example/api/2.0/mlflow-artifacts/artifacts"
    server = Server(tmp_path / "home", "--default-artifact-root", root)
    try:
        run_id, uri = _run(server)
        assert uri == f"{root}/0/{run_id}/artifacts"
        server.ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/0/{run_id}/artifacts/a.txt", raw=b"abc")
        assert server.get("artifacts/list", run_id=run_id).json["files"][0]["path"] == "a.txt"
        assert server.ask("GET", f"/get-artifact?run_id={run_id}&path=a.txt").body == b"abc"
        server.post("registered-models/create", name="late")
        assert _versioned(server, uri, run_id=run_id).status == 200
        assert server.ask("GET", "/model-versions/get-artifact?name=late&version=1&path=a.txt").body == b"abc"
    finally:
        server.stop()


def test_an_experiment_that_names_a_folder_gets_it_as_the_server_sees_it(server: Server) -> None:
    made = server.post("experiments/create", name="own", artifact_location="my_location").json["experiment_id"]
    found = server.get("experiments/get", experiment_id=made).json["experiment"]
    assert found["artifact_location"] == str(Path.cwd() / "my_location")


def test_the_default_experiment_stays_where_it_has_kept_something(tmp_path: Path) -> None:
    first = Server(tmp_path / "home")
    _run(first)
    first.stop()
    second = Server(tmp_path / "home", "--default-artifact-root", "s3://bucket")
    try:
        assert _run(second)[1].startswith("mlflow-artifacts:/0/")
    finally:
        second.stop()


def test_a_root_that_cannot_keep_files_is_refused() -> None:
    with pytest.raises(Invalid, match="runs:/"):
        ArtifactRoot.named("runs:/abc")
    assert ArtifactRoot.named("rows").folder == Path.cwd() / "rows"
