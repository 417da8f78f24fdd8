"""A schema: what a table must look like, as a short file that people read and review.

    columns:
      distance: {type: number, min: 17, max: 4983}
      carrier: {type: string, categories: [AA, B6, UA]}
      temp: {type: number, nullable: true}
    rows: {min: 1}

`violations` finds every place where a table differs, with counts and example rows; it never changes the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from mainspring.data.table import Columns, column_type, n_rows
from mainspring.domain.signature import ColumnType
from mainspring.errors import Invalid, NotFound, nearest

__all__ = ["ColumnRule", "Schema", "Violation", "infer_schema", "read_schema", "violations", "write_schema"]

_EXAMPLES = 3
#: Text columns with at most this many values get them listed; above, a list is noise that nobody reviews.
_MOST_CATEGORIES = 200


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What one column must hold."""

    type: ColumnType
    nullable: bool = False
    min: float | None = None
    max: float | None = None
    categories: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """What a table must hold: its columns by name, and how many rows at least."""

    columns: dict[str, ColumnRule] = field(default_factory=dict)
    min_rows: int = 1


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that one column breaks: how often, and the first rows with their values."""

    column: str
    rule: str
    message: str
    count: int
    examples: tuple[tuple[int, object], ...] = ()

    def __str__(self) -> str:
        shown = "; ".join(f"rows[{row}].{self.column} = {value!r}" for row, value in self.examples)
        return f"{self.column}: {self.message}" + (f" ({shown})" if shown else "")


def infer_schema(columns: Columns) -> Schema:
    """Write down what a table looks like: types, missing values, ranges and categories as they stand."""
    rules: dict[str, ColumnRule] = {}
    for name, array in columns.items():
        kind = column_type(array)
        missing = _missing(array)
        nullable = bool(missing.any())
        present = array[~missing]
        if kind in ("number", "integer") and present.size:
            rules[name] = ColumnRule(kind, nullable, min=float(present.min()), max=float(present.max()))
        elif kind == "string" and present.size:
            values = sorted(set(present.tolist()))
            few = len(values) <= _MOST_CATEGORIES
            rules[name] = ColumnRule(kind, nullable, categories=tuple(values) if few else None)
        else:
            rules[name] = ColumnRule(kind, nullable)
    return Schema(rules)


def violations(columns: Columns, schema: Schema) -> list[Violation]:
    """Return every rule of `schema` that the table breaks; an empty list means that it fits."""
    found: list[Violation] = []
    rows = n_rows(columns)
    if rows < schema.min_rows:
        found.append(Violation("", "min_rows", f"{rows} rows where at least {schema.min_rows} are wanted", 1))
    for name, rule in schema.columns.items():
        if name not in columns:
            hint = nearest(name, columns)
            found.append(Violation(name, "present", f"the column is missing. {hint}", rows))
        elif rows:
            found.extend(_broken(name, columns[name], rule))
    return found


def _broken(name: str, array: NDArray[Any], rule: ColumnRule) -> Iterator[Violation]:
    missing = _missing(array)
    if not rule.nullable and missing.any():
        yield _violation(name, "nullable", "missing where a value is wanted", missing, array)
    kind = column_type(array)
    numeric = ("number", "integer")
    fits = kind == rule.type or (rule.type == "number" and kind in numeric) or bool(missing.all())
    if rule.type == "boolean":
        fits = kind in numeric and bool(np.isin(array[~missing], (0.0, 1.0)).all())
    if rule.type == "integer" and kind == "number":
        broken = ~missing & (array != np.floor(array))
        if broken.any():
            yield _violation(name, "type", "not a whole number", broken, array)
        fits = True
    if not fits:
        wrong = ~missing
        if kind == "string" and rule.type in numeric:
            wrong &= np.fromiter((not _is_number(value) for value in array), bool, len(array))
            wrong = wrong if wrong.any() else ~missing
        yield _violation(name, "type", f"{kind} where {rule.type} is wanted", wrong, array)
        return
    if rule.min is not None and kind in numeric and (low := array < rule.min).any():
        yield _violation(name, "min", f"below {_figure(rule.min)}", low, array)
    if rule.max is not None and kind in numeric and (high := array > rule.max).any():
        yield _violation(name, "max", f"above {_figure(rule.max)}", high, array)
    if rule.categories is not None and kind == "string":
        known = set(rule.categories)
        unknown = np.fromiter((value is not None and value not in known for value in array), bool, len(array))
        if unknown.any():
            first = str(array[int(np.argmax(unknown))])
            yield _violation(name, "categories", f"not a known category. {nearest(first, known)}", unknown, array)


def _violation(name: str, rule: str, message: str, broken: NDArray[Any], array: NDArray[Any]) -> Violation:
    places = np.flatnonzero(broken)
    examples = tuple((int(row), _plain(array[row])) for row in places[:_EXAMPLES])
    return Violation(name, rule, f"{len(places):,} x {message}", len(places), examples)


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) and not isinstance(value, np.datetime64) else value


def _figure(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def _missing(array: NDArray[Any]) -> NDArray[np.bool_]:
    if array.dtype == object:
        return np.fromiter((value is None for value in array), bool, len(array))
    return np.asarray(np.isnat(array) if array.dtype.kind == "M" else np.isnan(array))


def read_schema(path: Path) -> Schema:
    """Read a schema file.

    Raises:
        NotFound: there is no such file.
        Invalid: it is not YAML, or a word in it is unknown (the message names line or column).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound(
            f"There is no schema `{path.name}`",
            where=str(path),
            next_step=f"write one from a good table: mainspring data schema TABLE > {path.name}",
        ) from error
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise Invalid(f"`{path.name}` is no text", where=str(path), next_step="give a YAML file in UTF-8") from error
    try:
        # every word stays the text it is: a column named `no` and the country NO are not false
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # builds text, lists and mappings, no objects
    except yaml.YAMLError as error:
        raise Invalid(
            f"`{path.name}` is not YAML: {error}", where=str(path), next_step="mend the line named"
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("columns"), dict):
        raise Invalid(f"`{path.name}` has no `columns`", where=str(path), next_step="see docs/data.md for the form")
    _only(document, ("columns", "rows"), path.name)
    rules = {name: _rule(words, f"{path.name}, columns.{name}") for name, words in document["columns"].items()}
    rows = document.get("rows", {})
    if not isinstance(rows, dict):
        raise Invalid(f"`{rows}` is not a rule", where=f"{path.name}, rows", next_step="write it as {min: 1}")
    _only(rows, ("min",), f"{path.name}, rows")
    return Schema(rules, int(_float(rows, "min", f"{path.name}, rows") or 1))


def _rule(words: object, where: str) -> ColumnRule:
    if not isinstance(words, dict):
        raise Invalid("The rule is not a mapping", where=where, next_step="write it as {type: number}")
    _only(words, ("type", "nullable", "min", "max", "categories"), where)
    kinds = get_args(ColumnType)
    if words.get("type") not in kinds:
        what = f"`{words['type']}` is not a type" if "type" in words else "The rule names no type"
        raise Invalid(what, where=where, next_step=nearest(str(words.get("type")), kinds))
    categories = words.get("categories")
    if categories is not None and not (isinstance(categories, list) and all(isinstance(c, str) for c in categories)):
        raise Invalid("The categories are no list", where=where, next_step="write them as [AA, B6]")
    nullable = words.get("nullable", "false")
    if nullable not in ("true", "false"):
        raise Invalid(f"nullable is `{nullable}`", where=where, next_step="write true or false")
    return ColumnRule(
        type=words["type"],
        nullable=nullable == "true",
        min=_float(words, "min", where),
        max=_float(words, "max", where),
        categories=None if categories is None else tuple(categories),
    )


def _only(words: Mapping[str, object], allowed: Sequence[str], where: str) -> None:
    for word in words:
        if word not in allowed:
            raise Invalid(f"`{word}` is not a rule", where=where, next_step=nearest(word, allowed))


def _float(words: Mapping[str, object], name: str, where: str) -> float | None:
    text = words.get(name)
    if text is None:
        return None
    try:
        return float(str(text).replace(".inf", "inf"))
    except ValueError as error:
        raise Invalid(f"{name} is `{text}`", where=where, next_step="give a number") from error


class _Dumper(yaml.SafeDumper):
    """Writes text with breaks or unusual blanks in double quotes: the other styles fold them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = all(char == " " or not char.isspace() for char in text) and text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def write_schema(schema: Schema) -> str:
    """Return the schema as the text of its file."""

    def words(rule: ColumnRule) -> Mapping[str, object]:
        found: dict[str, object] = {"type": rule.type}
        if rule.nullable:
            found["nullable"] = True
        for key in ("min", "max"):
            value = getattr(rule, key)
            if value is not None:
                found[key] = int(value) if float(value).is_integer() else value
        if rule.categories is not None:
            found["categories"] = list(rule.categories)
        return found

    lines = ["columns:"]
    for name, rule in schema.columns.items():
        entry = yaml.dump(
            {name: words(rule)}, Dumper=_Dumper, default_flow_style=None, sort_keys=False, width=110, allow_unicode=True
        )
        lines += ["  " + line for line in entry.rstrip().splitlines()]
    return "\n".join([*lines, f"rows: {{min: {schema.min_rows}}}", ""])
