"""The environment of a kept list: hashes from lock files, and the words to the installer."""

from pathlib import Path

import pytest

from mainspring.errors import Unavailable
from mainspring.govern import _clean_environment
from mainspring.govern._clean_environment import build_environment, hashes_in
from mainspring.pipeline._environment import Installed
from mainspring.pipeline.provenance import Provenance

REQUIREMENTS = """\
blake3==1.0.8 \\
    --hash=sha256:aa11 \\
    --hash=sha256:bb22
# a comment
Scikit_Learn[extra]==1.9.1 ; python_version > "3.11" --hash=sha256:cc33
unpinned>=1
"""
UV_LOCK = """
[[package]]
name = "numpy"
version = "2.4.6"
sdist = { url = "x", hash = "sha256:dd44" }
wheels = [{ url = "y", hash = "sha256:ee55" }]
"""
PYLOCK = """
[[packages]]
name = "numpy"
version = "2.4.6"
wheels = [{ name = "n", hashes = { sha256 = "ff66" } }]
"""


def test_hashes_are_read_from_each_kind_of_lock_file() -> None:
    found = hashes_in({"requirements.txt": REQUIREMENTS})
    assert found == {"blake3==1.0.8": ("sha256:aa11", "sha256:bb22"), "scikit-learn==1.9.1": ("sha256:cc33",)}
    assert hashes_in({"uv.lock": UV_LOCK}) == {"numpy==2.4.6": ("sha256:ee55", "sha256:dd44")}
    assert hashes_in({"pylock.toml": PYLOCK}) == {"numpy==2.4.6": ("sha256:ff66",)}


def test_lock_file_that_is_none_names_no_hash() -> None:
    assert hashes_in({"uv.lock": "not [ toml", "requirements.txt": "\0"}) == {}


def _provenance(*installed: Installed) -> Provenance:
    return Provenance(None, "", "/nowhere", (), {}, {}, {}, installed, {}, {"python": ""})


def test_list_is_installed_as_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(_clean_environment, "_run", commands.append)
    monkeypatch.setattr(_clean_environment, "_uv", lambda folder: "uv")
    kept = _provenance(
        Installed("blake3", "1.0.8"), Installed("mine", "1", is_local=True), Installed("mainspring", "9")
    )
    (tmp_path / "env").mkdir()
    _, remarks = build_environment(tmp_path / "env", kept, {"requirements.txt": REQUIREMENTS}, lambda text: None)
    assert (tmp_path / "env.txt").read_text() == (
        "blake3==1.0.8 --hash=sha256:aa11 --hash=sha256:bb22\nmainspring==9\n"
    )
    assert [each[1] for each in commands] == ["venv", "pip"]
    assert remarks == ["not installed, because they came from a folder: mine"]


def test_pip_gets_hashes_for_all_or_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_clean_environment, "_run", lambda command: None)
    monkeypatch.setattr(_clean_environment, "_uv", lambda folder: None)
    kept = _provenance(Installed("blake3", "1.0.8"), Installed("mainspring", "9"))
    (tmp_path / "env").mkdir()
    build_environment(tmp_path / "env", kept, {"requirements.txt": REQUIREMENTS}, lambda text: None)
    assert (tmp_path / "env.txt").read_text() == "blake3==1.0.8\nmainspring==9\n"


def test_installer_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "uv"
    failing.write_text("#!/bin/sh\necho 'no such package' >&2\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setattr(_clean_environment, "_uv", lambda folder: str(failing))
    with pytest.raises(Unavailable, match="no such package"):
        build_environment(tmp_path / "env", _provenance(), {}, lambda text: None)
