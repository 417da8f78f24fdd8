"""A whole life with encrypted artifacts, seen by somebody who reads the disk."""

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.cli.conftest import LOOP, SCHEMA, Run, customers, serving

from mainspring.artifacts.opening import keys_named
from mainspring.artifacts.secret_keys import make_key
from mainspring.serve.routes import read_routes
from mainspring.workspace import Workspace

pytest.importorskip("cryptography", reason="pip install 'mainspring[encryption]'")

MARK = "kingfisher-7f1c"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "loop.py").write_text(LOOP)
    (tmp_path / "customers.csv").write_text(customers().replace("basic", MARK))
    schema = SCHEMA.replace("basic", MARK)
    (tmp_path / "customers.schema.yaml").write_text(schema)
    (tmp_path / "lenient.yaml").write_text(schema.replace("max: 120", "max: 120, severity: quarantine"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("MAINSPRING_KEYS", str(tmp_path / "keys"))
    monkeypatch.setenv("MAINSPRING_DECRYPTED", str(tmp_path / "memory"))
    (tmp_path / "memory").mkdir()
    make_key("one")
    return tmp_path


def live(project: Path, run: Run) -> None:
    """Ingest, train, register, predict in a batch and by a server, tell what came true, and seal the log."""
    broken = (project / "customers.csv").read_text() + f"-4,{MARK},1.0,1\n"
    (project / "broken.csv").write_text(broken)
    assert run("run", "loop.py").code == 0
    assert run("data", "add", "customers.csv", "--name", "customers").code == 0
    cleaned = run("data", "clean", "broken.csv", "lenient.yaml", "--name", "cleaned")
    assert cleaned.code == 0, cleaned.err
    assert run("predict", "churn", "customers.csv", "scored.csv").code == 0
    with serving("serve", "churn", ready=project / "ready.json") as client:
        answer = client.predict("churn", [{"age": 40.0, "plan": MARK, "spend": 10.0}])
        assert len(answer.predictions) == 1
    with Workspace() as workspace:
        workspace.seal()
    assert run("gc").code == 0


def seen_in(home: Path) -> set[str]:
    """Return the parts of a workspace in whose files or names the mark can be read."""
    return {
        path.relative_to(home).parts[0]
        for path in home.rglob("*")
        if MARK.encode() in bytes(path) or (path.is_file() and MARK.encode() in path.read_bytes())
    }


def test_after_a_whole_life_the_artifacts_hold_nothing_that_can_be_read(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    live(project, run)
    home = project / "home"
    # the docs say what the database holds; the journals were sealed and are gone
    assert seen_in(home) == {"store.sqlite"}
    assert not (home / "artifacts" / "objects").exists()
    (folder,) = (project / "memory").glob("mainspring-*-bundles-*")
    assert (oct(folder.stat().st_mode), seen_in(folder) != set()) == ("0o40700", True)
    shutil.rmtree(folder)  # as when the machine was started anew
    with Workspace() as workspace:
        assert workspace.republish() == []
        (route,) = read_routes(workspace.endpoints / "churn.json").routes
        assert (Path(route.bundle).parent, Path(route.bundle, "bundle.json").is_file()) == (folder, True)
    assert run("data", "checkout", "customers", "--to", "back.csv").code == 0
    assert (project / "back.csv").read_bytes() == (project / "customers.csv").read_bytes()


def test_a_plain_workspace_is_encrypted_by_one_command_and_lives_on(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("data", "add", "customers.csv", "--name", "customers").code == 0
    assert seen_in(project / "home") >= {"artifacts"}
    refused = run("store", "encrypt")
    assert (refused.code, "No key is named" in refused.err) == (2, True)
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    assert doctor(run)["status"] == "warning"
    assert run("data", "checkout", "customers", "--to", "before.csv").code == 0
    done = json.loads(run("store", "encrypt", "--json").out)
    assert done["objects"] > 0
    assert "artifacts" not in seen_in(project / "home")
    assert run("data", "checkout", "customers", "--to", "after.csv").code == 0
    assert (project / "after.csv").read_bytes() == (project / "customers.csv").read_bytes()
    assert doctor(run)["status"] == "ready"
    aside = project / "home" / "artifacts" / "corrupt" / ("0" * 64)
    aside.parent.mkdir()
    aside.write_text(MARK)
    assert doctor(run)["status"] == "warning"
    assert "Removed 1 damaged objects" in run("store", "encrypt").out
    assert (doctor(run)["status"], aside.exists()) == ("ready", False)
    make_key("two")
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "two,one")
    assert json.loads(run("store", "encrypt", "--json").out) == done
    one = Path(os.environ["MAINSPRING_KEYS"], "one.key")
    one.rename(one.with_suffix(".away"))
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "two")
    told = run("data", "checkout", "customers", "--to", "third.csv")
    assert told.code == 0, told.err  # nothing lies under the old key any more


def test_a_missing_key_is_told_by_every_command(project: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "lost")
    told = run("data", "add", "customers.csv", "--name", "customers")
    assert (told.code, "There is no key `lost`" in told.err) == (3, True)
    assert doctor(run)["status"] == "missing"
    monkeypatch.setenv("MAINSPRING_ENCRYPTION", "one")
    assert len(keys_named()) == 1


def doctor(run: Run) -> dict[str, str]:
    checks = json.loads(run("doctor", "--json").out)["checks"]
    found: dict[str, str] = next(each for each in checks if each["stage"] == "encryption")
    return found
