"""The language of searches: text to a tree of conditions. MLflow's grammar, and `or`, `not`, parentheses beyond it.

    metrics.loss < 0.2 and (params.model = 'tree' or tags.team is null) and not attributes.status = 'FAILED'
    min(metrics.loss) < 0.1 and at(metrics.loss, 100) < 0.3

What may be asked of a kind of thing is its `Vocabulary`; what the conditions mean in SQL is decided by its owner.
Source: https://mlflow.org/docs/latest/ml/search/search-runs, and mlflow/utils/search_utils.py of MLflow 3.17 for what a
server accepts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from mainspring.errors import Invalid

__all__ = ["All", "Any", "Comparison", "Condition", "Not", "Order", "Term", "Vocabulary", "parse_filter", "parse_order"]

Measure = Literal["", "last", "min", "max", "at"]
#: No filter that a person writes has so many comparisons; each costs the database a look-up for each candidate.
_MOST_COMPARISONS = 200
_MOST_DEPTH = 40
_NUMERIC = ("=", "!=", "<", "<=", ">", ">=")
_PLAIN = ("=", "!=", "LIKE", "ILIKE")
_MEMBER = ("IN", "NOT IN")
_NULL = ("IS NULL", "IS NOT NULL")

_TOKEN = re.compile(
    r"\s*(?:"
    r"(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.`\"']))"
    r"|(?P<name>(?:`[^`]*`|[A-Za-z_][\w/\-:]*)(?:\.(?:`[^`]*`|\"[^\"]*\"|[\w/\-:.]+))?)"
    r"|(?P<text>'(?:''|[^'])*'|\"(?:\"\"|[^\"])*\")"
    r"|(?P<sign><=|>=|!=|<>|==|=|<|>|\(|\)|,)"
    r")"
)


class Term(NamedTuple):
    """What is compared: ``metrics.loss``; `measure` says which value of a metric, `step` which step for ``at``."""

    entity: str
    key: str
    measure: Measure = ""
    step: int = 0


class Comparison(NamedTuple):
    """A term beside a value; `value` is None for ``IS NULL`` and a tuple for ``IN``."""

    term: Term
    operator: str
    value: str | float | tuple[str, ...] | None


class All(NamedTuple):
    """Every part must hold."""

    parts: "tuple[Condition, ...]"


class Any(NamedTuple):
    """One of the parts must hold."""

    parts: "tuple[Condition, ...]"


class Not(NamedTuple):
    """The part must not hold."""

    part: "Condition"


Condition: TypeAlias = Comparison | All | Any | Not


class Order(NamedTuple):
    """One key to order by."""

    term: Term
    ascending: bool


@dataclass(frozen=True)
class Vocabulary:
    """What a kind of thing can be asked: its entities by every name they have, and its attributes by type."""

    entities: Mapping[str, str]
    numbers: frozenset[str]
    texts: frozenset[str]
    #: Other names of attributes.
    aliases: Mapping[str, str]
    #: Attributes that can be compared with a list.
    lists: frozenset[str] = frozenset()
    dataset_keys: frozenset[str] = frozenset()
    #: Whether tags and parameters can be compared with a list.
    pairs_in_lists: bool = False

    def term(self, name: str) -> Term:
        """Return what a name such as ``metrics.loss`` or ``start_time`` stands for.

        Raises:
            Invalid: nothing of that kind can be asked.
        """
        entity, dot, key = name.partition(".")
        if not dot or (name.startswith("`") and "`" in name[1:].rstrip("`")):
            entity, key = "attribute", name
        elif (known := self.entities.get(_bare(entity))) is None:
            listed = list(dict.fromkeys(self.entities.values()))
            raise _wrong(f"Invalid entity type '{entity}'. Valid values are {listed}")
        else:
            entity = known
        key = _bare(key)
        if entity == "attribute":
            key = self.aliases.get(key, key)
            if key not in self.numbers | self.texts:
                valid = sorted({*self.numbers, *self.texts, *self.aliases})
                raise _wrong(f"Invalid attribute key '{key}' specified. Valid keys are '{valid}'")
        if entity == "dataset" and key not in self.dataset_keys:
            valid = sorted(self.dataset_keys)
            raise _wrong(f"Invalid dataset key '{key}' specified. Valid keys are '{valid}'")
        return Term(entity, key)

    def is_number(self, term: Term) -> bool:
        """Whether a term is compared with numbers."""
        return term.entity == "metric" or (term.entity == "attribute" and term.key in self.numbers)


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def parse_filter(text: str | None, vocabulary: Vocabulary) -> Condition:
    """Read a filter; an empty one holds for everything.

    Raises:
        Invalid: the filter is none; the message says which words.
    """
    if not text or not text.strip():
        return All(())
    return _Parser(text, vocabulary).whole()


def parse_order(clause: str, vocabulary: Vocabulary) -> Order:
    """Read one clause of an order, such as ``metrics.loss DESC``; ascending when it does not say.

    Raises:
        Invalid: it is none.
    """
    words = clause.strip()
    found = re.search(r"\s+(\S+)$", words)
    ascending = True
    if found and not words.endswith(("`", '"', ")")):
        direction = found.group(1).lower()
        if direction not in ("asc", "desc"):
            raise _wrong(f"Invalid ordering key in order_by clause '{clause}'.")
        ascending = direction == "asc"
        words = words[: found.start()]
    tokens = _Parser(words, vocabulary, what="order_by clause")
    term = tokens.term()
    tokens.end()
    return Order(term, ascending)


class _Parser:
    """A walk over the tokens of one text, from left to right."""

    def __init__(self, text: str, vocabulary: Vocabulary, what: str = "filter string") -> None:
        self._text = text
        self._vocabulary = vocabulary
        self._what = what
        self._tokens = list(_tokens(text, what))
        self._next = 0
        self._comparisons = 0

    def whole(self) -> Condition:
        condition = self._any(0)
        self.end()
        return condition

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._unexpected()

    def term(self) -> Term:
        name = self._take("name")
        if name.lower() in ("min", "max", "last", "at") and self._sees("("):
            return self._measured(name.lower())
        return self._vocabulary.term(name)

    def _any(self, depth: int) -> Condition:
        parts = [self._all(depth)]
        while self._word("or"):
            parts.append(self._all(depth))
        return parts[0] if len(parts) == 1 else Any(tuple(parts))

    def _all(self, depth: int) -> Condition:
        parts = [self._one(depth)]
        while self._word("and"):
            parts.append(self._one(depth))
        return parts[0] if len(parts) == 1 else All(tuple(parts))

    def _one(self, depth: int) -> Condition:
        if depth > _MOST_DEPTH:
            raise _wrong(f"The {self._what} is nested deeper than {_MOST_DEPTH} levels")
        if self._word("not"):
            return Not(self._one(depth + 1))
        if self._sees("("):
            self._next += 1
            condition = self._any(depth + 1)
            self._expect(")")
            return condition
        return self._comparison()

    def _comparison(self) -> Condition:
        self._comparisons += 1
        if self._comparisons > _MOST_COMPARISONS:
            raise _wrong(f"The {self._what} has more than {_MOST_COMPARISONS} comparisons")
        term = self.term()
        operator = self._operator()
        self._check(term, operator)
        if operator in _NULL:
            return Comparison(term, operator, None)
        if operator in _MEMBER:
            return Comparison(term, operator, self._list(term))
        comparison = Comparison(term, operator.removeprefix("NOT "), self._value(term))
        return Not(comparison) if operator.startswith("NOT ") else comparison

    def _operator(self) -> str:
        if self._word("is"):
            negated = self._word("not")
            if not self._word("null"):
                raise self._unexpected()
            return "IS NOT NULL" if negated else "IS NULL"
        negation = "NOT " if self._word("not") else ""
        for word in ("in", "like", "ilike"):
            if self._word(word):
                return f"{negation}{word.upper()}"
        token = self._peek()
        if negation or token is None or token.kind != "sign" or token.text in "(),":
            raise self._unexpected()
        self._next += 1
        return {"<>": "!=", "==": "="}.get(token.text, token.text)

    def _check(self, term: Term, operator: str) -> None:
        """Refuse an operator that the term's kind does not know."""
        if operator in _NULL:
            if term.entity not in ("tag", "parameter"):
                raise _wrong(
                    f"IS NULL / IS NOT NULL is only supported for tags and params, not for '{term.entity}' '{term.key}'"
                )
            return
        known: Sequence[str]
        if self._vocabulary.is_number(term):
            known = _NUMERIC
        elif term.entity in ("attribute", "dataset"):
            known = (*_PLAIN, *_MEMBER)
        else:
            known = (*_PLAIN, *_NULL, *(_MEMBER if self._vocabulary.pairs_in_lists else ()))
        if operator.removeprefix("NOT ") not in {each.removeprefix("NOT ") for each in known}:
            raise _wrong(f"Invalid comparator '{operator}' not one of '{list(known)}'")

    def _value(self, term: Term) -> str | float:
        token = self._peek()
        if token is None:
            raise self._unexpected()
        if self._vocabulary.is_number(term):
            if token.kind != "number":
                kind = "metric" if term.entity == "metric" else f"numeric attribute: {term.key}"
                raise _wrong(f"Expected numeric value type for {kind}. Found {token.text}")
            self._next += 1
            return _number(token.text)
        if token.kind != "text":
            kind = "attributes" if term.entity == "attribute" else term.entity
            raise _wrong(f"Expected a quoted string value for {kind} (e.g. 'my-value'). Got value {token.text}")
        self._next += 1
        return _unquoted(token.text)

    def _list(self, term: Term) -> tuple[str, ...]:
        if term.entity == "attribute" and term.key not in self._vocabulary.lists:
            raise _wrong(
                f"Only {sorted(self._vocabulary.lists)} attributes support comparison with a list of quoted string "
                "values."
            )
        self._expect("(")
        values: list[str] = []
        while not self._sees(")"):
            if values:
                self._expect(",")
                if self._sees(")"):  # a comma may close the list, as in Python's tuple of one
                    break
            values.append(_unquoted(self._take("text")))
        self._expect(")")
        if not values:
            raise _wrong(
                "While parsing a list in the query, expected a non-empty list of string values, but got empty list"
            )
        return tuple(values)

    def _measured(self, measure: str) -> Term:
        self._expect("(")
        term = self._vocabulary.term(self._take("name"))
        if term.entity != "metric":
            raise _wrong(f"`{measure}(...)` is asked of a metric, not of '{term.entity}'")
        step = 0
        if measure == "at":
            self._expect(",")
            number = _number(self._take("number"))
            if not isinstance(number, int):
                raise _wrong(f"A step is a whole number, not {number}")
            step = number
        self._expect(")")
        return term._replace(measure=measure, step=step)  # type: ignore[arg-type]  # one of the four words

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _sees(self, text: str) -> bool:
        token = self._peek()
        return token is not None and token.text == text

    def _word(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "name" or token.text.lower() != word:
            return False
        self._next += 1
        return True

    def _expect(self, text: str) -> None:
        if not self._sees(text):
            raise self._unexpected()
        self._next += 1

    def _take(self, kind: str) -> str:
        token = self._peek()
        if token is None or token.kind != kind:
            raise self._unexpected()
        self._next += 1
        return token.text

    def _unexpected(self) -> Invalid:
        token = self._peek()
        if token is None:
            return _wrong(f"Invalid clause(s) in {self._what}: it ends too early: '{self._text[-80:]}'")
        return _wrong(f"Invalid clause(s) in {self._what}: '{self._text[token.place :][:80]}'")


def _tokens(text: str, what: str) -> Iterator[_Token]:
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None:
            if text[place:].lstrip().startswith(";"):
                raise _wrong(
                    f"Search filter contained multiple expression {text[:200]!r}. Provide AND-ed expression list."
                )
            raise _wrong(f"Invalid clause(s) in {what}: '{text[place:].strip()[:80]}'")
        kind = found.lastgroup or ""
        yield _Token(kind, found.group(kind), found.start(kind))
        place = found.end()


def _number(text: str) -> float:
    # a whole number stays one where the database has it: times in milliseconds and steps are compared exactly
    try:
        whole = int(text)
    except ValueError:
        return float(text)
    return whole if abs(whole) < 1 << 63 else float(text)


def _unquoted(text: str) -> str:
    quote = text[0]
    return text[1:-1].replace(quote * 2, quote)


def _bare(name: str) -> str:
    return name[1:-1] if len(name) >= 2 and name[0] == name[-1] and name[0] in "`\"'" else name


def _wrong(what: str) -> Invalid:
    return Invalid(what, where="filter")
