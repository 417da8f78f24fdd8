"""Searches over models and versions, in the language of `tracking.filters`, page by page.

Prompts are models that carry a tag; as in MLflow they show only when the filter asks for them.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from mainspring.domain.version import ModelVersion, RegisteredModel
from mainspring.errors import Invalid
from mainspring.registry.models import models_where
from mainspring.registry.versions import versions_where
from mainspring.store.protocol import Row, Store
from mainspring.tracking.clauses import Clause, Key, Walk, clause_of, compared, place_of, token_of, visit
from mainspring.tracking.filters import Comparison, Condition, Not, Vocabulary, parse_filter, parse_order

__all__ = ["PROMPT_TAG", "search_models", "search_versions"]

T = TypeVar("T")
PROMPT_TAG = "mlflow.prompt.is_prompt"
#: MLflow takes a version's number in quotes too.
_QUOTED_NUMBER = re.compile(r"(\bversion_number\s*[<>=!]+\s*)(['\"])(\d+)\2")
_ENTITIES = {"attribute": "attribute", "attributes": "attribute", "tag": "tag", "tags": "tag"}
_OF_MODELS = Vocabulary(
    entities=_ENTITIES, numbers=frozenset(), texts=frozenset({"name"}), aliases={}, lists=frozenset({"name"})
)
_OF_VERSIONS = Vocabulary(
    entities=_ENTITIES,
    numbers=frozenset({"version_number"}),
    texts=frozenset({"name", "run_id", "source_path"}),
    aliases={},
    lists=frozenset({"name", "run_id"}),
)
_ORDERS = Vocabulary(
    entities=_ENTITIES,
    numbers=frozenset({"version_number", "creation_timestamp", "last_updated_timestamp"}),
    texts=frozenset({"name"}),
    aliases={"timestamp": "last_updated_timestamp"},
)


class _Kind(NamedTuple):
    """Where a kind of thing and its tags are kept, and under which columns its attributes."""

    table: str
    tags: str
    same: str
    columns: dict[str, str]
    orders: dict[str, str]
    natural: tuple[Key, ...]


_MODELS = _Kind(
    "models AS thing",
    "model_tags",
    "tags.model = thing.name",
    {"name": "thing.name"},
    {"name": "thing.name", "last_updated_timestamp": "thing.updated_at"},
    (Key("thing.name", True),),
)
_VERSIONS = _Kind(
    "model_versions AS thing",
    "version_tags",
    "tags.model = thing.model AND tags.version = thing.version",
    {
        "name": "thing.model",
        "version_number": "thing.version",
        "run_id": "coalesce(thing.run_id, '')",
        "source_path": "thing.source",
    },
    {
        "name": "thing.model",
        "version_number": "thing.version",
        "creation_timestamp": "thing.created_at",
        "last_updated_timestamp": "thing.updated_at",
    },
    (Key("thing.model", True), Key("thing.version", False)),
)


def search_models(
    store: Store, filter_text: str = "", *, order_by: Sequence[str] = (), limit: int = 100, token: str = ""
) -> tuple[list[RegisteredModel], str | None]:
    """Return a page of models that meet a filter, and the token of the page that follows.

    Raises:
        Invalid: the filter, the order or the token is none.
    """
    condition = parse_filter(filter_text, _OF_MODELS)
    names, following = _page(store, _MODELS, condition, order_by, limit, token)
    found = {each.name: each for each in models_where(store, *_among("name", [name for (name,) in names]))}
    return [found[name] for (name,) in names if name in found], following


def search_versions(
    store: Store, filter_text: str = "", *, order_by: Sequence[str] = (), limit: int = 10_000, token: str = ""
) -> tuple[list[ModelVersion], str | None]:
    """Return a page of versions that meet a filter, and the token of the page that follows; newest change first.

    Raises:
        Invalid: the filter, the order or the token is none.
    """
    condition = parse_filter(_QUOTED_NUMBER.sub(r"\1\3", filter_text), _OF_VERSIONS)
    wanted = order_by or ("last_updated_timestamp DESC", "name ASC", "version_number DESC")
    places, following = _page(store, _VERSIONS, condition, wanted, limit, token)
    numbers: dict[str, list[int]] = {}
    for name, number in places:
        numbers.setdefault(name, []).append(number)
    found: dict[tuple[str, int], ModelVersion] = {}
    for name, some in numbers.items():
        for start in range(0, len(some), 500):
            sql, bound = _among("version", some[start : start + 500])
            clause = f"{sql} AND model = ?"
            found |= {(each.model, each.version): each for each in versions_where(store, clause, (*bound, name))}
    return [found[name, number] for name, number in places if (name, number) in found], following


def _page(
    store: Store, kind: _Kind, condition: Condition, order_by: Sequence[str], limit: int, token: str
) -> tuple[list[Row], str | None]:
    keys = _keys(kind, order_by)
    where = clause_of(condition, lambda comparison: _of_comparison(kind, comparison))
    if not _asks_for_prompts(condition):
        where = where.and_(Clause(f"NOT EXISTS ({_prompt(kind)})"))
    names = [key.sql for key in kind.natural]
    walk = Walk(names[0], Clause(kind.table), where, keys)
    rows = visit(store, walk, place_of(token) if token else None, limit + 1)
    places = [[row[1 + [key.sql for key in keys].index(name)] for name in names] for row in rows[:limit]]
    following = token_of(rows[limit - 1][1:]) if len(rows) > limit else None
    return [tuple(place) for place in places], following


def _keys(kind: _Kind, order_by: Sequence[str]) -> tuple[Key, ...]:
    keys: list[Key] = []
    for clause in order_by:
        try:
            order = parse_order(clause, _ORDERS)
        except Invalid as error:
            if "Invalid attribute key" not in error.what:
                raise
            named = clause.split()[0]
            raise Invalid(
                f"Invalid order by key '{named}' specified. Valid keys are '{sorted(kind.orders)}'", where="order_by"
            ) from error
        if order.term.entity != "attribute" or order.term.key not in kind.orders:
            raise Invalid(
                f"Invalid order by key '{order.term.key}' specified. Valid keys are '{sorted(kind.orders)}'",
                where="order_by",
            )
        key = Key(kind.orders[order.term.key], order.ascending)
        if any(each.sql == key.sql for each in keys):
            raise Invalid(f"`order_by` contains duplicate fields: {list(order_by)}", where="order_by")
        keys.append(key)
    return (*keys, *(each for each in kind.natural if all(each.sql != key.sql for key in keys)))


def _of_comparison(kind: _Kind, comparison: Comparison) -> Clause:
    term, operator, value = comparison
    if term.entity == "attribute":
        return compared(kind.columns[term.key], operator, value)
    if term.key == PROMPT_TAG:
        return Clause(f"EXISTS ({_prompt(kind)})") if _means_prompts(comparison) else Clause("1 = 1")
    tagged = Clause(f"EXISTS (SELECT 1 FROM {kind.tags} AS tags WHERE {kind.same} AND tags.key = ?", (term.key,))
    if operator in ("IS NULL", "IS NOT NULL"):
        negation = "NOT " if operator == "IS NULL" else ""
        return Clause(f"{negation}{tagged.sql})", tagged.values)
    return tagged.and_(compared("tags.value", operator, value)).then(Clause(")"))


def _prompt(kind: _Kind) -> str:
    return f"SELECT 1 FROM {kind.tags} AS tags WHERE {kind.same} AND tags.key = '{PROMPT_TAG}' AND tags.value = 'true'"


def _asks_for_prompts(condition: Condition) -> bool:
    if isinstance(condition, Comparison):
        return _means_prompts(condition)
    parts = (condition.part,) if isinstance(condition, Not) else condition.parts
    return any(_asks_for_prompts(each) for each in parts)


def _means_prompts(comparison: Comparison) -> bool:
    if (comparison.term.entity, comparison.term.key) != ("tag", PROMPT_TAG):
        return False
    return (comparison.operator, str(comparison.value).lower()) in (("=", "true"), ("!=", "false"))


def _among(column: str, values: Sequence[str] | Sequence[int]) -> tuple[str, tuple[str | int, ...]]:
    if not values:
        return "WHERE 1 = 0", ()
    return f"WHERE {column} IN ({','.join('?' * len(values))})", tuple(values)
