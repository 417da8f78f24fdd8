"""Rules by which a table is cleaned, as they stand below `clean` in the file of a schema, in their order.

    clean:
      - {missing: ["-", "?"], columns: [price]}
      - {trim: [city]}
      - {parse: [price], as: number}
      - {convert: distance, times: 1.609344, where: "unit = 'mi'"}
      - {once: [carrier, flight, day]}
      - {never: "seats = 0 AND passengers > 0"}
      - {pseudonym: [email], key: customers}
      - {mask: [phone], keep_last: 2}
      - {generalise: [birthday], to: year}
      - {drop: [last_name]}

A rule changes values or sets rows aside; none loses a row. The last four hide what a column held (`HIDING`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mainspring.errors import Invalid, nearest

__all__ = ["HIDING", "CleanRule", "clean_rules", "has_offset"]

#: Rules after which nobody can read what stood in their columns: not in a version, a sample or the quarantine.
HIDING = ("pseudonym", "mask", "generalise", "drop")

#: Which words each kind of rule takes beside its own, and whether its own word names columns.
_WORDS: dict[str, tuple[bool, tuple[str, ...]]] = {
    "missing": (False, ("columns",)),
    "trim": (True, ()),
    "lower": (True, ()),
    "upper": (True, ()),
    "replace": (False, ("columns",)),
    "parse": (True, ("as", "format", "zone")),
    "convert": (True, ("times", "plus", "where")),
    "outliers": (True, ("beyond", "then")),
    "once": (True, ()),
    "never": (False, ()),
    "pseudonym": (True, ("key",)),
    "mask": (True, ("keep_last",)),
    "generalise": (True, ("to",)),
    "drop": (True, ()),
}
_KINDS = ("number", "integer", "boolean", "timestamp")
_PERIODS = ("year", "month", "day")


@dataclass(frozen=True, slots=True)
class CleanRule:
    """One rule; `words` is what the file says of it, `columns` what it is about (empty: every text column)."""

    kind: str
    columns: tuple[str, ...]
    words: Mapping[str, object]

    def text(self, word: str, default: str = "") -> str:
        """Return a word's value as text."""
        return str(self.words.get(word, default))

    def number(self, word: str, default: float) -> float:
        """Return a word's value as a number; `clean_rules` has seen that it is one."""
        return float(str(self.words.get(word, default)))

    def __str__(self) -> str:
        about = self.text(self.kind) if self.kind == "never" else ", ".join(self.columns) or "every text"
        return f"{self.kind} {about}"


def clean_rules(listed: object, where: str) -> tuple[CleanRule, ...]:
    """Turn the list in a file into rules.

    Raises:
        Invalid: a rule or one of its words is unknown or of the wrong form (the message names the place).
    """
    if not isinstance(listed, list):
        raise Invalid("The cleaning is no list", where=where, next_step="write it as - {trim: [city]}")
    return tuple(_rule(words, f"{where}[{number}]") for number, words in enumerate(listed))


def _rule(words: object, where: str) -> CleanRule:
    if not isinstance(words, dict):
        raise Invalid(f"`{words}` is not a mapping", where=where, next_step="write it as {trim: [city]}")
    kind = next((word for word in words if word in _WORDS), None)
    if kind is None:
        raise Invalid("The rule does not say what it does", where=where, next_step=f"use one of {', '.join(_WORDS)}")
    about_columns, allowed = _WORDS[kind]
    for word in words:
        if word not in (kind, *allowed):
            raise Invalid(f"`{word}` is not a word of {kind}", where=where, next_step=nearest(word, (kind, *allowed)))
    columns = words[kind] if about_columns else words.get("columns", [])
    columns = [columns] if isinstance(columns, str) else columns
    if not isinstance(columns, list) or not all(isinstance(each, str) for each in columns):
        raise Invalid("The columns are no list", where=where, next_step="write them as [city, street]")
    if about_columns and not columns:
        raise Invalid("The rule names no column", where=where, next_step=f"write it as {{{kind}: [city]}}")
    _check_words(kind, words, where)
    return CleanRule(kind, tuple(columns), words)


def _check_words(kind: str, words: Mapping[str, object], where: str) -> None:
    for word in ("times", "plus", "beyond"):
        try:
            float(str(words.get(word, 1)))
        except ValueError as error:
            raise Invalid(f"{word} is `{words[word]}`", where=where, next_step="give a number") from error
    if kind == "pseudonym" and not str(words.get("key", "")).strip():
        raise Invalid("No key is named", where=where, next_step="write it as {pseudonym: [email], key: customers}")
    if kind == "mask" and not str(words.get("keep_last", 0)).isdecimal():
        raise Invalid(f"keep_last is `{words['keep_last']}`", where=where, next_step="give a whole number")
    if kind == "generalise" and str(words.get("to")) not in _PERIODS and not _is_width(str(words.get("to", ""))):
        what = f"to is `{words['to']}`" if "to" in words else "It is not said to what"
        raise Invalid(what, where=where, next_step="say year, month or day, or for numbers the width of a step")
    if kind == "missing" and not isinstance(words["missing"], list):
        raise Invalid("The texts that mean missing are no list", where=where, next_step='write them as ["-", "?"]')
    if kind == "replace" and not isinstance(words["replace"], dict):
        raise Invalid("The texts to replace are no mapping", where=where, next_step="write them as {American: AA}")
    if kind == "parse" and words.get("as") not in _KINDS:
        raise Invalid(f"as is `{words.get('as')}`", where=where, next_step=f"use one of {', '.join(_KINDS)}")
    if kind == "parse" and words["as"] != "timestamp" and ("format" in words or "zone" in words):
        raise Invalid("Only timestamps have a format and a zone", where=where, next_step="leave them out")
    if kind == "parse" and "zone" in words and has_offset(str(words.get("format", ""))):
        raise Invalid("The format reads an offset, and a zone is given", where=where, next_step="leave out the zone")
    if words.get("then", "quarantine") not in ("quarantine", "missing"):
        raise Invalid(f"then is `{words['then']}`", where=where, next_step="say quarantine or missing")


def has_offset(form: str) -> bool:
    """Return whether texts of this format say how far from UTC they are."""
    return any(each in form.replace("%%", "") for each in ("%z", "%Z"))


def _is_width(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False
