"""What a thing in a Python program is, as far as the walk over code cares; each function answers one question."""

import dataclasses
import enum
import functools
import inspect
import sys
import types
from pathlib import Path

from mainspring.pipeline._origin import module_file, origin_of
from mainspring.pipeline.content import Unhashable, content_digest

__all__ = [
    "annotation_text",
    "annotation_texts",
    "has_content",
    "is_code",
    "is_filled",
    "is_generated",
    "is_of_hidden_instance",
    "place_of_class",
]


def is_code(value: object) -> bool:
    """Whether a value is followed as code rather than hashed as content."""
    code = (
        types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType, type, staticmethod,
        classmethod, property, functools.cached_property, functools.partialmethod, functools.singledispatchmethod,
        types.MethodWrapperType, types.WrapperDescriptorType, types.MethodDescriptorType,
    )  # fmt: skip
    if isinstance(value, code):
        return True
    return callable(getattr(value, "__wrapped__", None)) and not dataclasses.is_dataclass(value)


def is_of_hidden_instance(thing: object) -> bool:
    """Whether this is a function of a module that is really a method of an object there, as `random.random` is.

    What state that object is in is not the project's doing; `_blind` names what hangs on it.
    """
    if not isinstance(thing, types.MethodType | types.BuiltinFunctionType):
        return False
    if thing.__self__ is None or isinstance(thing.__self__, types.ModuleType | type):
        return False
    home = type(thing.__self__).__module__
    module = sys.modules.get(home)
    if module is None or origin_of(home, module_file(module)).kind == "project":
        return False
    return bool(vars(module).get(thing.__name__) == thing)


def has_content(value: object) -> bool:
    try:
        content_digest(value, identify=lambda code: b"")
    except Unhashable:
        return False
    return True


def is_filled(cell: types.CellType) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:
        return False


def is_generated(kind: type, attribute: str, value: object) -> bool:
    """Whether a method was made from the fields of a dataclass, NamedTuple or enum, which are hashed themselves."""
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if issubclass(kind, enum.Enum) and not isinstance(value, types.FunctionType | property):
        return True
    if hasattr(kind, "_fields") and issubclass(kind, tuple):
        fields: tuple[str, ...] = getattr(kind, "_fields")  # noqa: B009  # a NamedTuple's
        # Made in a scope of its own, unlike a method that the author wrote.
        if attribute in ("_fields", "__slots__", *fields):
            return True
        if isinstance(value, types.FunctionType) and value.__globals__.get("__name__") != kind.__module__:
            return True
    if not isinstance(value, types.FunctionType):
        return False
    code: types.CodeType = inspect.unwrap(value).__code__
    return code.co_qualname.startswith("__create_fn__.")  # the name of the maker in dataclasses


def annotation_texts(kind: type) -> list[str]:
    try:
        annotations = dict(kind.__annotations__)
    except Exception:  # an annotation that cannot be evaluated cannot be used by anybody else either
        return []
    return [f"{name}:{annotation_text(value)}" for name, value in annotations.items()]


def annotation_text(annotation: object) -> str:
    """Return an annotation as people write it: a class by its name, anything else by its own text."""
    return str(getattr(annotation, "__qualname__", annotation))


def place_of_class(kind: type) -> str:
    """Return the file and line of a class: the line of its first method is near enough, and costs no reading."""
    module = sys.modules.get(kind.__module__)
    file = Path(module_file(module) or "").name if module is not None else ""
    for value in vars(kind).values():
        code = getattr(value, "__code__", None)
        if code is not None and file and Path(code.co_filename).name == file:
            return f"{file}:{code.co_firstlineno}"
    return file
