"""An update of dependencies is tried apart: what changed, the tests, requests asked again, a model trained anew."""

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mainspring.errors import Invalid, Unavailable
from mainspring.govern import updating
from mainspring.govern.updating import CommandRun, Update, update_dependencies

from .conftest import Life

Package = Callable[..., str]


@pytest.fixture
def package(tmp_path: Path) -> Package:
    """Write a version of a distribution as a wheel, with what Python is to do when it starts; return its address."""

    def write(version: str, at_start: str = "") -> str:
        wheel, about = tmp_path / f"tiny-{version}-py3-none-any.whl", f"tiny-{version}.dist-info"
        files = {
            "tiny.py": f"VERSION = '{version}'\n",
            "tiny.pth": at_start,
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n",
            f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in files.items():
                archive.writestr(name, text)
            archive.writestr(f"{about}/RECORD", "".join(f"{name},,\n" for name in [*files, f"{about}/RECORD"]))
        return f"tiny @ {wheel.as_uri()}"

    return write


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Build environments that see the libraries of this one, since fetching 120 of them is no unit test."""

    def build(folder: Path, *_: object) -> tuple[Path, list[str]]:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        python = folder / "bin" / "python"
        (site,) = folder.glob("lib/python*/site-packages")
        source = Path(updating.__file__).parents[2]
        (site / "these.pth").write_text(f"{source}\n{sysconfig.get_path('purelib')}\n")
        return python, []

    monkeypatch.setattr(updating, "build_environment", build)


def tried(life: Life, wanted: list[str], test: str = "") -> Update:
    workspace, version = life.workspace, life.version
    return update_dependencies(
        workspace.store,
        workspace.artifacts,
        version,
        wanted,
        bundle=workspace.served_bundle(version),
        signature=workspace.signature_of(version.model, version.version),
        logged=workspace.log.recent(version.model, until=workspace.clock.now(), most=100),
        test=test,
    )


@pytest.mark.usefixtures("environment")
def test_a_harmless_update_says_what_changed_and_that_all_answers_stayed(life: Life, package: Package) -> None:
    test = "python -c 'import tiny; print(tiny.VERSION)'"
    found = tried(life, [package("1.0")], test=test)
    assert found.objections == []
    assert found.changed == {"tiny": (None, "1.0")}
    assert found.tests == CommandRun(test, True, "1.0")
    assert [(each.what, each.rows, each.largest_difference) for each in found.answers] == [
        ("the bundle that serves", len(life.asked), 0.0),
        ("the model trained anew", len(life.asked), 0.0),
    ]


@pytest.mark.usefixtures("environment")
def test_failing_tests_and_a_pipeline_that_breaks_speak_against_it(life: Life, package: Package) -> None:
    wanted = package("2.0", "import sys; sys.modules['sklearn'] = None\n")
    found = tried(life, [wanted], test="python -c 'import sklearn'")
    failed, broken = found.objections
    assert failed == "`python -c 'import sklearn'` failed"
    assert "the pipeline does not run any more" in broken
    assert "Training needs the package `scikit-learn`" in broken
    assert [each.what for each in found.answers] == ["the bundle that serves"]  # folded: it asks for no scikit-learn


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("wanted", "test", "told"),
    [
        ("tiny @ file:///nowhere/tiny-1.0-py3-none-any.whl", "", "cannot be built"),
        ("numpy", "no-such-command", "tests cannot be run"),
    ],
)
def test_what_cannot_be_tried_is_said(life: Life, wanted: str, test: str, told: str, package: Package) -> None:
    given = package("3.0") if test else wanted
    with pytest.raises(Unavailable, match=told):
        tried(life, [given], test=test)


def test_nothing_named_is_nothing_to_try(life: Life) -> None:
    with pytest.raises(Invalid, match="No distribution"):
        tried(life, [])
