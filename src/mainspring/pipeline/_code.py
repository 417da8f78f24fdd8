"""The normal form of a code object: what it does, without where it stands and how it is laid out.

Positions, comments, docstrings, padding and the names of local variables are left out; operations, constants, global
and attribute names, parameter names and the shape of jumps stay. The bytecode is taken rather than the source because
it is what runs: a file edited after its import has a new source and the old code.
"""

import dis
import inspect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, NamedTuple

from blake3 import blake3

__all__ = ["Chain", "CodeForm", "Import", "form_of"]

# Padding, inline caches, and what tracing and long arguments need.
_PADDING = frozenset({"CACHE", "EXTENDED_ARG", "NOP", "NOT_TAKEN"})
_GLOBAL_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
_ATTRIBUTE_LOADS = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
# What a class body notes about itself for people and debuggers.
_NOTES = frozenset({"__doc__", "__firstlineno__", "__static_attributes__"})
# The flag that a code object has a docstring (3.13 and later) is about a docstring, not about the code.
_HAS_DOCSTRING = 0x4000000
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)


class Chain(NamedTuple):
    """A global name and the attributes taken from it at once, such as ``helpers.scale``.

    `called_bare`: it is called without arguments. `has_text`: one of its plain arguments is a constant text, as in
    ``getattr(x, "name")``.
    """

    names: tuple[str, ...]
    called_bare: bool = False
    has_text: bool = False


class Import(NamedTuple):
    """An import statement inside a function: the module, the dots before it, and the names taken from it."""

    module: str
    level: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeForm:
    """The normal form's digest, what the code reaches for by name, and the last line it stands on.

    `attributes` are the names it takes from anything, be it a global name, a parameter or the result of a call.
    """

    digest: bytes
    chains: tuple[Chain, ...]
    imports: tuple[Import, ...]
    texts: tuple[str, ...]
    inner: frozenset[bytes]
    attributes: frozenset[str]
    last_line: int = 0


# Keyed by identity, with the code kept alive: comparing code objects compares their line tables too.
_forms: dict[int, tuple[CodeType, CodeForm]] = {}


def form_of(code: CodeType) -> CodeForm:
    """Return the normal form of `code` and of all code inside it. Linear in its size; remembered for the process."""
    known = _forms.get(id(code))
    if known is None:
        known = (code, _form(code))
        _forms[id(code)] = known
    return known[1]


def _form(code: CodeType) -> CodeForm:
    hasher = blake3()
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    stars = code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    _put(hasher, "head", code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, *arguments)
    _put(hasher, code.co_flags & ~_HAS_DOCSTRING, stars, len(code.co_freevars), len(code.co_cellvars))
    steps = list(_steps(code))
    position = _positions(code, steps)
    chains: dict[Chain, None] = {}
    imports: dict[Import, None] = {}
    texts: dict[str, None] = {}
    inner: set[bytes] = set()
    attributes = {str(step.argval) for step in steps if step.opname in _ATTRIBUTE_LOADS}
    for number, step in enumerate(steps):
        if step.opcode in _JUMPS:
            _put(hasher, step.opname, "to", position[step.argval])
        elif step.opcode in dis.hasconst:
            _put(hasher, step.opname, "value")
            _put_constant(hasher, step.argval)
        elif step.opcode in dis.hasname:
            _put(hasher, step.opname, "name", step.argval)
        else:
            _put(hasher, step.opname, step.arg)
        if step.opname in _GLOBAL_LOADS:
            chains[_chain(steps, number)] = None
        elif step.opname == "IMPORT_NAME":
            imports[_import(steps, number)] = None
    for entry in _catches(code):
        _put(hasher, "catch", position[entry.start], position[entry.end], position[entry.target], entry.depth)
    for constant in code.co_consts:
        _note_texts(constant, texts)
        if isinstance(constant, CodeType):
            form = form_of(constant)
            chains |= dict.fromkeys(form.chains)
            imports |= dict.fromkeys(form.imports)
            texts |= dict.fromkeys(form.texts)
            inner |= {form.digest} | form.inner
            attributes |= form.attributes
    found = (tuple(sorted(chains)), tuple(sorted(imports)), tuple(texts))
    return CodeForm(hasher.digest(), *found, frozenset(inner), frozenset(attributes), _last_line(code))


def _last_line(code: CodeType) -> int:
    """Return the last line that anything in a code object stands on."""
    own = max((line for _, _, line in code.co_lines() if line), default=code.co_firstlineno)
    return max([own, *(form_of(each).last_line for each in code.co_consts if isinstance(each, CodeType))])


def _steps(code: CodeType) -> Iterator[dis.Instruction]:
    """Yield the instructions that do something; a class or module body's notes about itself do nothing."""
    kept = [step for step in dis.get_instructions(code) if step.opname not in _PADDING]
    is_function = bool(code.co_flags & inspect.CO_OPTIMIZED)
    skip = False
    for step, following in zip(kept, [*kept[1:], None], strict=True):
        if skip:
            skip = False
            continue
        if not is_function and following is not None and following.opname == "STORE_NAME":
            skip = following.argval in _NOTES and step.opcode in dis.hasconst
            if skip:
                continue
        yield step


def _positions(code: CodeType, steps: list[dis.Instruction]) -> dict[int, int]:
    """Map every byte offset to the number of the first kept instruction at or after it."""
    positions: dict[int, int] = {}
    number = 0
    for offset in range(0, len(code.co_code) + 2, 2):
        while number < len(steps) and steps[number].offset < offset:
            number += 1
        positions[offset] = number
    return positions


def _catches(code: CodeType) -> list[Any]:  # entries with start, end, target and depth; the stubs leave them out
    entries: list[Any] = getattr(dis.Bytecode(code), "exception_entries")  # noqa: B009
    return entries


def _chain(steps: list[dis.Instruction], start: int) -> Chain:
    names = [str(steps[start].argval)]
    after = start + 1
    while after < len(steps) and steps[after].opname in _ATTRIBUTE_LOADS:
        names.append(str(steps[after].argval))
        after += 1
    # A call without arguments follows at once, but for the markers that some versions put between.
    rest = [step for step in steps[after : after + 8] if step.opname not in ("PUSH_NULL", "PRECALL")]
    bare = bool(rest) and rest[0].opname == "CALL" and rest[0].arg == 0
    arguments = list(itertools.takewhile(lambda step: not step.opname.startswith(("CALL", "KW_NAMES")), rest))
    # A name put together from texts has a text too, but also an operation that is no plain load.
    call = next((step for step in rest if step.opname.startswith("CALL")), None)
    loads = [step for step in arguments if step.opname not in _ATTRIBUTE_LOADS]
    # Fewer arguments than loads: a call among the arguments makes the text.
    plain = all(step.opname.startswith("LOAD_") for step in arguments) and call is not None and call.arg == len(loads)
    has_text = plain and any(step.opcode in dis.hasconst and isinstance(step.argval, str) for step in arguments)
    return Chain(tuple(names), bare, has_text)


def _import(steps: list[dis.Instruction], number: int) -> Import:
    # The compiler loads the level and the names right before.
    level, names = steps[number - 2].argval, steps[number - 1].argval
    return Import(
        str(steps[number].argval), level if isinstance(level, int) else 0, names if isinstance(names, tuple) else ()
    )


def _note_texts(constant: object, texts: dict[str, None]) -> None:
    if isinstance(constant, str):
        texts[constant] = None
    elif isinstance(constant, tuple):
        for each in constant:
            _note_texts(each, texts)


def _put(hasher: blake3, *fields: object) -> None:
    for field in fields:
        data = str(field).encode("utf-8", "surrogatepass")
        hasher.update(b"%d:" % len(data) + data)


def _put_constant(hasher: blake3, value: object) -> None:
    if isinstance(value, CodeType):
        hasher.update(b"code" + form_of(value).digest)
    elif isinstance(value, tuple):
        hasher.update(b"tuple%d" % len(value))
        for each in value:
            _put_constant(hasher, each)
    elif isinstance(value, frozenset):
        hasher.update(b"set" + b"".join(sorted(_constant_digest(each) for each in value)))
    elif isinstance(value, slice):
        hasher.update(b"slice")
        for each in (value.start, value.stop, value.step):
            _put_constant(hasher, each)
    else:
        # Numbers, text, bytes, None, Ellipsis: their repr is exact.
        _put(hasher, type(value).__name__, repr(value))


def _constant_digest(value: object) -> bytes:
    hasher = blake3()
    _put_constant(hasher, value)
    return hasher.digest()
