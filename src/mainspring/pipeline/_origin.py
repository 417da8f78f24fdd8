"""Where code comes from: the project (hashed), an installed distribution (named with its version), or Python.

A module is a distribution's when it sits in a folder that holds the distribution's ``dist-info``; an editable install
leaves its code in the project's folders, so its code is hashed. The map from import names to distributions is read
from the folder names where that is enough, because reading every RECORD costs a tenth of a second.
"""

import functools
import os
import re
import site
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Literal, NamedTuple

from mainspring.artifacts.digests import digest_of_bytes

__all__ = ["Distribution", "Origin", "import_name", "module_file", "origin_of", "origin_of_file", "packages_of"]

OriginKind = Literal["project", "package", "python"]

# Import names that differ from the name of the distribution; checked against the installed folders, so a wrong line
# costs a look, never a wrong answer.
_OTHER_NAMES = {
    "PIL": "pillow",
    "bs4": "beautifulsoup4",
    "cv2": "opencv_python",
    "dateutil": "python_dateutil",
    "sklearn": "scikit_learn",
    "yaml": "pyyaml",
}

#: What Mainspring computes with; its other requirements cannot change the value of a step.
_ENGINES = ("duckdb", "numpy", "pandas", "scikit_learn", "scipy")


class Origin(NamedTuple):
    """Where a module comes from; `distributions` names what holds it when it is a package."""

    kind: OriginKind
    distributions: tuple[str, ...] = ()


class Distribution(NamedTuple):
    """An installed distribution. `seal` is the hash of its file list where the version says too little."""

    name: str
    version: str
    requires: tuple[str, ...]
    seal: str = ""


def import_name(module: str) -> str:
    """Return the name another process would import `module` by: a script's own name instead of ``__main__``."""
    if module != "__main__":
        return module
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else module


def origin_of(module: str, file: str | None) -> Origin:
    """Say where the module `module`, loaded from `file`, comes from."""
    return _origin_of(module.partition(".")[0], file)


@functools.cache
def _origin_of(top: str, file: str | None) -> Origin:
    if top == "mainspring":
        return Origin("package", ("mainspring",))
    # A project may shadow a standard name (a folder `test`, a file `token.py`), so the place decides where known.
    standard = top in sys.builtin_module_names or top in sys.stdlib_module_names
    if standard and (file is None or file.startswith("<") or _is_below(file, _standard_folders())):
        return Origin("python")
    if file is None or not os.path.isabs(file):
        loaded = sys.modules.get(top)
        file = getattr(loaded, "__file__", None)
        if file is None:
            return Origin("project")
    if _is_below(file, _standard_folders()) and not _is_below(file, _site_folders()):
        return Origin("python")
    holder = _holder_of(top, Path(file))
    if holder is not None:
        found = _providers(str(holder), top)
        if found:
            return Origin("package", found)
        if _is_below(file, _site_folders()) or _looks_installed(file):
            return Origin("package", (top,))
    return Origin("project")


@functools.lru_cache(maxsize=65_536)
def origin_of_file(file: str) -> OriginKind:
    """Say whether a file belongs to Python, to an installed package (Mainspring is one), or to the project."""
    if _is_below(file, _site_folders()) or _looks_installed(file):
        return "package"
    if _is_below(file, _standard_folders()):
        return "python"
    return "package" if _is_below(file, (str(Path(__file__).resolve().parents[1]),)) else "project"


def packages_of(names: Iterable[str]) -> list[Distribution]:
    """Return the named distributions and all they require that is installed, sorted by name.

    Requirements count because a result made with scikit-learn is also made with the NumPy below it.
    """
    found: dict[str, Distribution] = {}
    waiting = [_normal(name) for name in names]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        distribution = _distribution(name, _state_of_path())
        if distribution is not None:
            found[name] = distribution
            waiting += [each for each in distribution.requires if each not in found]
    return [found[name] for name in sorted(found)]


def _distribution(name: str, state: tuple[tuple[str, int], ...]) -> Distribution | None:
    if name == "mainspring":
        version = getattr(sys.modules.get("mainspring"), "__version__", "")
        return Distribution("mainspring", str(version), _ENGINES)
    for folder, changed in state:
        info = _infos(folder, changed).get(name)
        if info is not None:
            return _read_info(info, os.stat(info).st_mtime_ns)
    return None


def _state_of_path() -> tuple[tuple[str, int], ...]:
    """Return every folder on the import path with the time of its last change, so that an upgrade is noticed."""
    state = []
    for entry in sys.path:
        try:
            state.append((entry or ".", os.stat(entry or ".").st_mtime_ns))
        except OSError:  # an entry that is not there holds nothing
            continue
    return tuple(state)


@functools.lru_cache(maxsize=256)
def _infos(folder: str, changed_ns: int) -> dict[str, str]:
    """Return the ``dist-info`` folders in `folder` by normalised name; `changed_ns` makes a change a new question."""
    try:
        names = os.listdir(folder)
    except OSError:
        return {}
    return {
        _normal(name.partition("-")[0]): os.path.join(folder, name) for name in names if name.endswith(".dist-info")
    }


@functools.lru_cache(maxsize=1024)
def _read_info(info: str, changed_ns: int) -> Distribution:
    name, version, requires = Path(info).name.partition("-")[0], "", set()
    try:
        with open(os.path.join(info, "METADATA"), encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if not line.rstrip("\r\n"):  # a line of blanks goes on with the field before it, often a licence
                    break
                field, _, value = line.partition(":")
                value = value.strip()
                if field == "Name":
                    name = value
                elif field == "Version":
                    version = value
                elif field == "Requires-Dist" and "extra ==" not in value:
                    match = re.match(r"[A-Za-z0-9._-]+", value)
                    if match:
                        requires.add(_normal(match[0]))
    except OSError:
        version = Path(info).name
    seal = ""
    # Installed from a folder or a repository: the code can change while the version stays.
    if os.path.exists(os.path.join(info, "direct_url.json")):
        record = Path(info, "RECORD")
        seal = digest_of_bytes(record.read_bytes()) if record.exists() else ""
    return Distribution(name, version, tuple(sorted(requires)), seal)


def _holder_of(top: str, file: Path) -> Path | None:
    """Return the folder on the import path that holds the top-level module `top`, going up from `file`."""
    for parent in file.parents:
        if (parent / top).is_dir() or any(parent.glob(f"{top}.*")):
            # The outermost match wins: a package `a/a.py` lies in the folder of `a`, not in `a` itself.
            outer = parent.parent
            if parent.name != top or not (outer / top).is_dir():
                return parent
    return None


@functools.cache
def _providers(folder: str, top: str) -> tuple[str, ...]:
    """Return the distributions in `folder` that hold the import name `top`."""
    infos = _infos(folder, os.stat(folder).st_mtime_ns)
    for guess in (_normal(top), _OTHER_NAMES.get(top, ""), _normal(top.lstrip("_"))):
        if guess in infos and _lists(infos[guess], top):
            return (guess,)
    return tuple(sorted(name for name, info in infos.items() if _lists(info, top)))


def _lists(info: str, top: str) -> bool:
    """Whether the file list of a distribution has the top-level name `top`; one without a list is believed by name."""
    try:
        with open(os.path.join(info, "RECORD"), encoding="utf-8") as record:
            return any(line.startswith((f"{top}/", f"{top}.")) for line in record)
    except OSError:
        return _normal(Path(info).name.partition("-")[0]) == _normal(top)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()


@functools.cache
def _standard_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    return tuple({os.path.realpath(paths[key]) for key in ("stdlib", "platstdlib")})


@functools.cache
def _site_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = [*site.getsitepackages(), site.getusersitepackages(), paths["purelib"], paths["platlib"]]
    return tuple({os.path.realpath(each) for each in folders})


def _is_below(file: str, folders: Iterable[str]) -> bool:
    real = os.path.realpath(file)
    return any(real.startswith(folder + os.sep) for folder in folders)


def _looks_installed(file: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)


def module_file(module: ModuleType) -> str | None:
    """Return the file a loaded module came from; None for one that has none."""
    file = getattr(module, "__file__", None)
    return file if isinstance(file, str) else None
