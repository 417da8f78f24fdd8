"""The file of a schema: short YAML that people read and review.

columns:
  distance: {type: number, min: 17, max: 4983}
  carrier: {type: string, categories: [AA, B6, UA]}
  temp: {type: number, nullable: true, most_missing: 0.1, severity: warn}
others: warn
rows: {min: 1}
terms: {purpose: [delay-forecast], retain: 180d}
rules:
  lands_later: {row: "arrived_at > departed_at", severity: quarantine}
  known_plane: {columns: [tailnum], found_in: planes, severity: warn}
"""

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, cast, get_args

import yaml

from mainspring.data.clean_rules import clean_rules
from mainspring.data.schema import ColumnRule, Rule, Schema, Severity
from mainspring.data.terms import Terms, listed, read_terms, terms_words
from mainspring.domain.signature import ColumnType
from mainspring.errors import Invalid, NotFound, nearest

__all__ = ["read_schema", "schema_of", "write_schema"]

_COLUMN_WORDS = (
    "type", "nullable", "min", "max", "categories", "pattern", "unique", "most_missing", "severity", "personal",
    "purpose"
)  # fmt: skip
#: Which words each kind of rule takes beside its own and `severity`.
_RULE_WORDS: dict[str, tuple[str, ...]] = {
    "row": ("most",), "table": (), "unique": ("most",), "found_in": ("columns", "there", "most"),
    "absent_from": ("columns", "there", "most"), "agrees_with": ("column", "on", "there", "within", "most"),
    "shares": ("column", "most"), "spread": ("column", "most"),
}  # fmt: skip


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
    return schema_of(text, path)


def schema_of(text: str, path: Path) -> Schema:
    """Return the schema that a file at `path` holds as `text`; other tables of its rules lie beside it.

    Raises:
        Invalid: it is not YAML, or a word in it is unknown (the message names line or column).
    """
    try:
        # every word stays the text it is: a column named `no` and the country NO are not false
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # builds text, lists and mappings, no objects
    except yaml.YAMLError as error:
        raise Invalid(
            f"`{path.name}` is not YAML: {error}", where=str(path), next_step="mend the line named"
        ) from error
    if not isinstance(document, dict) or not isinstance(document.get("columns"), dict):
        raise Invalid(f"`{path.name}` has no `columns`", where=str(path), next_step="see docs/data.md for the form")
    _only(document, ("columns", "others", "rows", "rules", "clean", "terms"), path.name)
    columns = {name: _column(words, f"{path.name}, columns.{name}") for name, words in document["columns"].items()}
    rows = _mapping(document.get("rows", {}), f"{path.name}, rows", "{min: 1}")
    _only(rows, ("min", "max"), f"{path.name}, rows")
    fewest, most = (_float(rows, word, f"{path.name}, rows") for word in ("min", "max"))
    rules = _mapping(document.get("rules", {}), f"{path.name}, rules", "{lands_later: {row: a < b}}")
    return Schema(
        columns,
        int(fewest or 1),
        None if most is None else int(most),
        tuple(_rule(name, words, f"{path.name}, rules.{name}") for name, words in rules.items()),
        clean_rules(document.get("clean", []), f"{path.name}, clean"),
        _severity(document, path.name, "others", of_rows=False) if "others" in document else None,
        path.resolve().parent,
        text,
        read_terms(document["terms"], f"{path.name}, terms") if "terms" in document else Terms(),
    )


def _column(words: object, where: str) -> ColumnRule:
    found = _mapping(words, where, "{type: number}")
    _only(found, _COLUMN_WORDS, where)
    kinds = (*get_args(ColumnType), "any")
    if found.get("type") not in kinds:
        what = f"`{found['type']}` is not a type" if "type" in found else "The rule names no type"
        raise Invalid(what, where=where, next_step=nearest(str(found.get("type")), kinds))
    kind = cast("ColumnType", found["type"])
    pattern = found.get("pattern")
    if pattern is not None and kind != "string":
        raise Invalid(f"A {kind} has no pattern", where=where, next_step="give a pattern to text columns only")
    if found["type"] == "any" and (word := next((each for each in ("min", "max", "categories") if each in found), "")):
        raise Invalid(f"A column of any type has no {word}", where=where, next_step="name its type")
    categories = _texts(found["categories"], "categories", where) if "categories" in found else None
    if categories is not None and kind in ("boolean", "timestamp"):
        what = f"A {kind} has no categories"
        raise Invalid(what, where=where, next_step="give categories to columns of texts or numbers only")
    if categories is not None and kind != "string":
        for each in categories:
            if not math.isfinite(_float({"categories": each}, "categories", where) or 0.0):
                raise Invalid(f"categories is `{each}`", where=where, next_step="give a number")
    return ColumnRule(
        type=kind,
        nullable=_truth(found, "nullable", where),
        min=_float(found, "min", where),
        max=_float(found, "max", where),
        categories=categories,
        pattern=None if pattern is None else str(pattern),
        unique=_truth(found, "unique", where),
        most_missing=_share(found, "most_missing", where),
        severity=_severity(found, where, of_rows="most_missing" not in found),
        personal=str(found.get("personal", "")),
        purpose=listed(found["purpose"], f"{where}.purpose") if "purpose" in found else (),
    )


def _rule(name: str, words: object, where: str) -> Rule:
    found = _mapping(words, where, "{row: a < b}")
    kinds = [word for word in found if word in _RULE_WORDS]
    if len(kinds) != 1:
        said = f"The rule says {' and '.join(kinds)}" if kinds else "The rule does not say what it is"
        raise Invalid(said, where=where, next_step=f"use one of {', '.join(_RULE_WORDS)}")
    (kind,) = kinds
    _only(found, (kind, "severity", *_RULE_WORDS[kind]), where)
    severity = _severity(found, where, of_rows=kind not in ("table", "shares", "spread"))
    most = _share(found, "most", where)
    if most and severity == "quarantine":
        raise Invalid("Rows that may be there are not set aside", where=where, next_step="leave out most, or say warn")
    if kind in ("row", "table"):
        return Rule(name, cast("Any", kind), expression=str(found[kind]), most=most or 0.0, severity=severity)
    if kind == "unique":
        columns = _texts(found["unique"], "unique", where)
        return Rule(name, "unique", columns=columns, most=most or 0.0, severity=severity)
    if kind in ("found_in", "absent_from", "agrees_with"):
        columns = _compared(found, where) if kind == "agrees_with" else _texts(found.get("columns"), "columns", where)
        there = _texts(found["there"], "there", where) if "there" in found else columns
        if len(there) != len(columns):
            raise Invalid("columns and there differ in length", where=where, next_step="name as many of both")
        other = str(found[kind])
        return Rule(
            name, cast("Any", kind), columns=columns, other=other, there=there,
            within=_float(found, "within", where) or 0.0, most=most or 0.0, severity=severity,
        )  # fmt: skip
    told = _distribution(found, kind, f"{where}.{kind}")
    return Rule(
        name, cast("Any", kind), columns=(_column_named(found, kind, where),), shares=told,
        most=0.1 if most is None else most, severity=severity,
    )  # fmt: skip


def _column_named(found: Mapping[str, object], kind: str, where: str) -> str:
    if not isinstance(found.get("column"), str):
        raise Invalid(
            "The rule names no column", where=where, next_step=f"write it as {{column: carrier, {kind}: ...}}"
        )
    return str(found["column"])


def _compared(found: Mapping[str, object], where: str) -> tuple[str, ...]:
    return (*_texts(found.get("on"), "on", where), _column_named(found, "agrees_with", where))


def _distribution(found: Mapping[str, object], kind: str, where: str) -> dict[str, float]:
    example = "{AA: 0.4, B6: 0.6}" if kind == "shares" else "{500: 0.25, 900: 0.5, 1400: 0.75}"
    shares = _mapping(found[kind], where, example)
    told = {word: _share(shares, word, where) or 0.0 for word in shares}
    if kind == "shares" and abs(sum(told.values()) - 1) > 0.01:
        raise Invalid(f"The shares add up to {sum(told.values()):g}", where=where, next_step="make them add up to 1")
    if kind == "spread":
        points = sorted((_float({word: word}, word, where) or 0.0, share) for word, share in told.items())
        if not points or any(one[1] > two[1] for one, two in pairwise(points)):
            raise Invalid("The shares do not rise with the numbers", where=where, next_step=f"write it as {example}")
    return told


def _mapping(words: object, where: str, example: str) -> dict[str, object]:
    if not isinstance(words, dict):
        raise Invalid(f"`{words}` is not a rule; it is not a mapping", where=where, next_step=f"write it as {example}")
    return words


def _texts(value: object, word: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise Invalid(f"The {word} are no list", where=where, next_step="write them as [AA, B6]")
    return tuple(value)


def _truth(words: Mapping[str, object], name: str, where: str) -> bool:
    text = words.get(name, "false")
    if text not in ("true", "false"):
        raise Invalid(f"{name} is `{text}`", where=where, next_step="write true or false")
    return text == "true"


def _severity(words: Mapping[str, object], where: str, word: str = "severity", *, of_rows: bool) -> Severity:
    text = str(words.get(word, "stop"))
    if text not in get_args(Severity):
        raise Invalid(f"{word} is `{text}`", where=where, next_step=nearest(text, get_args(Severity)))
    if text == "quarantine" and not of_rows:
        raise Invalid(
            "A rule about the whole table cannot set single rows aside", where=where, next_step="say warn or stop"
        )
    return cast("Severity", text)


def _share(words: Mapping[str, object], name: str, where: str) -> float | None:
    share = _float(words, name, where)
    if share is not None and not 0 <= share <= 1:
        raise Invalid(f"{name} is {share:g}", where=where, next_step="give a share between 0 and 1")
    return share


def _only(words: Mapping[str, object], allowed: Sequence[str], where: str) -> None:
    for word in words:
        if word not in allowed:
            raise Invalid(f"`{word}` is not a rule", where=where, next_step=nearest(word, allowed))


def _float(words: Mapping[str, object], name: str, where: str) -> float | None:
    text = words.get(name)
    if text is None:
        return None
    try:
        number = float(str(text).replace(".inf", "inf"))
    except ValueError as error:
        raise Invalid(f"{name} is `{text}`", where=where, next_step="give a number") from error
    if re.fullmatch(r"-?[0-9]{16,300}", str(text)) and int(number) != int(str(text)):
        raise Invalid(
            f"{name} is `{text}`, and is asked of 64-bit floats, where it is {number:.0f}",
            where=where,
            next_step="give the number that it is there; `unique` and `found_in` tell longer ones apart",
        )
    return number


class _Dumper(yaml.SafeDumper):
    """Writes text with breaks or unusual blanks in double quotes: the other styles fold them."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    plain = all(char == " " or not char.isspace() for char in text) and text.isprintable()
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if plain else '"')


_Dumper.add_representer(str, _text)


def write_schema(schema: Schema) -> str:
    """Return the schema as the text of its file."""
    lines = ["columns:" if schema.columns else "columns: {}"]
    for name, column in schema.columns.items():
        lines += _entry(name, _column_words(column))
    if schema.others is not None:
        lines.append(f"others: {schema.others}")
    most = "" if schema.max_rows is None else f", max: {schema.max_rows}"
    if words := terms_words(schema.terms):
        lines += [line[2:] for line in _entry("terms", words)]
    lines.append(f"rows: {{min: {schema.min_rows}{most}}}")
    if schema.rules:
        lines.append("rules:")
        for rule in schema.rules:
            lines += _entry(rule.name, _rule_words(rule))
    if schema.clean:
        text = yaml.dump([dict(each.words) for each in schema.clean], Dumper=_Dumper, sort_keys=False, width=110)
        lines += ["clean:", *("  " + line for line in text.rstrip().splitlines())]
    return "\n".join([*lines, ""])


def _entry(name: str, words: Mapping[str, object]) -> list[str]:
    text = yaml.dump(
        {name: words}, Dumper=_Dumper, default_flow_style=None, sort_keys=False, width=110, allow_unicode=True
    )
    return ["  " + line for line in text.rstrip().splitlines()]


def _column_words(column: ColumnRule) -> dict[str, object]:
    found: dict[str, object] = {"type": column.type}
    for key in ("nullable", "min", "max", "categories", "pattern", "unique", "most_missing"):
        value = getattr(column, key)
        if value is None or value is False:
            continue
        whole = isinstance(value, float) and value.is_integer()
        found[key] = int(value) if whole else list(value) if isinstance(value, tuple) else value
    if column.personal:
        found["personal"] = column.personal
    if column.purpose:
        found["purpose"] = list(column.purpose)
    return found | _severity_words(column.severity)


def _rule_words(rule: Rule) -> dict[str, object]:
    if rule.kind in ("row", "table"):
        found: dict[str, object] = {rule.kind: rule.expression}
    elif rule.kind == "unique":
        found = {"unique": list(rule.columns)}
    elif rule.kind in ("found_in", "absent_from"):
        found = {"columns": list(rule.columns), rule.kind: rule.other, "there": list(rule.there)}
    elif rule.kind == "agrees_with":
        *on, column = rule.columns
        found = {"column": column, "agrees_with": rule.other, "on": on, "there": list(rule.there)}
        if rule.within:
            found["within"] = rule.within
    else:
        # a number is written as one where that gives the same text
        told = {int(key) if re.fullmatch(r"0|-?[1-9]\d*", key) else key: share for key, share in rule.shares.items()}
        return {"column": rule.columns[0], rule.kind: told, "most": rule.most} | _severity_words(rule.severity)
    if rule.most:
        found["most"] = rule.most
    return found | _severity_words(rule.severity)


def _severity_words(severity: Severity) -> dict[str, object]:
    return {} if severity == "stop" else {"severity": severity}
