"""A whole loop whose bytes lie in a bucket: trained here, served by a machine that has never seen them."""

import json
import shutil
from pathlib import Path

import pytest
from tests.artifacts.s3_server import S3Server
from tests.cli.conftest import LOOP, SCHEMA, Run, customers, serving


@pytest.fixture
def project(s3: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "loop.py").write_text(LOOP)
    (tmp_path / "customers.csv").write_text(customers())
    (tmp_path / "customers.schema.yaml").write_text(SCHEMA)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAINSPRING_ARTIFACTS", f"s3://ml/{tmp_path.name}")
    return tmp_path


def test_a_loop_lives_on_a_bucket(project: Path, run: Run) -> None:
    assert run("run", "loop.py").code == 0
    assert not (project / "home" / "artifacts").exists()
    again = run("run", "loop.py")
    assert again.code == 0, again.err  # its steps are found where the first run left them

    # another machine: the same store, and nothing of the bytes
    shutil.rmtree(project / "home" / "artifact-cache")
    shutil.rmtree(project / "home" / "bundles", ignore_errors=True)
    scored = run("predict", "churn", "customers.csv", "scored.csv")
    assert scored.code == 0, scored.err
    with serving("serve", "churn", ready=project / "ready.json") as client:
        row = {"age": 40.0, "plan": "pro", "spend": 10.0}
        assert len(client.predict("churn", [row]).predictions) == 1

    (project / "folder").mkdir()
    for number in range(20):
        (project / "folder" / f"{number}.txt").write_text(str(number))
    assert run("data", "add", "folder", "--pin").code == 0
    shutil.rmtree(project / "home" / "artifact-cache")
    shutil.rmtree(project / "folder")
    back = run("data", "checkout", "folder.pin")
    assert back.code == 0, back.err
    assert (project / "folder" / "7.txt").read_text() == "7"

    freed = run("gc", "--grace", "1s", "--json")
    assert freed.code == 0, freed.err
    assert json.loads(freed.out)["kept"] > 20
    assert run("predict", "churn", "customers.csv", "again.csv").code == 0
    assert (project / "again.csv").read_bytes() == (project / "scored.csv").read_bytes()


def test_the_doctor_tries_the_bucket(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    stages = {each["stage"]: each for each in json.loads(run("doctor", "--json").out)["checks"]}
    assert stages["artifacts"]["status"] == "ready"
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    refused = run("doctor", "--json")
    stages = {each["stage"]: each for each in json.loads(refused.out)["checks"]}
    assert stages["artifacts"]["status"] == "missing"
    assert refused.code != 0
