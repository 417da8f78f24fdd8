"""`mainspring init` for real: the project it makes is run, listed, tested and explored as its owner would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mainspring.cli.main import main
from mainspring.cli.project import _TEMPLATES

FILES = [
    ".gitignore",
    "README.md",
    "conftest.py",
    "customers.csv",
    "customers.py",
    "customers.schema.yaml",
    "explore.ipynb",
    "loop.py",
    "tests/test_loop.py",
]
ROOT = Path(__file__).parents[2]


def run(*words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAINSPRING_")}
    done = subprocess.run([sys.executable, *words], cwd=cwd, env=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture
def project(tmp_path: Path) -> Path:
    assert main(["init", str(tmp_path / "churn")]) == 0
    return tmp_path / "churn"


def test_init_writes_the_files_and_says_what_is_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "churn", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["project"] == "churn"
    assert (
        told["files"] == FILES == sorted(str(p.relative_to("churn")) for p in Path("churn").rglob("*") if p.is_file())
    )
    assert told["next"][0] == "mainspring run loop.py"
    assert list(tmp_path.iterdir()) == [tmp_path / "churn"]
    assert (tmp_path / "churn" / "README.md").read_text().startswith("# churn\n")


def test_init_fills_an_empty_folder_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert main(["init", str(tmp_path / "empty")]) == 0
    assert (tmp_path / "empty" / "loop.py").exists()


@pytest.mark.parametrize("name", ["a b", ".hidden", "ünï", "x" * 65, "semi;colon"])
def test_init_refuses_a_name_that_cannot_be_a_project(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", name]) == 2
    assert "cannot name a project" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_init_refuses_a_folder_that_is_not_empty(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "churn").mkdir()
    (tmp_path / "churn" / "mine.txt").write_text("keep me")
    assert main(["init", str(tmp_path / "churn")]) == 1
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "churn").iterdir()] == ["mine.txt"]


def test_init_refuses_a_file_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "churn").write_text("a file")
    assert main(["init", str(tmp_path / "churn")]) == 1
    assert (tmp_path / "churn").read_text() == "a file"


def test_a_failure_leaves_nothing_half_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: str) -> dict[str, object]:
        raise OSError("disk full")

    monkeypatch.setattr("mainspring.cli.project.runpy.run_path", broken)
    assert main(["init", str(tmp_path / "churn")]) == 3
    assert not list(tmp_path.iterdir())


def test_the_loop_is_fifteen_lines_and_the_example_is_the_same(project: Path) -> None:
    loop = (project / "loop.py").read_bytes()
    assert loop == (ROOT / "examples" / "minimal" / "loop.py").read_bytes()
    assert len(loop.splitlines()) <= 15


def test_the_example_keeps_the_data_that_the_generator_makes(project: Path) -> None:
    kept = _TEMPLATES / "minimal" / "customers.csv"
    assert kept.read_bytes() == (project / "customers.csv").read_bytes()
    assert kept.stat().st_size < 200_000


def test_the_notebook_is_valid_and_stores_no_output(project: Path) -> None:
    notebook = json.loads((project / "explore.ipynb").read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert set(notebook) == {"cells", "metadata", "nbformat", "nbformat_minor"}
    identifiers = [cell["id"] for cell in notebook["cells"]]
    assert len(set(identifiers)) == len(identifiers)
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        assert all(isinstance(line, str) for line in cell["source"])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)


@pytest.mark.slow
def test_the_project_runs_and_its_model_is_listed(project: Path) -> None:
    done = run("-c", "from mainspring.cli.entry import entry; entry()", "run", "loop.py", "--json", cwd=project)
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["status"] == "finished"
    assert {gate["gate"]: gate["passed"] for gate in document["gates"]} == {
        "goal": True,
        "beats_champion": True,
        "replay": True,
    }
    listed = run("-c", "from mainspring.cli.entry import entry; entry()", "models", "--json", cwd=project)
    assert [(each["name"], each["version"], each["aliases"]) for each in json.loads(listed.stdout)] == [
        ("churn", 1, ["champion"])
    ]
    assert (project / ".mainspring").is_dir()


@pytest.mark.slow
def test_the_projects_own_tests_pass(project: Path) -> None:
    done = run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project)
    assert " passed" in done.stdout
    assert "failed" not in done.stdout
    assert not (project / ".mainspring").exists()


@pytest.mark.slow
def test_the_notebooks_cells_run_in_order(project: Path) -> None:
    notebook = json.loads((project / "explore.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    script = (
        "\n\n".join(cells) + "\nassert len(runs) == 1 and runs[0].status == 'finished' and len(seen.columns) == 11\n"
    )
    (project / "cells.py").write_text(script, encoding="utf-8")
    done = run("cells.py", cwd=project)
    assert "goal passed roc_auc" in done.stdout
    assert "linear" in done.stdout
