"""Finding what a user's file defines: its loop and its pipelines."""

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.errors import Invalid, MainspringError, NotFound, nearest
from mainspring.pipeline.schedules import split_target

if TYPE_CHECKING:
    from mainspring.loop.definition import Loop
    from mainspring.pipeline.step import Pipeline

__all__ = ["load_file", "loop_in", "target_in"]


def load_file(path: Path) -> dict[str, Any]:
    """Import a user's file as a module of its own name, with its folder importable, and return its names.

    Raises:
        NotFound: there is no such file.
        Invalid: it fails while it is imported; the message names the line.
    """
    if not path.is_file():
        hint = "mainspring init NAME makes a project" if path.suffix == ".py" else "give a Python file, such as loop.py"
        raise NotFound(f"There is no file `{path}`", next_step=hint)
    resolved = path.resolve()
    spec = importlib.util.spec_from_file_location(resolved.stem, resolved)
    if spec is None or spec.loader is None:
        raise Invalid(f"`{path}` is not a Python file", next_step="give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(resolved.parent))
    sys.modules[resolved.stem] = module
    try:
        spec.loader.exec_module(module)
    except MainspringError:
        raise
    except Exception as error:  # the user's own code: whatever it raises is told with its place, not as a stack trace
        raise Invalid(
            f"`{path}` cannot be imported: {type(error).__name__}: {error}",
            where=_place(error, resolved),
            next_step="mend that line and try again",
        ) from error
    return vars(module)


def target_in(target: str) -> "Loop | Pipeline[..., Any]":
    """Return the loop or pipeline that ``FILE[:NAME]`` names; without a name the file's only loop, else pipeline.

    Raises:
        NotFound: the file defines nothing of the kind, or nothing of that name.
        Invalid: no name is given and there is a choice.
    """
    from mainspring.loop.definition import Loop
    from mainspring.pipeline.step import Pipeline

    path, name = split_target(target)
    names = load_file(path)
    found = {
        key: value for key, value in names.items() if isinstance(value, Loop | Pipeline) and not key.startswith("_")
    }
    if name:
        if name not in found:
            raise NotFound(f"`{path}` defines no loop or pipeline `{name}`", next_step=nearest(name, found))
        return found[name]
    loops = {key: value for key, value in found.items() if isinstance(value, Loop)}
    choice = loops or found
    if not choice:
        raise NotFound(f"`{path}` defines no loop and no pipeline", next_step="write loop = ms.Loop(...) in it")
    if len(choice) > 1:
        listed = " or ".join(f"{path}:{key}" for key in sorted(choice))
        raise Invalid(f"`{path}` defines more than one", next_step=f"name one: {listed}")
    return next(iter(choice.values()))


def loop_in(target: str) -> "Loop":
    """Return the loop that ``FILE[:NAME]`` names.

    Raises:
        Invalid: it names a pipeline.
    """
    from mainspring.loop.definition import Loop

    found = target_in(target)
    if not isinstance(found, Loop):
        raise Invalid(f"`{target}` is a pipeline", next_step="name a loop: loop = ms.Loop(...)")
    return found


def _place(error: BaseException, path: Path) -> str:
    """Return the deepest line of `path` in the error's trace, or the line of a syntax error."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or path).name} line {error.lineno}"
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    return f"{path.name} line {line}"
