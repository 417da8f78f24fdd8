"""`@step` and `@pipeline`: functions that keep their signature, and do more only inside a pipeline run.

Called outside a run, both are the function they decorate: no run, no database, no switch. Called in the body of a
running pipeline, a step gives a lazy value typed as what it returns (`lazy`), and a pipeline is inlined. Only the
standard library and the vocabulary are imported here; the engine comes in with `Pipeline.run`.
"""

import functools
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, cast, overload

from mainspring.domain.moments import parse_duration
from mainspring.domain.sizes import parse_size
from mainspring.errors import Invalid
from mainspring.pipeline.graph import active_graph, place_of
from mainspring.pipeline.options import StepOptions

if TYPE_CHECKING:
    from mainspring.pipeline.context import PipelineContext
    from mainspring.pipeline.outcome import RunOutcome
    from mainspring.pipeline.parameters import Parameter
    from mainspring.pipeline.plan import Plan

__all__ = ["Pipeline", "Step", "StepOptions", "pipeline", "step"]

P = ParamSpec("P")
R = TypeVar("R")


class _Decorated(Generic[P, R]):
    """What a step and a pipeline share: they look like the function they stand for."""

    # Set by functools.update_wrapper.
    __name__: str
    __qualname__: str
    __wrapped__: Callable[..., Any]

    def __init__(self, function: Callable[P, R], name: str | None) -> None:
        kind = type(self).__name__.lower()
        if isinstance(function, type) or not hasattr(function, "__qualname__"):
            raise Invalid(f"@{kind} decorates a function, not {function!r}", next_step=f"write @{kind} above a `def`")
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise Invalid(
                f"The {kind} `{function.__qualname__}` is a generator or a coroutine",
                where=place_of(function),
                next_step="return the whole result from a plain function: only a whole result can be kept",
            )
        functools.update_wrapper(cast("Any", self), function)
        self.function = function
        self.name = name or self.__name__

    @property
    def signature(self) -> inspect.Signature:
        """The signature of the function."""
        return inspect.signature(self.function)

    @property
    def where(self) -> str:
        """The file and line of the function, such as ``flights.py:12``."""
        return place_of(self.function)

    def __reduce__(self) -> str:
        # Pickled by reference, so that a worker process imports the step from where it was defined.
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lower()} {self.name} at {self.where}>"


class Step(_Decorated[P, R]):
    """A function whose result is kept under the fingerprint of the call. Made by `@step`."""

    def __init__(self, function: Callable[P, R], options: StepOptions, name: str | None = None) -> None:
        super().__init__(function, name)
        self.options = options

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function; in the body of a running pipeline, add the call to the run and return a lazy value."""
        graph = active_graph()
        if graph is None:
            return self.function(*args, **kwargs)
        return cast("R", graph.call(self, args, kwargs))


class Pipeline(_Decorated[P, R]):
    """A function whose body wires steps together. Made by `@pipeline`."""

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function: inside a running pipeline its steps join that run, outside they are plain functions."""
        return self.function(*args, **kwargs)

    @property
    def parameters(self) -> "tuple[Parameter, ...]":
        """The parameters with their types and defaults, for the command line and the pages."""
        from mainspring.pipeline.parameters import parameters_of  # typing machinery, needed by a command line only

        return parameters_of(self)

    def run(self, context: "PipelineContext", /, *args: P.args, **kwargs: P.kwargs) -> "RunOutcome[R]":
        """Run the pipeline once, with `context` for its collaborators, and return what it came to.

        Raises:
            Invalid: the arguments do not fit the signature.
            RunFailed: a step or the body failed; it carries the outcome so far, and finished steps stay cached.
        """
        from mainspring.pipeline.engine import run_pipeline  # heavy: brings the store, hashing and tracing

        return run_pipeline(self, context, args, kwargs)

    def plan(self, context: "PipelineContext", /, *args: P.args, **kwargs: P.kwargs) -> "Plan":
        """Say what `run` with the same arguments would do, and why, without running a step or writing anything.

        Raises:
            Invalid: the arguments do not fit the signature, or the body fails.
        """
        from mainspring.pipeline.plan import plan_pipeline  # heavy: brings the store and hashing

        return plan_pipeline(self, context, args, kwargs)


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...
@overload
def step(
    *,
    retries: int = 0,
    timeout: str | timedelta | None = None,
    memory: str | int | None = None,
    cache: bool = True,
    pickle: bool = False,
    name: str | None = None,
) -> Callable[[Callable[P, R]], Step[P, R]]: ...
def step(
    function: Callable[P, R] | None = None,
    /,
    *,
    retries: int = 0,
    timeout: str | timedelta | None = None,
    memory: str | int | None = None,
    cache: bool = True,
    pickle: bool = False,
    name: str | None = None,
) -> Step[P, R] | Callable[[Callable[P, R]], Step[P, R]]:
    """Make a step of a function.

    `retries` is how many times it is tried again after an error, with a growing pause; `timeout` bounds one try
    (``"10m"`` or a timedelta); `memory` bounds what one try may add to its process (``"2GB"``, or bytes);
    ``cache=False`` runs it every time, for a step that is there for what it does rather than for what it returns;
    ``pickle=True`` keeps a result that nothing else can as a pickle: loading it runs whatever code is in it, so it is
    named in the plan and with the run; `name` is what runs and pages call it (default: the function's name).

    >>> @step
    ... def double(number: int) -> int:
    ...     return 2 * number
    >>> double(21)
    42

    Raises:
        Invalid: an option makes no sense, or the function is a generator, a coroutine or a class.
    """
    if retries < 0:
        raise Invalid(f"A step cannot be retried {retries} times", where="@step(retries=...)")
    limit = parse_duration(timeout) if isinstance(timeout, str) else timeout
    if limit is not None and limit <= timedelta(0):
        raise Invalid(f"A step cannot finish within {limit}", where="@step(timeout=...)")
    memory_bytes = parse_size(str(memory)) if memory is not None else None
    options = StepOptions(retries=retries, timeout=limit, cache=cache, memory_bytes=memory_bytes, pickle=pickle)

    def decorate(function: Callable[P, R]) -> Step[P, R]:
        return Step(function, options, name)

    return decorate if function is None else decorate(function)


@overload
def pipeline(function: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(*, name: str | None = None) -> Callable[[Callable[P, R]], Pipeline[P, R]]: ...
def pipeline(
    function: Callable[P, R] | None = None, /, *, name: str | None = None
) -> Pipeline[P, R] | Callable[[Callable[P, R]], Pipeline[P, R]]:
    """Make a pipeline of a function whose body calls steps; `name` is what runs and pages call it.

    Raises:
        Invalid: the function is a generator, a coroutine or a class.
    """

    def decorate(function: Callable[P, R]) -> Pipeline[P, R]:
        return Pipeline(function, name)

    return decorate if function is None else decorate(function)
