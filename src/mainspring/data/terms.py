"""The terms under which a table may be used, as they stand below `terms` in the file of its schema.

    terms:
      purpose: [delay-forecast]                     # for nothing else
      licence: {name: CC-BY-NC-4.0, severity: warn} # or only the name; what it forbids is told by `forbids`
      retain: 180d                                  # from when a version was added
      consent: agreed                               # the column that says whose rows may be used

A column may say more closely what it may be used for (`purpose`), and what of a person it holds (`personal`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, cast

from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid, nearest

__all__ = ["Terms", "listed", "read_terms", "terms_words"]

_WORDS = ("purpose", "licence", "retain", "consent")


@dataclass(frozen=True, slots=True)
class Terms:
    """What a table may be used for, and for how long; what is empty says nothing.

    `forbids` are purposes that the licence forbids, and `severity` what follows from such a use. `retain` is a duration
    as it is written.
    """

    purpose: tuple[str, ...] = ()
    licence: str = ""
    forbids: tuple[str, ...] = ()
    severity: Literal["warn", "stop"] = "stop"
    retain: str = ""
    consent: str = ""

    def ends_at(self, kept_at: datetime) -> datetime | None:
        """Return when a version that was added at `kept_at` may no longer be used; None for never."""
        if not self.retain:
            return None
        kept_for: timedelta = parse_duration(self.retain)
        try:
            return kept_at + kept_for
        except OverflowError:  # later than the calendar goes
            return None


def read_terms(words: object, where: str) -> Terms:
    """Read what stands below `terms`.

    Raises:
        Invalid: a word is unknown or of the wrong form.
    """
    if not isinstance(words, dict):
        raise Invalid(f"`{words}` are no terms", where=where, next_step="write them as {retain: 180d}")
    _only(words, _WORDS, where)
    _texts(words, ("retain", "consent"), where)
    licence = words.get("licence", "")
    told = licence if isinstance(licence, dict) else {"name": licence}
    _only(told, ("name", "forbids", "severity"), f"{where}.licence")
    _texts(told, ("name", "severity"), f"{where}.licence")
    name = str(told.get("name", ""))
    if licence and not name:
        raise Invalid("The licence has no name", where=f"{where}.licence", next_step="write it as {name: CC-BY-4.0}")
    severity = str(told.get("severity", "stop"))
    if severity not in ("warn", "stop"):
        raise Invalid(f"severity is `{severity}`", where=f"{where}.licence", next_step="say warn or stop")
    forbids = listed(told["forbids"], f"{where}.licence.forbids") if "forbids" in told else _forbidden_by(name)
    retain = str(words.get("retain", ""))
    if retain:
        parse_duration(retain)
    return Terms(
        listed(words["purpose"], f"{where}.purpose") if "purpose" in words else (),
        name,
        forbids,
        cast("Literal['warn', 'stop']", severity),
        retain,
        str(words.get("consent", "")),
    )


def listed(value: object, where: str) -> tuple[str, ...]:
    """Return one text or a list of them as a tuple.

    Raises:
        Invalid: it is neither, or empty.
    """
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not texts or not all(isinstance(each, str) and each for each in texts):
        raise Invalid("The purposes are no list", where=where, next_step="write them as [delay-forecast]")
    return tuple(texts)


def terms_words(terms: Terms) -> dict[str, object]:
    """Return terms as the words of a file."""
    found: dict[str, object] = {}
    if terms.purpose:
        found["purpose"] = list(terms.purpose)
    if terms.licence:
        licence: dict[str, object] = {"name": terms.licence}
        if terms.forbids != _forbidden_by(terms.licence):
            licence["forbids"] = list(terms.forbids)
        if terms.severity != "stop":
            licence["severity"] = terms.severity
        found["licence"] = licence
    found |= {word: getattr(terms, word) for word in ("retain", "consent") if getattr(terms, word)}
    return found


def _forbidden_by(licence: str) -> tuple[str, ...]:
    """Return what a licence forbids by its name: those of Creative Commons say NC where they forbid commerce."""
    return ("commercial",) if "NC" in licence.upper().replace("_", "-").split("-") else ()


def _only(words: Mapping[str, object], allowed: Sequence[str], where: str) -> None:
    for word in words:
        if word not in allowed:
            raise Invalid(f"`{word}` is not a word of terms", where=where, next_step=nearest(word, allowed))


def _texts(words: Mapping[str, object], names: Sequence[str], where: str) -> None:
    for name in names:
        if not isinstance(words.get(name, ""), str):
            raise Invalid(f"{name} is `{words[name]}`", where=where, next_step="write one text")
