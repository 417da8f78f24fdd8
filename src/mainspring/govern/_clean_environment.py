"""An environment built from the list a run kept: the same Python, every distribution at its version, nothing else.

Built by uv where it is to be had, else by pip. A lock file that was kept with the run gives the hashes.
"""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mainspring.errors import Unavailable
from mainspring.pipeline.provenance import Provenance

__all__ = ["build_environment", "hashes_in", "installed_in", "upgrade"]

_SECONDS = 1800


def build_environment(
    folder: Path, provenance: Provenance, locks: Mapping[str, str], say: Callable[[str], None]
) -> tuple[Path, list[str]]:
    """Build the environment of a run in `folder` and return its Python and what could not be as it was.

    `locks` are the texts of the kept lock files by their paths. An environment that `folder` holds already is taken.

    Raises:
        Unavailable: it cannot be built; the message has the installer's last words.
    """
    python = folder / "bin" / "python"
    wanted = [each for each in provenance.installed if not each.is_local]
    left = [each.name for each in provenance.installed if each.is_local and each.name != "mainspring"]
    remarks = [f"not installed, because they came from a folder: {', '.join(left)}"] if left else []
    if (folder / "done").exists():
        return python, [*remarks, "the environment built before was taken"]
    hashes = hashes_in(locks)
    uv = _uv(Path(provenance.folder))
    named = [hashes.get(str(each), ()) for each in wanted]
    # pip takes hashes for all or for none.
    with_hashes = uv is not None or all(named)
    lines = [
        " ".join([str(each), *(f"--hash={one}" for one in found if with_hashes)])
        for each, found in zip(wanted, named, strict=True)
    ]
    checked = sum(1 for found in named if found and with_hashes)
    say(f"building an environment of {len(wanted)} distributions, {checked} of them with hashes from a lock file")
    folder.parent.mkdir(parents=True, exist_ok=True)
    listing = folder.with_suffix(".txt")
    listing.write_text("".join(f"{line}\n" for line in lines))
    version = str(provenance.machine.get("python", ""))
    if uv is not None:
        _run([uv, "venv", "--quiet", "--clear", "--python", _python_for(version), str(folder)])
        _run([uv, "pip", "install", "--quiet", "--no-deps", "--python", str(python), "-r", str(listing)])
    else:
        _require_python(version)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        words = ["--quiet", "--no-deps", "--disable-pip-version-check", "-r", str(listing)]
        _run([str(python), "-m", "pip", "install", *words])
    remarks += _add_mainspring(python, provenance)
    (folder / "done").touch()
    return python, remarks


def upgrade(python: Path, wanted: Sequence[str], folder: Path) -> None:
    """Bring distributions of an environment to their newest versions, or to those that `wanted` names (``name==1.2``).

    What they need comes along; all else stays. Mainspring's own bounds are kept. `folder` is where the project lies.

    Raises:
        Unavailable: there are no versions that go together.
    """
    bounds = python.parent.parent.with_suffix(".bounds")
    bounds.write_text("".join(f"{each}\n" for each in _own_bounds()))
    named = [re.match(r"[A-Za-z0-9._-]*", each)[0] for each in wanted]  # type: ignore[index]  # matches nothing too
    uv = _uv(folder)
    if uv is not None:
        chosen = [f"--upgrade-package={each}" for each in named]
        words = ["--quiet", "--python", str(python), "--constraint", str(bounds), *chosen, *wanted]
        _run([uv, "pip", "install", *words])
        _run([uv, "pip", "check", "--python", str(python)])
        return
    words = ["--quiet", "--disable-pip-version-check", "--upgrade", "--constraint", str(bounds), *wanted]
    _run([str(python), "-m", "pip", "install", *words])
    _run([str(python), "-m", "pip", "check"])


def installed_in(python: Path) -> dict[str, str]:
    """Return the distributions of an environment with their versions, by name."""
    asked = "import importlib.metadata as m, json; print(json.dumps({d.name: d.version for d in m.distributions()}))"
    done = subprocess.run([str(python), "-c", asked], capture_output=True, text=True, check=True)
    return {_normal(name): version for name, version in json.loads(done.stdout).items()}


def _own_bounds() -> Iterable[str]:
    """Yield what Mainspring asks of the distributions it needs, without their extras."""
    try:
        needed = importlib.metadata.requires("mainspring") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for each in needed:
        requirement, _, condition = each.partition(";")
        if "extra ==" not in condition or not condition:
            yield re.sub(r"\[[^]]*\]", "", requirement) + (f";{condition}" if condition else "")


def hashes_in(locks: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Return the hashes that lock files name, by ``name==version``; a file that cannot be read names none."""
    found: dict[str, tuple[str, ...]] = {}
    for path, text in locks.items():
        try:
            found |= _from_toml(text) if path.endswith((".lock", ".toml")) else _from_requirements(text)
        except (tomllib.TOMLDecodeError, KeyError, TypeError, AttributeError):
            continue
    return found


def _from_requirements(text: str) -> dict[str, tuple[str, ...]]:
    found = {}
    for line in text.replace("\\\n", " ").splitlines():
        named = re.match(r"\s*([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", line)
        hashes = tuple(re.findall(r"--hash=(\w+:[0-9a-f]+)", line))
        if named and hashes:
            found[f"{_normal(named[1])}=={named[2]}"] = hashes
    return found


def _from_toml(text: str) -> dict[str, tuple[str, ...]]:
    """Read ``uv.lock``, ``pylock.toml``, ``poetry.lock`` and ``pdm.lock``: lists of packages with files."""
    document = tomllib.loads(text)
    found = {}
    for package in [*document.get("package", ()), *document.get("packages", ())]:
        files: list[Any] = [*package.get("wheels", ()), *package.get("files", ())]
        files += [package["sdist"]] if isinstance(package.get("sdist"), dict) else []
        hashes = tuple(each for file in files for each in _hashes_of(file))
        if "version" in package and hashes:
            found[f"{_normal(package['name'])}=={package['version']}"] = hashes
    return found


def _hashes_of(file: dict[str, Any]) -> Iterable[str]:
    if "hash" in file:
        return [file["hash"]]
    return [f"{kind}:{value}" for kind, value in file.get("hashes", {}).items()]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _uv(folder: Path) -> str | None:
    """Return where uv is: on the path, or where the project's own set-up put it."""
    for parent in (Path.cwd(), folder, *folder.parents):
        if (parent / ".bootstrap" / "bin" / "uv").exists():
            return str(parent / ".bootstrap" / "bin" / "uv")
    return shutil.which("uv")


def _python_for(version: str) -> str:
    """Name the Python that uv is to take: this one where it is of the wanted version, so that none is looked for."""
    own = ".".join(map(str, sys.version_info[:3]))
    return sys.executable if version in ("", own) else version


def _require_python(version: str) -> None:
    own = ".".join(map(str, sys.version_info[:2]))
    if version and version.rpartition(".")[0] != own:
        raise Unavailable(
            f"The run was made with Python {version}, and this is {own}",
            next_step="install uv, which brings any Python; or say --here to take this one",
        )


def _add_mainspring(python: Path, provenance: Provenance) -> list[str]:
    """Let the new environment find Mainspring where the run had it from a folder, which no index can give."""
    from mainspring import __version__

    kept = next((each for each in provenance.installed if each.name == "mainspring"), None)
    if kept is not None and not kept.is_local:
        return []
    site = subprocess.run(
        [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    source = Path(__file__).parents[2]
    if source == Path(sysconfig.get_path("purelib")):
        raise Unavailable(
            "The run was made with Mainspring from a folder, which no index can give",
            next_step="say --here to take the present environment",
        )
    Path(site, "mainspring-source.pth").write_text(f"{source}\n")
    if kept is None or kept.version != __version__:
        return [f"Mainspring is {__version__}, and was {kept.version if kept else 'not installed'} then"]
    return []


def _run(command: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, env=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unbuilt(str(error)) from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise _unbuilt("\n  ".join(said[-6:]))


def _unbuilt(words: str) -> Unavailable:
    return Unavailable(
        f"The environment of the run cannot be built:\n  {words}",
        next_step="see that its packages can be fetched; or say --here to take the present environment",
    )
