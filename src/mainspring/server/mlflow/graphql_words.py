"""A GraphQL request, read: which operation is asked for, and the tree of fields it selects, fragments put in place.

Only what a client may send is read; a schema is not written in this language here. Source: GraphQL specification of
October 2021, sections 2 (language) and 6.3.2 (field collection). The bounds are those of MLflow's server.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mainspring.errors import Invalid

__all__ = ["Field", "Operation", "read_operation"]

_MOST_DEPTH = 10
_MOST_FIELDS = 1_000
_MOST_ROOTS = 10
_MOST_ALIASES = 10
_MOST_CHARACTERS = 50_000
_MOST_DIGITS = 40
_TOKEN = re.compile(
    r"(?P<skip>[\s,\ufeff]+|\#[^\n\r]*)|(?P<punctuator>\.\.\.|[!$&()\[\]{}:=@|])|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)"
    r'|(?P<block>"""(?:[^"\\]|\\(?:""")?|"(?!""))*""")|(?P<text>"(?:[^"\\\n\r]|\\.)*")',
    re.ASCII,
)
_LITERALS = {"true": True, "false": False, "null": None}


class Field(NamedTuple):
    """One field that is asked for: how it is called in the answer, its name, its arguments, and what is in it.

    `on` is the type that the fragment around it is for; empty outside of fragments.
    """

    shown: str
    name: str
    arguments: dict[str, Any]
    fields: tuple["Field", ...]
    on: str = ""


class Operation(NamedTuple):
    """What a request asks for; `kind` is query or mutation."""

    kind: str
    fields: tuple[Field, ...]


class _Definition(NamedTuple):
    """An operation or a fragment as it stands in the request; `kind` of a fragment is ``fragment``, `on` its type."""

    kind: str
    name: str
    on: str
    defaults: dict[str, Any]
    selected: list["_Selected"]


class _Selected(NamedTuple):
    """One line of a selection: a field, a spread of a fragment (`kind` is ``spread``) or fields ``inline``."""

    kind: str
    name: str
    shown: str
    arguments: dict[str, Any]
    directives: dict[str, dict[str, Any]]
    within: list["_Selected"]


class _Variable(NamedTuple):
    name: str


def read_operation(text: str, variables: Mapping[str, Any], name: str | None) -> Operation:
    """Return the operation of a request, with its variables filled in.

    Raises:
        Invalid: it cannot be read, asks for too much, or names what is not there.
    """
    definitions = _Reader(text).definitions()
    fragments = {each.name: each for each in definitions if each.kind == "fragment"}
    operations = [each for each in definitions if each.kind != "fragment"]
    chosen = [each for each in operations if name in (None, "", each.name)]
    if name and not chosen:
        raise _refused(f"Unknown operation named '{name[:100]}'.")
    if len(chosen) != 1:
        raise _refused("Must provide operation name if query contains multiple operations.")
    operation = chosen[0]
    tree = _Tree(fragments, {**operation.defaults, **variables})
    return Operation(operation.kind, tree.fields(operation.selected, depth=1, on="", within=()))


class _Tree:
    """Puts fragments and variables into a selection, and counts what it comes to."""

    def __init__(self, fragments: Mapping[str, _Definition], variables: Mapping[str, Any]) -> None:
        self._fragments = fragments
        self._variables = variables
        self._count = 0

    def fields(self, selected: list[_Selected], *, depth: int, on: str, within: tuple[str, ...]) -> tuple[Field, ...]:
        """Return the fields of a selection, those of its fragments among them."""
        if depth > _MOST_DEPTH or len(within) > _MOST_DEPTH:
            raise _refused(f"Query exceeds maximum depth of {_MOST_DEPTH}")
        found: list[Field] = []
        for each in selected:
            self._count += 1  # spreads too: a few fragments that spread each other twice come to millions
            if self._count > _MOST_FIELDS:
                raise _refused(f"Query exceeds maximum total selections of {_MOST_FIELDS}")
            if not self._is_wanted(each.directives):
                continue
            if each.kind == "field":
                inner = self.fields(each.within, depth=depth + 1, on="", within=within)
                found.append(Field(each.shown, each.name, self._filled(each.arguments), inner, on))
            elif each.kind == "inline":
                found += self.fields(each.within, depth=depth, on=each.name or on, within=within)
            elif each.name in within:
                raise _refused(f"Cannot spread fragment '{each.name}' within itself.")
            elif each.name not in self._fragments:
                raise _refused(f"Unknown fragment '{each.name}'.")
            else:
                fragment = self._fragments[each.name]
                found += self.fields(fragment.selected, depth=depth, on=fragment.on, within=(*within, each.name))
        aliases = sum(each.shown != each.name for each in found)
        roots = len(found) if depth == 1 else 0
        for what, most, count in (("root fields", _MOST_ROOTS, roots), ("aliases", _MOST_ALIASES, aliases)):
            if count > most:
                raise _refused(f"GraphQL queries should have at most {most} {what}, got {count} {what}.")
        return tuple(found)

    def _is_wanted(self, directives: Mapping[str, dict[str, Any]]) -> bool:
        skip = self._filled(directives.get("skip", {})).get("if", False)
        include = self._filled(directives.get("include", {})).get("if", True)
        return bool(include) and not skip

    def _filled(self, value: Any) -> Any:
        """Return a value with its variables filled in; an argument whose variable was not given is left out."""
        if isinstance(value, _Variable):
            return self._variables.get(value.name)
        if isinstance(value, list):
            return [self._filled(each) for each in value]
        if isinstance(value, dict):
            filled = {name: self._filled(each) for name, each in value.items()}
            return {name: each for name, each in filled.items() if each is not None}
        return value


class _Reader:
    """Reads a request from left to right, a token at a time."""

    def __init__(self, text: str) -> None:
        if len(text) > _MOST_CHARACTERS:
            raise _refused(f"The query has more than {_MOST_CHARACTERS} characters.")
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None:
                raise _refused(f"Syntax Error: Unexpected character: {text[at : at + 20]!r}.")
            at = found.end()
            if found.lastgroup != "skip":
                self._tokens.append((str(found.lastgroup), found.group()))
        self._tokens.append(("end", "<EOF>"))
        self._at = 0
        self._depth = 0

    def definitions(self) -> list[_Definition]:
        """Return all operations and fragments."""
        found = [self._definition()]
        while self._tokens[self._at][0] != "end":
            found.append(self._definition())
        return found

    def _definition(self) -> _Definition:
        if self._peek("{"):
            return _Definition("query", "", "", {}, self._selection())
        kind = self._name()
        if kind == "fragment":
            name = self._name()
            self._word("on")
            on = self._name()
            self._directives()
            return _Definition("fragment", name, on, {}, self._selection())
        if kind not in ("query", "mutation"):
            raise self._unexpected(f'Name "{kind[:40]}"')
        name = self._name() if self._tokens[self._at][0] == "name" else ""
        defaults = self._variables() if self._peek("(") else {}
        self._directives()
        return _Definition(kind, name, "", defaults, self._selection())

    def _variables(self) -> dict[str, Any]:
        """Read what variables there are, and return the defaults of those that have one."""
        defaults: dict[str, Any] = {}
        self._take("(")
        while not self._took(")"):
            self._take("$")
            name = self._name()
            self._take(":")
            self._type()
            if self._took("="):
                defaults[name] = self._value()
        return defaults

    def _type(self) -> None:
        if self._took("["):
            self._deeper()
            self._type()
            self._take("]")
            self._depth -= 1
        else:
            self._name()
        self._took("!")

    def _selection(self) -> list[_Selected]:
        self._deeper()
        self._take("{")
        found = [self._selected()]
        while not self._took("}"):
            found.append(self._selected())
        self._depth -= 1
        return found

    def _selected(self) -> _Selected:
        if self._took("..."):
            kind, name = "spread", ""
            if self._tokens[self._at] == ("name", "on") or self._tokens[self._at][0] != "name":
                kind = "inline"
                name = self._name(2) if self._tokens[self._at][0] == "name" else ""
            else:
                name = self._name()
            directives = self._directives()
            return _Selected(kind, name, "", {}, directives, self._selection() if kind == "inline" else [])
        shown = name = self._name()
        if self._took(":"):
            name = self._name()
        arguments = self._arguments() if self._peek("(") else {}
        directives = self._directives()
        return _Selected("field", name, shown, arguments, directives, self._selection() if self._peek("{") else [])

    def _arguments(self) -> dict[str, Any]:
        self._take("(")
        found: dict[str, Any] = {}
        while not self._took(")"):
            name = self._name()
            self._take(":")
            found[name] = self._value()
        return found

    def _directives(self) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        while self._took("@"):
            name = self._name()
            found[name] = self._arguments() if self._peek("(") else {}
        return found

    def _value(self) -> Any:
        kind, text = self._tokens[self._at]
        if self._took("$"):
            return _Variable(self._name())
        if self._took("["):
            self._deeper()
            items = []
            while not self._took("]"):
                items.append(self._value())
            self._depth -= 1
            return items
        if self._took("{"):
            self._deeper()
            members: dict[str, Any] = {}
            while not self._took("}"):
                name = self._name()
                self._take(":")
                members[name] = self._value()
            self._depth -= 1
            return members
        self._at += 1
        if kind == "name":
            return _LITERALS.get(text, text)
        if kind == "number":
            if len(text) > _MOST_DIGITS:
                raise _refused(f"Syntax Error: {text[:_MOST_DIGITS]}... is no number that anything here has.")
            return int(text) if text.lstrip("-").isdigit() else float(text)
        if kind == "block":
            return text[3:-3].replace('\\"""', '"""').strip()
        if kind == "text":
            return _unescaped(text)
        self._at -= 1
        raise self._unexpected(text)

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > 4 * _MOST_DEPTH:
            raise _refused(f"Query exceeds maximum depth of {_MOST_DEPTH}")

    def _peek(self, punctuator: str) -> bool:
        return self._tokens[self._at] == ("punctuator", punctuator)

    def _took(self, punctuator: str) -> bool:
        if self._peek(punctuator):
            self._at += 1
            return True
        return False

    def _take(self, punctuator: str) -> None:
        if not self._took(punctuator):
            raise self._unexpected(self._tokens[self._at][1], f'"{punctuator}"')

    def _word(self, word: str) -> None:
        if self._name() != word:
            self._at -= 1
            raise self._unexpected(self._tokens[self._at][1], f'"{word}"')

    def _name(self, count: int = 1) -> str:
        """Return the next name, or the last of the next `count` names."""
        text = ""
        for _ in range(count):
            kind, text = self._tokens[self._at]
            if kind != "name":
                raise self._unexpected(text, "Name")
            self._at += 1
        return text

    def _unexpected(self, text: str, wanted: str = "") -> Invalid:
        expected = f"Expected {wanted}, found" if wanted else "Unexpected"
        return _refused(f"Syntax Error: {expected} {text[:40]}.")


def _unescaped(text: str) -> str:
    try:
        found: str = json.loads(text, strict=False)
        found.encode()
    except ValueError as error:  # a half surrogate pair too
        raise _refused(f"Syntax Error: Invalid character escape sequence in {text[:40]}.") from error
    return found


def _refused(what: str) -> Invalid:
    return Invalid(what, where="query")
