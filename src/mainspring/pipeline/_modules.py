"""Modules taken as a whole, by their source and without importing them: what an `import` inside a function brings.

A step that imports a heavy local module only when it runs must be found in the cache without paying for that import, so
the module's file is compiled and put into normal form, and its own imports are followed the same way.
"""

import functools
import importlib
import importlib.machinery
import importlib.util
import os
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainspring.errors import Corrupt, Invalid
from mainspring.pipeline._code import CodeForm, Import, form_of
from mainspring.pipeline._origin import Origin, import_name, module_file, origin_of

__all__ = ["Source", "class_named", "imported_by", "is_ours", "source_of"]


@dataclass(frozen=True, slots=True)
class Source:
    """A module that can be found, loaded or not."""

    name: str
    file: str | None
    package: str
    origin: Origin

    def form(self) -> CodeForm | None:
        """Return the normal form of the module's file; None where there is no source to read."""
        if self.file is None or not self.file.endswith(".py"):
            return None
        try:
            stamp = os.stat(self.file)
        except OSError:
            return None
        return _form_of_file(self.file, stamp.st_mtime_ns, stamp.st_size)

    def loaded_otherwise(self, form: CodeForm) -> list[bytes]:
        """Return the code that this process runs under the module's name and its file does not have.

        A file edited after its import would else put a result of the old code under the key of the new.
        """
        module = sys.modules.get(self.name)
        if module is None:
            return []
        functions = [each for each in vars(module).values() if isinstance(each, types.FunctionType)]
        own = [form_of(each.__code__).digest for each in functions if each.__code__.co_filename == self.file]
        return sorted(digest for digest in own if digest not in form.inner)


def is_ours(module: types.ModuleType) -> bool:
    """Whether a loaded module belongs to the project."""
    return origin_of(module.__name__, module_file(module)).kind == "project"


def imported_by(statement: Import, package: str) -> list[str]:
    """Return the full names of the modules an import statement may bring, packages before what is in them."""
    base = statement.module
    if statement.level:
        parents = package.split(".")[: len(package.split(".")) - statement.level + 1]
        base = ".".join([*parents, base] if base else parents)
    names = [".".join(base.split(".")[: depth + 1]) for depth in range(len(base.split(".")))] if base else []
    return names + [f"{base}.{name}" for name in statement.names if base and source_of(f"{base}.{name}") is not None]


def source_of(name: str) -> Source | None:
    """Find a module without running anything; None where there is none."""
    loaded = sys.modules.get(name)
    if loaded is None and import_name("__main__") == name:
        loaded = sys.modules.get("__main__")
    if loaded is not None:
        file = module_file(loaded)
        return Source(name, file, str(getattr(loaded, "__package__", None) or ""), origin_of(name, file))
    spec = _spec_of(name)
    if spec is None:
        return None
    file = spec.origin if spec.has_location else None
    return Source(name, file, spec.parent or "", origin_of(name, file or spec.origin))


def class_named(name: str) -> type:
    """Import the class behind ``module:Name``; the script that runs is not imported a second time."""
    module_name, _, qualname = name.partition(":")
    loaded: Any = sys.modules.get(module_name)
    if loaded is None and import_name("__main__") == module_name:
        loaded = sys.modules["__main__"]
    try:
        found: Any = loaded if loaded is not None else importlib.import_module(module_name)
        for attribute in qualname.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise Invalid(
            f"The class `{name}` of a kept value is not there any more: {error}",
            next_step="keep the class where it was, or run the step again with the cache off",
        ) from error
    if not isinstance(found, type):
        raise Corrupt(f"`{name}` of a kept value is no class")
    return found


def _spec_of(name: str) -> importlib.machinery.ModuleSpec | None:
    """Walk down a dotted name; `importlib.util.find_spec` would import the packages on the way."""
    path: list[str] | None = None
    spec: importlib.machinery.ModuleSpec | None = None
    parts = name.split(".")
    for depth in range(len(parts)):
        full = ".".join(parts[: depth + 1])
        try:
            spec = (
                importlib.util.find_spec(full) if depth == 0 else importlib.machinery.PathFinder.find_spec(full, path)
            )
        except (ImportError, ValueError):
            return None
        if spec is None:
            return None
        path = list(spec.submodule_search_locations or [])
    return spec


@functools.lru_cache(maxsize=512)
def _form_of_file(file: str, modified_ns: int, size: int) -> CodeForm | None:
    try:
        return form_of(compile(Path(file).read_bytes(), file, "exec", dont_inherit=True))
    except (OSError, SyntaxError, ValueError):
        return None
