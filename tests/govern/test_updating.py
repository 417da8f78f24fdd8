"""An update of dependencies is tried apart: what changed, the tests, requests asked again, a model trained anew."""

import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mainspring.domain.signature import Column, Signature
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


@pytest.mark.parametrize(("test", "told"), [("  ", "is empty"), ("python -c 'import", "No closing quotation")])
def test_a_test_that_is_no_command_is_told_before_anything_is_built(life: Life, test: str, told: str) -> None:
    with pytest.raises(Invalid, match=told):
        tried(life, ["tiny"], test=test)


@pytest.mark.usefixtures("environment")
def test_scores_that_are_not_finite_speak_against_it(life: Life, package: Package) -> None:
    spoilt = (
        "import numpy; numpy.save = lambda file, array, real=numpy.save, **more: "
        "real(file, array * float('nan') if str(file).endswith('scores.npy') else array, **more)\n"
    )
    found = tried(life, [package("4.0", spoilt)])
    assert found.objections == [
        f"{what} gives no answers: it gives scores that are not finite"
        for what in ("the bundle that serves", "the model trained anew")
    ]


_REFUSED, _NAN, _FINE = (None, "needs another library"), (np.nan, ""), (0.5, "")


@pytest.mark.parametrize(
    ("before", "now", "is_new", "objects", "said"),
    [
        (_FINE, _FINE, True, False, ""),
        (_FINE, _NAN, False, True, "not finite"),
        (_NAN, _NAN, False, False, "not finite"),
        (_NAN, _FINE, True, False, "nothing to compare with"),
        (_REFUSED, _FINE, True, False, "before: needs another library"),
        (_FINE, _REFUSED, False, False, "needs another library"),
        (_FINE, _REFUSED, True, True, "needs another library"),
    ],
)
def test_who_is_to_blame_for_answers_that_do_not_come(
    before: tuple[float | None, str], now: tuple[float | None, str], is_new: bool, objects: bool, said: str
) -> None:
    logged = {"label": np.array([None], dtype=object)}
    trial = updating._Trial(Path(), Signature((Column("a", "number"),), "y", "regression"), None, logged, Path(), print)
    first, second = (
        updating._Scored(None if score is None else np.array([score]), 1.0, refused) for score, refused in (before, now)
    )
    found = trial._compared("it", first, second, is_new=is_new)
    assert found.speaks_against == objects
    assert said in found.refused
    assert bool(found.refused) == bool(said)
