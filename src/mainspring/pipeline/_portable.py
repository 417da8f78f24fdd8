"""A call in a form that another process can take up: the step by its address, its arguments as bytes.

The result of another step travels as its document, so a worker loads it from the artifact store; what the pipeline body
made itself is pickled, for the way only. A worker's copy of the code must be the code that the key was made of: the
seal says so, and a file edited since its import, a patched function or another version of a package is noticed.
"""

import ast
import functools
import importlib
import importlib.util
import io
import pickle
import sys
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.artifacts.digests import digest_of_bytes
from mainspring.pipeline._origin import import_name, module_file, packages_of
from mainspring.pipeline._reach import Walk
from mainspring.pipeline.documents import Document
from mainspring.pipeline.lazy import Lazy

if TYPE_CHECKING:
    from mainspring.pipeline.step import Step

__all__ = ["Address", "NotPortable", "address_of", "function_at", "pack", "seal_of", "thing_at", "unpack"]


class NotPortable(Exception):
    """A call cannot be made in another process; the text says why. It is then made in this one."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a step's function is found: the module's import name and file, and the name in it.

    `is_main` marks the script that runs here, which a worker imports under its own name.
    """

    module: str
    file: str
    qualname: str
    is_main: bool


def address_of(step: "Step[..., Any]") -> Address:
    """Return where a worker finds a step.

    Raises:
        NotPortable: it is nowhere to be found by a name.
    """
    module = sys.modules.get(step.__module__)
    if module is None or "<locals>" in step.__qualname__:
        raise NotPortable(f"`{step.name}` is defined inside a function")
    file = module_file(module) or ""
    is_main = module is sys.modules.get("__main__")
    if is_main and not Path(file).is_file():
        raise NotPortable(f"`{step.name}` is defined in a notebook or at a prompt")
    if is_main and not _is_guarded(file):
        raise NotPortable(f"`{Path(file).name}` would run again when imported: it has no `if __name__ == '__main__'`")
    found = _attribute(module, step.__qualname__)
    if found is not step and found is not step.function:
        raise NotPortable(f"`{step.name}` is not what `{step.__module__}` has under its name")
    return Address(import_name(module.__name__), file, step.__qualname__, is_main)


def function_at(address: Address) -> Callable[..., Any]:
    """Import the module of a step and return its function.

    Raises:
        NotPortable: it cannot be imported here, or has no such name.
    """
    try:
        module = _import(address)
    except Exception as error:  # the author's module may raise anything while it is imported
        problem = f"{type(error).__name__}: {error}"
        raise NotPortable(f"`{address.module}` cannot be imported in a worker: {problem}") from error
    found = _attribute(module, address.qualname)
    function = getattr(found, "function", found)
    if not callable(function):
        raise NotPortable(f"`{address.module}` has no step `{address.qualname}` in a worker")
    return function


def thing_at(address: Address) -> object:
    """Import the module of an address and return what stands there under its name; None where nothing does."""
    return _attribute(_import(address), address.qualname)


def seal_of(function: Callable[..., Any]) -> str:
    """Return what a step's code comes to in this process, with the packages it uses."""
    walk = Walk()
    walk.visit_root(function)
    code = walk.finish()
    packages = [(each.name, each.version, each.seal) for each in packages_of(walk.packages)]
    return digest_of_bytes(repr((code, packages, sys.version_info[:2])).encode())


def pack(arguments: Mapping[str, object], document_of: Callable[[Lazy], Document]) -> bytes:
    """Return arguments as bytes; a lazy value inside travels as its document.

    Raises:
        NotPortable: something in them cannot travel.
    """
    target = io.BytesIO()
    try:
        _Pickler(target, document_of).dump(dict(arguments))
    except NotPortable:
        raise
    except Exception as error:  # objects of any class may refuse in any way
        raise NotPortable(f"an argument cannot be sent to a worker: {error}") from error
    return target.getvalue()


def unpack(data: bytes, value_of: Callable[[Document], object]) -> dict[str, object]:
    """Undo `pack`; `value_of` loads what a document stands for.

    Raises:
        NotPortable: a class or function in them is not to be found here. What `value_of` raises goes through.
    """
    unpickler = _Unpickler(io.BytesIO(data), value_of)
    try:
        arguments: dict[str, object] = unpickler.load()
    except (AttributeError, ImportError, pickle.UnpicklingError) as error:
        raise NotPortable(f"an argument cannot be read in a worker: {error}") from error
    return arguments


class _Pickler(pickle.Pickler):
    def __init__(self, target: io.BytesIO, document_of: Callable[[Lazy], Document]) -> None:
        super().__init__(target, protocol=pickle.HIGHEST_PROTOCOL)
        self._document_of = document_of

    def persistent_id(self, thing: Any) -> Any:  # fixed by pickle
        return (self._document_of(thing),) if type(thing) is Lazy else None  # boxed: a document may be None


class _Unpickler(pickle.Unpickler):
    def __init__(self, source: io.BytesIO, value_of: Callable[[Document], object]) -> None:
        super().__init__(source)
        self._value_of = value_of

    def persistent_load(self, key: Any) -> Any:  # fixed by pickle
        return self._value_of(key[0])


def _import(address: Address) -> types.ModuleType:
    """Import a module by its name, or from its file where the name does not lead to it."""
    module = sys.modules.get(address.module)
    if module is None:
        behind = _file_behind(address.module)
        # On another machine the same code may lie elsewhere; the seal tells whether it is the same.
        if behind is not None and (behind == address.file or not Path(address.file).is_file()):
            module = importlib.import_module(address.module)
        else:
            spec = importlib.util.spec_from_file_location(address.module, address.file)
            if spec is None or spec.loader is None:
                raise ImportError(f"no module `{address.module}` at `{address.file}`")
            module = importlib.util.module_from_spec(spec)
            sys.modules[address.module] = module
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[address.module]
                raise
    if address.is_main:
        # What was pickled over there names `__main__`.
        sys.modules["__main__"] = module
    return module


def _file_behind(name: str) -> str | None:
    """Return the file that a module's name leads to here; None where it leads nowhere, or was made up by a loader."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, KeyError, ValueError):
        return None
    return None if spec is None else spec.origin or ""


def _attribute(module: types.ModuleType, qualname: str) -> object:
    found: object = module
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


@functools.cache
def _is_guarded(file: str) -> bool:
    """Whether a script keeps what it does from happening at import."""
    try:
        tree = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError):
        return False
    tests = [node.test for node in tree.body if isinstance(node, ast.If)]
    return any(isinstance(each, ast.Name) and each.id == "__name__" for test in tests for each in ast.walk(test))
