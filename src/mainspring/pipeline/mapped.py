"""`ms.map`: one step over many values, each call with its own cached result.

In a pipeline body it gives a list of lazy values, to be passed on or taken apart; outside it calls the step for each
value. How many calls there are must be known, so a lazy `over` is asked for its value.
"""

import inspect
from collections.abc import Iterable, Mapping
from typing import Any, ParamSpec, TypeVar

from mainspring.errors import Invalid
from mainspring.pipeline.step import Step

__all__ = ["map"]

P = ParamSpec("P")
R = TypeVar("R")


def map(step: Step[P, R], over: Iterable[Any] | Mapping[str, Iterable[Any]], **fixed: Any) -> list[R]:  # noqa: A001
    """Call `step` once for each value of `over` and return the list of results, lazy in a pipeline body.

    The values go to the first parameter of the step that `fixed` does not name; `fixed` are arguments that every call
    gets. To vary several parameters together, let `over` be a mapping from their names to lists of equal length: the
    first call gets the first of each, as `zip` pairs them.

    >>> from mainspring.pipeline.step import step
    >>> @step
    ... def add(a: int, b: int = 10) -> int:
    ...     return a + b
    >>> map(add, [1, 2]), map(add, {"a": [1, 2], "b": [3, 4]}), map(add, [1, 2], a=5)
    ([11, 12], [4, 6], [6, 7])

    Raises:
        Invalid: there is no parameter left for the values, a name is not known or given twice, or the lists differ in
            length.
    """
    names = [
        name
        for name, each in inspect.signature(step.function).parameters.items()
        if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)
    ]
    if isinstance(over, Mapping):
        varying = {str(name): list(values) for name, values in over.items()}
    else:
        free = [name for name in names if name not in fixed]
        if not free:
            raise Invalid(f"`{step.name}` has no parameter left for the values", where="ms.map(...)")
        varying = {free[0]: list(over)}
    twice = sorted(varying.keys() & fixed.keys())
    if twice:
        raise Invalid(f"`{twice[0]}` is given twice", where=f"ms.map({step.name}, ...)", next_step="vary it or fix it")
    lengths = {name: len(values) for name, values in varying.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"`{name}` has {length}" for name, length in lengths.items())
        raise Invalid(
            f"The lists to go through together differ in length: {shown}",
            where=f"ms.map({step.name}, ...)",
            next_step="give lists of equal length",
        )
    calls = [dict(zip(varying, values, strict=True)) for values in zip(*varying.values(), strict=True)]
    whole: Any = step  # its arguments are put together here, so the signature is checked by the call itself
    return [whole(**call, **fixed) for call in calls]
