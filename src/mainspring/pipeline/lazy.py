"""The value of a step that may not have run yet, typed for the reader as what the step returns.

Fields of NamedTuple and dataclass results, and the items of fixed tuples, are lazy too, so a step with several outputs
needs no annotation beyond its return type. Anything else Python asks of the value (`if`, `for`, arithmetic, another
attribute) forces it: the calls it needs run now, and the body goes on with the real value.

A lazy value cannot be written to: a step's result is kept and shared, and a change made to it in a pipeline body would
be there in one run and not in the next.
"""

import dataclasses
import operator
import typing
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from mainspring.errors import Invalid

if TYPE_CHECKING:
    from mainspring.pipeline.graph import Graph

__all__ = ["Lazy", "PathItem", "Reference", "force", "project", "result_type", "with_lazies"]

#: One way into a result: a field's name or an index.
PathItem = str | int

# Annotation of a value of which nothing is known.
_UNKNOWN = object


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """What a lazy value stands for: the part at `path` of the result of the call number `call` in `graph`."""

    graph: "Graph"
    call: int
    path: tuple[PathItem, ...]
    annotation: object
    step_name: str

    @classmethod
    def of(cls, lazy: "Lazy") -> "Reference":
        """Return what `lazy` stands for, without forcing it."""
        reference: Reference = object.__getattribute__(lazy, "_reference")
        return reference

    def at(self, item: PathItem, annotation: object) -> "Lazy":
        """Return the lazy value of a part of this one."""
        return Lazy(dataclasses.replace(self, path=(*self.path, item), annotation=annotation))

    def __str__(self) -> str:
        steps = "".join(f".{item}" if isinstance(item, str) else f"[{item}]" for item in self.path)
        return f"{self.step_name}(){steps}"


def force(value: object) -> object:
    """Return the real value of a lazy one, running what it needs; anything else is returned as it is."""
    if type(value) is not Lazy:
        return value
    reference = Reference.of(value)
    return project(reference.graph.resolve(reference.call), reference)


def project(result: object, reference: Reference) -> object:
    """Return the part of `result` that `reference` names.

    Raises:
        Invalid: the result is not what the step's annotation promised.
    """
    try:
        for item in reference.path:
            result = getattr(result, item) if isinstance(item, str) else result[item]  # type: ignore[index]
    except (AttributeError, IndexError, TypeError) as error:
        raise Invalid(
            f"`{reference}` is not there: {error}",
            where=f"step {reference.step_name}",
            next_step="make the step return what its annotation says",
        ) from error
    return result


def result_type(function: Callable[..., Any]) -> object:
    """Return the evaluated return annotation of `function`; ``object`` where there is none that can be read."""
    try:
        annotation = getattr(function, "__annotations__", {}).get("return", _UNKNOWN)
        if isinstance(annotation, str):
            names = getattr(function, "__globals__", {})
            # The author's own annotation, evaluated in the author's own module, as typing.get_type_hints does.
            annotation = eval(annotation, names)  # noqa: S307
    except Exception:  # any fault in an annotation only means that fields are not lazy
        return _UNKNOWN
    return annotation


def with_lazies(value: object, found: "Callable[[Lazy], object]") -> object:
    """Copy `value` deep enough that its owner cannot change it, replacing each lazy value inside by ``found(lazy)``."""
    kind = type(value)
    if kind is Lazy:
        return found(value)  # type: ignore[arg-type]
    if kind in (str, int, float, bool, type(None), bytes):
        return value
    if isinstance(value, dict) and kind is dict:
        return {with_lazies(key, found): with_lazies(each, found) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        if kind in (list, tuple, set, frozenset):
            return kind(with_lazies(each, found) for each in value)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            record: Any = kind  # a NamedTuple, made without its constructor
            return tuple.__new__(record, [with_lazies(each, found) for each in value])
        return value
    if dataclasses.is_dataclass(kind):
        copy = object.__new__(kind)
        for field in dataclasses.fields(kind):
            if hasattr(value, field.name):
                object.__setattr__(copy, field.name, with_lazies(getattr(value, field.name), found))
        return copy
    return _private(value)


def _private(value: object) -> object:
    """Return a copy of a table, array or estimator that shares nothing writable with the original.

    Recognised by shape, not by import: whoever holds one has its library loaded. Other objects are passed as they are.
    """
    kind = type(value)
    room = kind.__module__.partition(".")[0]
    thing: Any = value  # duck-typed below
    if room == "pandas" and hasattr(kind, "copy"):
        # Under pandas 3 a shallow copy is copy-on-write, so it costs nothing; before, only a deep one is private.
        import pandas as pd  # loaded already: the value is one of its own

        return thing.copy(deep=int(pd.__version__.partition(".")[0]) < 3)
    if room == "numpy" and kind.__name__ == "ndarray":
        return thing.copy()
    if kind is bytearray or (callable(getattr(kind, "get_params", None)) and callable(getattr(kind, "fit", None))):
        from copy import deepcopy

        return deepcopy(value)
    return value


def _fields_of(annotation: object) -> dict[str, object]:
    """Return the fields of a NamedTuple or dataclass type with their types, else nothing."""
    kind: Any = typing.get_origin(annotation) or annotation
    if not isinstance(kind, type):
        return {}
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    elif issubclass(kind, tuple) and hasattr(kind, "_fields"):
        names = list(kind._fields)
    else:
        return {}
    try:
        hints = typing.get_type_hints(kind)
    except Exception:  # an annotation that cannot be read costs the laziness of its inner fields, nothing else
        hints = {}
    return {name: hints.get(name, _UNKNOWN) for name in names}


def _items_of(annotation: object) -> list[tuple[PathItem, object]] | None:
    """Return the ways into a tuple of known length with their types; None where the length is not known."""
    kind = typing.get_origin(annotation) or annotation
    if isinstance(kind, type) and issubclass(kind, tuple):
        if hasattr(kind, "_fields"):
            return list(_fields_of(annotation).items())
        types = typing.get_args(annotation)
        if types and types[-1] is not Ellipsis:
            return list(enumerate(types))
    return None


class Lazy:
    """A value that is computed when Python needs it. Made by calling a step in a pipeline body."""

    __slots__ = ("_reference",)

    def __init__(self, reference: Reference) -> None:
        object.__setattr__(self, "_reference", reference)

    def __getattr__(self, name: str) -> Any:  # whatever the real value has
        reference = Reference.of(self)
        fields = _fields_of(reference.annotation)
        if name in fields:
            return reference.at(name, fields[name])
        return getattr(force(self), name)

    def __getitem__(self, key: Any) -> Any:  # whatever the real value takes and gives
        items = _items_of(Reference.of(self).annotation) if type(key) is int else None
        if items is not None and -len(items) <= key < len(items):
            return Reference.of(self).at(*items[key])
        return force(self)[key]  # type: ignore[index]

    def __iter__(self) -> Iterator[Any]:  # whatever the real value holds
        items = _items_of(Reference.of(self).annotation)
        if items is not None:
            return iter([Reference.of(self).at(*each) for each in items])
        return iter(force(self))  # type: ignore[call-overload, no-any-return]

    def __repr__(self) -> str:
        # The only question that forces nothing: a debugger must not run a pipeline.
        return f"<lazy {Reference.of(self)}>"

    # Asked by isinstance() after the type itself: a branch on the type must take the same way as without a pipeline.
    @property
    def __class__(self) -> Any:
        return type(force(self))

    @__class__.setter
    def __class__(self, kind: object) -> NoReturn:
        _refuse(self)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        _refuse(self)

    def __delattr__(self, name: str) -> NoReturn:
        _refuse(self)

    def __setitem__(self, key: object, value: object) -> NoReturn:
        _refuse(self)

    def __delitem__(self, key: object) -> NoReturn:
        _refuse(self)

    def __call__(self, *args: object, **kwargs: object) -> Any:  # whatever the real value returns
        return force(self)(*args, **kwargs)  # type: ignore[operator]

    def __format__(self, spec: str) -> str:
        return format(force(self), spec)

    def __round__(self, *digits: int) -> Any:  # whatever the real value returns
        return round(force(self), *digits)  # type: ignore[call-overload]

    def __array__(self, *args: object, **kwargs: object) -> Any:  # numpy calls this; numpy need not be there
        import numpy as np  # loaded already: it is asking

        return np.asarray(force(self), *args, **kwargs)  # type: ignore[call-overload]


def _refuse(lazy: Lazy) -> NoReturn:
    reference = Reference.of(lazy)
    raise Invalid(
        f"`{reference}` is the result of a step and cannot be changed in the pipeline body",
        where=f"step {reference.step_name}",
        next_step="make the change inside a step, and return the changed value from it",
    )


def _unary(question: Callable[[Any], Any]) -> Callable[[Lazy], Any]:
    return lambda self: question(force(self))


def _binary(question: Callable[[Any, Any], Any]) -> Callable[[Lazy, object], Any]:
    return lambda self, other: question(force(self), force(other))


def _reflected(question: Callable[[Any, Any], Any]) -> Callable[[Lazy, object], Any]:
    return lambda self, other: question(force(other), force(self))


# Special methods are looked up on the type, so each must be there by name; all of them say the same: force, then ask.
for _name, _question in {
    "bool": bool, "len": len, "hash": hash, "str": str, "int": int, "float": float, "complex": complex,
    "bytes": bytes, "reversed": reversed, "index": operator.index, "neg": operator.neg, "pos": operator.pos,
    "abs": abs, "invert": operator.invert, "fspath": __import__("os").fspath,
}.items():  # fmt: skip
    setattr(Lazy, f"__{_name}__", _unary(_question))
for _name in ("trunc", "floor", "ceil"):
    setattr(Lazy, f"__{_name}__", _unary(getattr(__import__("math"), _name)))
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "contains"):
    setattr(Lazy, f"__{_name}__", _binary(getattr(operator, _name)))
for _name in (
    "add",
    "sub",
    "mul",
    "matmul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "lshift",
    "rshift",
    "and",
    "xor",
    "or",
):
    _question = getattr(operator, f"{_name}_" if _name in ("and", "or") else _name)
    setattr(Lazy, f"__{_name}__", _binary(_question))
    setattr(Lazy, f"__r{_name}__", _reflected(_question))
setattr(Lazy, "__divmod__", _binary(divmod))  # noqa: B010
setattr(Lazy, "__rdivmod__", _reflected(divmod))  # noqa: B010
del _name, _question
