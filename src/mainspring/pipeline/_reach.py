"""Everything of the project that a function can reach: functions, classes, modules and the values they name.

The walk goes breadth first from the step and numbers what it meets in that order, which depends only on the code. Each
node has its own content and its edges (what a name in it stands for); the digest of the numbered list is the code's
part of the cache key, so a change of any node, or of what a name is bound to, changes it, and loops need no care.
"""

import dataclasses
import enum
import functools
import sys
import types
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from blake3 import blake3

from mainspring.domain.ids import Digest
from mainspring.pipeline import _modules
from mainspring.pipeline._blind import blind_spot, self_descriptions
from mainspring.pipeline._code import Chain, CodeForm, Import, form_of
from mainspring.pipeline._origin import Origin, import_name, module_file, origin_of
from mainspring.pipeline._preview import Span, preview_of
from mainspring.pipeline._things import (
    annotation_text,
    annotation_texts,
    has_content,
    is_code,
    is_filled,
    is_generated,
    is_of_hidden_instance,
    place_of_class,
)
from mainspring.pipeline._watched import NATIVE_READERS, original_of
from mainspring.pipeline.content import Unhashable, content_digest

__all__ = ["Reached", "Walk"]

# What a class keeps for itself; docstrings, annotations and line numbers do not change what it does.
_CLASS_NOTES = frozenset(
    {"__module__", "__doc__", "__dict__", "__weakref__", "__qualname__", "__firstlineno__", "__static_attributes__",
     "__annotations__", "__annotations_cache__", "__annotate__", "__annotate_func__", "__parameters__",
     "__orig_bases__", "_abc_impl", "__abstractmethods__", "__dataclass_fields__", "__dataclass_params__",
     "__match_args__", "__slotnames__"}
)  # fmt: skip
_MODULE_NAMES = frozenset({"__loader__", "__spec__", "__builtins__", "__cached__", "__package__"})


class Reached(NamedTuple):
    """One thing the walk met: kind, name, the digest of its own content with its edges, its place, and a preview."""

    kind: str
    name: str
    digest: Digest
    where: str
    preview: str = ""


@dataclasses.dataclass(slots=True)
class _Node:
    kind: str
    name: str
    where: str
    own: Any  # a running blake3 hash
    preview: str = ""
    span: Span | None = None
    edges: list[tuple[str, int]] = dataclasses.field(default_factory=list)


class Walk:
    """A walk over code. `visit` what it starts from, then `finish`; after that the findings are complete."""

    def __init__(self) -> None:
        self.packages: set[str] = set()
        self.imports: set[str] = set()
        self.blind: dict[str, None] = {}
        self.texts: dict[str, None] = {}
        self._nodes: list[_Node] = []
        self._numbers: dict[object, int] = {}
        self._alive: list[object] = []  # identities are only unique among the living
        self._waiting: deque[Callable[[], None]] = deque()

    def visit(self, thing: object) -> bytes:
        """Return what stands for `thing` (code) in the hash of whatever holds it, and put it in line to be read."""
        number = self._number_of(thing)
        return b"#%d" % number if isinstance(number, int) else number.encode()

    def visit_root(self, function: Callable[..., Any]) -> None:
        """Begin with a step's function; it is read line by line even where it is Mainspring's own."""
        if isinstance(function, types.FunctionType):
            self._add_function(function)
        else:
            self.visit(function)

    def finish(self) -> Digest:
        """Read everything in line and return the digest of all that was reached."""
        while self._waiting:
            self._waiting.popleft()()
        whole = blake3()
        for node in self._nodes:
            whole.update(node.kind.encode() + node.own.digest() + repr(node.edges).encode())
        return Digest(whole.hexdigest())

    def reached(self) -> list[Reached]:
        """Return what was met, each with the digest of its own content and of what its names are bound to."""
        found = []
        named: Counter[tuple[str, str]] = Counter()
        for node in self._nodes:
            named[node.kind, node.name] += 1
            count = named[node.kind, node.name]
            name = node.name if count == 1 else f"{node.name} ({count})"  # closures of one function share its name
            found.append(Reached(node.kind, name, self._digest_of(node), node.where, node.preview))
        return found

    def spans(self) -> dict[str, Span]:
        """Return the lines that the functions met stand on, by the digest of each."""
        return {self._digest_of(node): node.span for node in self._nodes if node.span is not None}

    def _digest_of(self, node: _Node) -> Digest:
        own = node.own.copy()
        for text, number in node.edges:
            own.update(f"{text}={self._nodes[number].name};".encode())
        return Digest(own.hexdigest())

    def _number_of(self, thing: object) -> int | str:
        """Return the number of the node of `thing`, or a text for what is no node: packages, Python, descriptors."""
        thing = original_of(thing)
        if isinstance(thing, types.ModuleType):
            return self._add_module(thing)
        if isinstance(thing, types.FunctionType):
            return self._add_function(thing) if self._is_ours(thing) else self._add_foreign(thing)
        if isinstance(thing, type):
            return self._add_class(thing) if self._is_ours(thing) else self._name(thing)
        if is_of_hidden_instance(thing):
            return self._name(thing)
        if isinstance(thing, types.MethodType):
            return f"method({self._number_of(thing.__func__)},{self._value_text(thing.__self__)})"
        if isinstance(thing, functools.partial):
            return f"partial({self._value_text(thing.func)},{self._value_text((thing.args, thing.keywords))})"
        if isinstance(thing, staticmethod | classmethod):
            return f"{type(thing).__name__}({self._number_of(thing.__func__)})"
        if isinstance(thing, property):
            parts = (thing.fget, thing.fset, thing.fdel)
            return f"property({','.join('-' if part is None else str(self._number_of(part)) for part in parts)})"
        if isinstance(thing, functools.cached_property):
            return f"cached_property({self._number_of(thing.func)})"
        if isinstance(thing, functools.partialmethod | functools.singledispatchmethod):
            held = vars(thing)
            given = (held.get("func"), held.get("args"), held.get("keywords"))
            return f"{type(thing).__name__}({self._value_text(given)})"
        wrapped = getattr(thing, "__wrapped__", None)
        if callable(wrapped):
            return f"{type(thing).__name__}({self._number_of(wrapped)})"
        if isinstance(thing, types.BuiltinFunctionType | types.MethodWrapperType) and not isinstance(
            thing.__self__, types.ModuleType | type | None
        ):
            return f"{thing.__name__}({self._value_text(thing.__self__)})"
        return self._name(thing)

    def _value_text(self, value: object) -> str:
        """Return the digest of a value that is held by code, as text; what cannot be told is named and left out."""
        try:
            return content_digest(value, identify=self.visit)
        except Unhashable as error:
            self.blind[f"the content of a {error}"] = None
            return f"{error.kind.__module__}.{error.kind.__qualname__}"

    def _origin(self, thing: object) -> Origin:
        """Say where code comes from. A wrapper carries the module name of what it wraps, so its globals are asked."""
        scope = getattr(thing, "__globals__", None)
        if isinstance(scope, dict):
            name, file = str(scope.get("__name__", "")), scope.get("__file__")
            return origin_of(name, file if isinstance(file, str) else None)
        name = getattr(thing, "__module__", None) or type(thing).__module__
        module = sys.modules.get(str(name))
        return origin_of(str(name), module_file(module) if module is not None else None)

    def _is_ours(self, thing: object) -> bool:
        return self._origin(thing).kind == "project"

    def _name(self, thing: object) -> str:
        """Return the full name of something installed, and note the package that holds it."""
        self._note_origin(self._origin(thing), str(getattr(thing, "__module__", None) or type(thing).__module__))
        named = thing if hasattr(thing, "__qualname__") else type(thing)
        return f"{getattr(named, '__module__', '')}:{getattr(named, '__qualname__', '')}"

    def _note_origin(self, origin: Origin, module: str) -> None:
        self.packages.update(origin.distributions)
        if origin.kind == "package":
            self.imports.add(module.partition(".")[0])

    def _add(self, key: object, alive: object, kind: str, name: str, where: str) -> tuple[int, _Node | None]:
        """Return the number for `key`, and its new node when it was not met before."""
        if key in self._numbers:
            return self._numbers[key], None
        number = self._numbers[key] = len(self._nodes)
        node = _Node(kind, name, where, blake3())
        self._nodes.append(node)
        self._alive.append(alive)
        return number, node

    def _add_function(self, function: types.FunctionType) -> int:
        code = function.__code__
        # The code's own name: a wrapper carries the name of what it wraps.
        name = f"{import_name(str(function.__globals__.get('__name__', '')))}.{code.co_qualname}"
        where = f"{Path(code.co_filename).name}:{code.co_firstlineno}"
        number, node = self._add(id(function), function, "code", name, where)
        if node is not None:
            self._waiting.append(lambda: self._read_function(function, node))
        return number

    def _read_function(self, function: types.FunctionType, node: _Node) -> None:
        form = form_of(function.__code__)
        node.span = Span(function.__code__.co_filename, function.__code__.co_firstlineno, form.last_line)
        node.own.update(form.digest + f"named {function.__qualname__};".encode())
        node.own.update(self._value_text((function.__defaults__, function.__kwdefaults__)).encode())
        set_by_hand = {name: value for name, value in vars(function).items() if not callable(value)}
        if set_by_hand:
            node.own.update(self._value_text(set_by_hand).encode())
        self._read_form(form, function.__globals__, node)
        self._read_closure(function, node)

    def _read_closure(self, function: types.FunctionType, node: _Node) -> None:
        names = function.__code__.co_freevars
        for position, (name, cell) in enumerate(zip(names, function.__closure__ or (), strict=True)):
            try:
                value = cell.cell_contents
            except ValueError:  # not filled yet: a function that names itself before it is bound
                continue
            # By position: the name of a captured variable is the author's business.
            self._bind(f"closure {position}", value, ("cell", id(cell)), f"{node.name}.{name}", cell, node)

    def _add_foreign(self, function: types.FunctionType) -> int | str:
        """An installed function: its name and version stand for its code, but what it captured may be the project's."""
        name = self._name(function)
        held = [cell.cell_contents for cell in function.__closure__ or () if is_filled(cell)]
        held += [*(function.__defaults__ or ()), getattr(function, "__wrapped__", None)]
        if not any(self._leads_home(each) for each in held):
            return name
        number, node = self._add(id(function), function, "wrapper", name, "")
        if node is not None:
            node.own.update(name.encode())

            def read() -> None:
                for position, each in enumerate(held):
                    if self._leads_home(each):
                        self._bind(f"held {position}", each, ("held", id(each)), f"{name}.{position}", each, node)

            self._waiting.append(read)
        return number

    def _leads_home(self, thing: object) -> bool:
        """Whether something an installed function holds may bring project code into play."""
        if isinstance(thing, list | tuple | set | frozenset):
            return any(self._leads_home(each) for each in thing)
        if isinstance(thing, dict):
            return any(self._leads_home(each) for each in thing.values())
        if isinstance(thing, types.FunctionType):
            return self._is_ours(thing) or getattr(thing, "__closure__", None) is not None
        if isinstance(thing, type):
            return self._is_ours(thing)
        return callable(thing) and (hasattr(thing, "__wrapped__") or self._is_ours(type(thing)))

    def _add_class(self, kind: type) -> int:
        name = f"{import_name(kind.__module__)}.{kind.__qualname__}"
        number, node = self._add(id(kind), kind, "code", name, place_of_class(kind))
        if node is not None:
            self._waiting.append(lambda: self._read_class(kind, node))
        return number

    def _read_class(self, kind: type, node: _Node) -> None:
        node.own.update(f"class {kind.__name__}".encode())
        for position, base in enumerate((type(kind), *kind.__bases__)):
            if base not in (object, type):
                self._bind(f"base {position}", base, id(base), "", base, node)
        if dataclasses.is_dataclass(kind):
            for field in dataclasses.fields(kind):
                options = (field.name, field.init, field.repr, field.compare, field.hash, field.kw_only)
                kept = (annotation_text(field.type), self._value_text(dict(field.metadata)))
                node.own.update(repr((*options, *kept)).encode())
                for value in (field.default, field.default_factory):
                    if value is not dataclasses.MISSING:
                        node.own.update(self._value_text(value).encode())
            node.own.update(repr(getattr(kind, "__dataclass_params__", None)).encode())
        elif "__annotations__" in vars(kind) and (issubclass(kind, tuple) or len(kind.__mro__) > 2):
            # Frameworks that build a class from its annotations see their text; positions and comments are not in it.
            node.own.update(repr(annotation_texts(kind)).encode())
        if issubclass(kind, enum.Enum):
            for member in kind:
                node.own.update(f"{member.name}={self._value_text(member.value)}".encode())
        for attribute in sorted(vars(kind)):
            self._read_attribute(kind, attribute, node)

    def _read_attribute(self, kind: type, attribute: str, node: _Node) -> None:
        value = vars(kind)[attribute]
        slotted = isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
        if attribute in _CLASS_NOTES or slotted or is_generated(kind, attribute, value):
            return
        self._bind(f".{attribute}", value, (id(kind), attribute), f"{node.name}.{attribute}", value, node)

    def _read_form(self, form: CodeForm, scope: dict[str, Any], node: _Node) -> None:
        for text in form.texts:
            self.texts[text] = None
        for chain in form.chains:
            self._read_chain(chain, scope, node)
        for each in form.imports:
            self._read_import(each, str(scope.get("__package__") or ""), node)
        for what in self_descriptions(form.attributes):
            self._note_blind(what, node)

    def _read_chain(self, chain: Chain, scope: dict[str, Any], node: _Node) -> None:
        """Follow a name of the code to what it stands for now."""
        first = chain.names[0]
        if first not in scope:
            self._note_blind(blind_spot(chain, None), node)
            return
        value = original_of(scope[first])
        self._note_bare_reader(value)
        if first == "__name__":
            node.own.update(import_name(str(value)).encode())
        elif first == "__file__":
            node.own.update(Path(str(value)).name.encode())
        if first in _MODULE_NAMES or first in ("__name__", "__file__"):
            return
        self._note_blind(blind_spot(chain, value), node)
        home, taken, installed = import_name(str(scope.get("__name__", ""))), first, False
        for depth, attribute in enumerate(chain.names[1:], start=1):
            if isinstance(value, type) and depth > 1:
                self._note_blind(blind_spot(Chain(chain.names[depth - 1 :]), value), node)
            if not isinstance(value, types.ModuleType):
                break
            installed = not _modules.is_ours(value)
            if installed:
                # Noted here too, because what the name leads to may be somebody else's: a patched function.
                self._note_origin(origin_of(value.__name__, module_file(value)), value.__name__)
            if value.__name__ == "mainspring" and attribute in dir(value):
                getattr(value, attribute)  # made on first use: the code must not look changed when it has been used
            if attribute not in vars(value):  # made on first use; the package's version stands for it
                break
            home, taken, value = import_name(value.__name__), attribute, original_of(vars(value)[attribute])
        edge = ".".join(chain.names)
        if installed and not is_code(value) and not self._is_ours(type(value)) and not has_content(value):
            # An object that its package made, such as a ufunc: the package's version stands for it.
            node.own.update(f"{edge}={home}.{taken};".encode())
            return
        self._bind(edge, value, ("global", home, taken), f"{home}.{taken}", value, node)

    def _note_bare_reader(self, value: object) -> None:
        """A function that opens files below Python, taken from its library by name, is out of the tracing's reach."""
        library = str(getattr(value, "__module__", "")).partition(".")[0].lstrip("_")
        for module, class_name, functions in NATIVE_READERS.get(library, ()):
            held = vars(sys.modules[module]) if module in sys.modules and not class_name else {}
            if any(original_of(held.get(each)) is value for each in functions):
                self.imports.add(f"{library}.")

    def _bind(self, edge: str, value: object, key: object, name: str, alive: object, node: _Node) -> None:
        """Write into `node` what stands behind `edge`: a node for code and for values, a name for what is installed."""
        if is_code(value):
            target = self._number_of(value)
            if isinstance(target, int):
                node.edges.append((edge, target))
            else:
                node.own.update(f"{edge}={target};".encode())
            return
        number, new = self._add(key, alive, "value", name, node.where)
        node.edges.append((edge, number))
        if new is not None:
            new.preview = preview_of(value)
            if isinstance(value, str):
                self.texts[value] = None
            self._waiting.append(lambda: new.own.update(self._value_text(value).encode()))

    def _read_import(self, statement: Import, package: str, node: _Node) -> None:
        library = statement.module.partition(".")[0]
        if node.kind == "module" and not statement.level:
            for module, _, functions in NATIVE_READERS.get(library, ()):
                if module == statement.module and not {*functions}.isdisjoint(statement.names):
                    self.imports.add(f"{library}.")
        for name in _modules.imported_by(statement, package):
            self._bind_module(name, node)

    def _bind_module(self, name: str, node: _Node) -> None:
        source = _modules.source_of(name)
        if source is None or source.origin.kind != "project":
            if source is not None:
                self._note_origin(source.origin, name)
            node.own.update(f"import {name};".encode())
        else:
            node.edges.append((f"import {name}", self._add_source(source)))

    def _add_module(self, module: types.ModuleType) -> int | str:
        """A module taken as a whole: which of its names will be used cannot be told, so all of it counts."""
        source = _modules.source_of(import_name(module.__name__)) or _modules.source_of(module.__name__)
        if source is not None and source.origin.kind == "project":
            return self._add_source(source)
        if source is not None:
            self._note_origin(source.origin, module.__name__)
        return f"module {module.__name__}"

    def _add_source(self, source: "_modules.Source") -> int:
        number, node = self._add(("module", source.name), source, "module", source.name, Path(source.file or "").name)
        if node is not None:
            self._waiting.append(lambda: self._read_source(source, node))
        return number

    def _read_source(self, source: "_modules.Source", node: _Node) -> None:
        form = source.form()
        if form is None:
            self.blind[f"the code of the module {source.name}, which has no source"] = None
            return
        node.own.update(form.digest)
        for digest in source.loaded_otherwise(form):
            node.own.update(digest)
        for text in form.texts:
            self.texts[text] = None
        for each in form.imports:
            self._read_import(each, source.package, node)
        for name in sorted({chain.names[0] for chain in form.chains} & {"eval", "exec", "__import__"}):
            self._note_blind(blind_spot(Chain((name,)), None), node)

    def _note_blind(self, what: str | None, node: _Node) -> None:
        if what is not None:
            self.blind[f"{what} in {node.name} ({node.where})"] = None
