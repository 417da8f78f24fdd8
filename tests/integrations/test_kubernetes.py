"""What `mainspring export` prints: it fits the schemas of Kubernetes and Argo, and its commands do what a run does."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml
from hera.workflows.models import Workflow

from mainspring.cli.main import main
from mainspring.workspace import Workspace

PIPELINE = '''"""A pipeline with everything that matters to where its steps run."""

from typing import NamedTuple

import mainspring as ms


class Halves(NamedTuple):
    left: list[int]
    right: list[int]


@ms.step
def load(path: str) -> list[int]:
    with open(path) as lines:
        return [int(line) for line in lines]


@ms.step
def halves(numbers: list[int]) -> Halves:
    half = len(numbers) // 2
    return Halves(numbers[:half], numbers[half:])


@ms.step(memory="200MB")
def total(numbers: list[int], scale: float) -> float:
    return scale * sum(numbers)


@ms.step(cache=False)
def tell(left: float, right: float) -> None:
    with open("told.txt", "a") as told:
        told.write(f"{left} {right}\\n")


@ms.pipeline
def sums(path: str = "numbers.txt", scale: float = 1.0) -> dict[str, float]:
    parts = halves(load(path))
    left, right = total(parts.left, scale), total(parts.right, scale)
    tell(left, right)
    if left < right:  # what follows is only known once two steps have run
        return {"left": left, "right": right, "most": total(parts.right, 10.0)}
    return {"left": left, "right": right}
'''


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "sums.py").write_text(PIPELINE)
    (folder / "numbers.txt").write_text("\n".join(map(str, range(20))))
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MAINSPRING_HOME", str(tmp_path / "here"))
    monkeypatch.delitem(sys.modules, "sums", raising=False)
    return folder


def exported(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, Any]]:
    assert main(["export", "sums.py", "--image", "registry.example/sums:1", *words]) == 0
    return list(yaml.safe_load_all(capsys.readouterr().out))


def argo_schema() -> dict[str, Any]:
    """Return the schema of an Argo Workflow, refusing fields that Argo does not know, as its own server does."""
    schema: dict[str, Any] = Workflow.model_json_schema(by_alias=True)
    for each in (schema, *schema["$defs"].values()):
        if "properties" in each:
            each["additionalProperties"] = False
    return schema


@pytest.mark.parametrize("version", ["1.31", "1.37"])
def test_jobs_fit_the_schema_of_kubernetes(project: Path, capsys: pytest.CaptureFixture[str], version: str) -> None:
    documents = exported(capsys, "--claim", "mainspring", "--secret", "stores", "--env", "GREETING=$(HOME)")
    assert [each["kind"] for each in documents] == ["Job"] * 5
    for each in documents:
        kubernetes_validate.validate(each, version, strict=True)
        assert len(each["metadata"]["name"]) <= 63
    misspelt = documents[0]
    misspelt["spec"]["template"]["spec"]["containers"][0]["comand"] = ["true"]
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, version, strict=True)


def test_workflow_fits_the_schema_of_argo(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (document,) = exported(capsys, "--to", "argo", "--claim", "mainspring", "--secret", "stores")
    jsonschema.validate(document, argo_schema())
    tasks = {each["name"]: each.get("dependencies", []) for each in document["spec"]["templates"][0]["dag"]["tasks"]}
    assert tasks == {
        "00-load": [],
        "01-halves": ["00-load"],
        "02-total": ["01-halves"],
        "03-total": ["01-halves"],
        "run": ["00-load", "01-halves", "02-total", "03-total"],
    }
    document["spec"]["templates"][1]["container"]["comand"] = ["true"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, argo_schema())


def process(container: dict[str, Any], mounted: Path) -> "subprocess.Popen[str]":
    """Start a container's command as a process, as a kubelet would, with `mounted` where the volume is."""
    words = [word.replace("$$(", "$(") for word in container["command"]]
    assert words[0] == "python"
    given = {each["name"]: each["value"].replace("/mainspring", str(mounted)) for each in container["env"]}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    return subprocess.Popen(
        [sys.executable, *words[1:]],
        cwd=container["workingDir"],
        env={**environment, **given},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def digests(home: Path) -> list[tuple[object, ...]]:
    """Return number, step, key and digest of what the newest run came to."""
    with Workspace(home) as workspace:
        return workspace.store.read(
            "SELECT number, name, key, output_digest FROM run_steps"
            " WHERE run_id = (SELECT max(run_id) FROM runs) ORDER BY number"
        )


def test_jobs_applied_at_once_give_what_a_run_gives(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = exported(capsys, "--claim", "mainspring", "--folder", str(project), "-p", "scale=2")
    mounted = tmp_path / "volume"
    mounted.mkdir()
    containers = [each["spec"]["template"]["spec"]["containers"][0] for each in documents]
    # all at once and the last first, so that each has to wait for what it needs
    running = [process(each, mounted) for each in reversed(containers)]
    said = [each.communicate(timeout=120)[0] for each in running]
    assert [each.returncode for each in running] == [0] * 5, said
    assert main(["run", "sums.py", "-p", "scale=2"]) == 0
    here, there = digests(tmp_path / "here"), digests(mounted)
    assert there == here
    assert len(here) == 6
    # the step that is not kept ran once on the cluster, in the last process, and once here
    assert (project / "told.txt").read_text().count("\n") == 2
    with Workspace(mounted) as workspace:
        ran = workspace.store.read("SELECT name, count(*) FROM run_steps WHERE cached = 0 GROUP BY name ORDER BY name")
    assert ran == [("halves", 1), ("load", 1), ("tell", 1), ("total", 3)]


def test_tasks_of_a_workflow_in_their_order_give_what_a_run_gives(
    project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (document,) = exported(capsys, "--to", "argo", "--claim", "mainspring", "--folder", str(project))
    dag, *templates = document["spec"]["templates"]
    containers = {each["name"]: each["container"] for each in templates}
    done: set[str] = set()
    for task in dag["dag"]["tasks"]:
        assert done.issuperset(task.get("dependencies", []))
        ended = process(containers[task["template"]], tmp_path)
        said, _ = ended.communicate(timeout=120)
        assert ended.returncode == 0, said
        done.add(task["name"])
    assert main(["run", "sums.py"]) == 0
    assert digests(tmp_path / "here") == digests(tmp_path)


def test_a_step_whose_input_is_not_kept_says_so_and_runs_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "sums.py", "--step", "2"]) == 3
    assert "No results are kept yet of `halves` (1)" in capsys.readouterr().err
    assert main(["run", "sums.py", "--step", "9"]) == 3
    assert "has no step 9" in capsys.readouterr().err
    assert main(["run", "sums.py", "--step", "0", "--json"]) == 0
    assert [each["name"] for each in json.loads(capsys.readouterr().out)["steps"]] == ["load"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "share no store"),
        (["--env", "MAINSPRING_STORE=postgresql://me:pass@db/ms", "--env", "MAINSPRING_ARTIFACTS=s3://b"], "secret"),
        (["--claim", "c", "--env", "API_TOKEN=1"], "secret"),
        (["--claim", "c", "--env", "novalue"], "not NAME=VALUE"),
        (["--claim", "c", "--to", "nomad"], "no exporter `nomad`"),
        (["--claim", "c", "--to", "argo", "-p", "path={{x}}"], "double braces"),
        (["--claim", "c", "-p", "scale=much"], "scale"),
    ],
)
def test_what_cannot_be_exported_is_told(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert main(["export", "sums.py", "--image", "sums:1", *words]) == 2
    assert told in capsys.readouterr().err
