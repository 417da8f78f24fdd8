"""The calls a pipeline body makes, in order, while it runs: which step, with which arguments, after which other calls.

Arguments are copied when the call is made, because the step may run later than the line that calls it, and the body
must not be able to change under the step what it handed over. The graph runs nothing; the engine gives it `resolve`.
"""

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mainspring.errors import Invalid
from mainspring.pipeline.lazy import Lazy, Reference, result_type, with_lazies

if TYPE_CHECKING:
    from mainspring.pipeline.step import Step

__all__ = ["Call", "Graph", "active_graph", "place_of", "recording", "suspended"]


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of a step. `arguments` holds every parameter by name, defaults included; lazy values may be inside."""

    index: int
    step: "Step[..., Any]"  # a graph holds steps of any signature
    arguments: Mapping[str, object]
    needs: tuple[int, ...]


class Graph:
    """The calls of one run. `resolve` runs a call and what it needs, and returns its value."""

    def __init__(self, resolve: Callable[[int], object]) -> None:
        self.calls: list[Call] = []
        self.resolve = resolve

    def call(self, step: "Step[..., Any]", args: Sequence[object], kwargs: Mapping[str, object]) -> Lazy:
        """Add a call and return the lazy value of its result.

        Raises:
            Invalid: the arguments do not fit the signature of the step, or come from another run.
        """
        needs: set[int] = set()

        def note(lazy: Lazy) -> Lazy:
            reference = Reference.of(lazy)
            if reference.graph is not self:
                raise Invalid(
                    f"The step `{step.name}` is given a result of another run",
                    where=step.where,
                    next_step="pass results along within one pipeline body, or take `outcome.value` first",
                )
            needs.add(reference.call)
            return lazy

        bound = _bind(step, args, kwargs)
        arguments = {name: with_lazies(value, note) for name, value in bound.arguments.items()}
        call = Call(len(self.calls), step, arguments, tuple(sorted(needs)))
        self.calls.append(call)
        return Lazy(Reference(self, call.index, (), result_type(step.function), step.name))


_active: ContextVar[Graph | None] = ContextVar("mainspring_graph", default=None)


def active_graph() -> Graph | None:
    """Return the graph of the pipeline body that is running here, if one is."""
    return _active.get()


@contextlib.contextmanager
def recording(graph: Graph) -> Iterator[None]:
    """Let step calls join `graph` within the block."""
    token = _active.set(graph)
    try:
        yield
    finally:
        _active.reset(token)


@contextlib.contextmanager
def suspended() -> Iterator[None]:
    """Let step calls be plain calls within the block: a step that calls another step runs it as its own code."""
    token = _active.set(None)
    try:
        yield
    finally:
        _active.reset(token)


def place_of(function: Callable[..., Any]) -> str:
    """Return the file name and line of a function, such as ``flights.py:12``; empty for one without code."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{Path(code.co_filename).name}:{code.co_firstlineno}" if code is not None else ""


def _bind(step: "Step[..., Any]", args: Sequence[object], kwargs: Mapping[str, object]) -> inspect.BoundArguments:
    try:
        bound = step.signature.bind(*args, **kwargs)
    except TypeError as error:
        raise Invalid(
            f"The call of step `{step.name}` does not fit `{step.name}{step.signature}`: {error}",
            where=step.where,
            next_step="give the arguments that the signature names",
        ) from error
    bound.apply_defaults()
    return bound
