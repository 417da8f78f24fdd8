"""Patterns of texts for requests: matched by Python's engine, which backtracks, and so only where that cannot run away.

A schema's patterns are RE2 expressions, which are linear for any text. Python's engine is exponential for some. What is
taken here means the same in both, repeats no group, and has few ways to backtrack; a pattern that is anything else is
not asked of requests, and is named.
"""

import functools
import math
import re

__all__ = ["may_match", "why_unmatchable"]

#: With two runs of any length the work grows with the square of a text, so it may not be longer than this.
_LONGEST_TEXT = 256
_MOST_RUNS = 2
_MOST_BRANCHES = 1_000
_PIECE = re.compile(
    r"(?P<escape>\\.)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<run>\{\d+(?:,)?\d*\}|[*+])|(?P<branch>[?|])"
    r"|(?P<group>\((?:\?:)?)|(?P<end>\))|(?P<other>.)",
    re.DOTALL,
)
_ESCAPES = re.compile(r"\\[dwsDWSntr]|\\[^A-Za-z0-9]")


def why_unmatchable(pattern: str) -> str:
    """Return why a pattern is not asked of requests; an empty text when it is."""
    branches, before, inner = 1, "", _inner(pattern)
    for piece in _PIECE.finditer(inner):
        kind, text = piece.lastgroup or "", piece.group()
        escapes = re.findall(r"\\.", text, re.DOTALL) if kind in ("escape", "set") else []
        if not all(_ESCAPES.fullmatch(each) for each in escapes) or _odd(kind, text, inner[piece.end() :]):
            return f"`{pattern}` holds `{text}`, which Python may read differently"
        if kind == "run" and before == "end":
            return f"`{pattern}` repeats a group"
        branches *= 2 if kind == "branch" else 1
        before = kind
    if _runs(pattern) > _MOST_RUNS or branches > _MOST_BRANCHES:
        return f"`{pattern}` could be matched in very many ways"
    try:
        _compiled(pattern)
    except (re.error, OverflowError) as error:
        return f"Python does not take `{pattern}`: {error}"
    return ""


def may_match(pattern: str, text: str) -> bool:
    """Tell whether the whole text is of the form `pattern`; one that is too long to be looked at is taken to be."""
    wanted, longest = _compiled(pattern)
    return len(text) > longest or wanted.fullmatch(text) is not None


def _inner(pattern: str) -> str:
    """Return the pattern without the anchors that a match of whole texts has anyway."""
    return re.sub(r"^\^|(?<!\\)\$$", "", pattern)


def _runs(pattern: str) -> int:
    """Return how many of its pieces repeat without a fixed number."""
    runs = (piece.group() for piece in _PIECE.finditer(_inner(pattern)) if piece.lastgroup == "run")
    return sum(not re.fullmatch(r"\{\d+\}", run) for run in runs)


def _odd(kind: str, text: str, rest: str) -> bool:
    if kind == "set":
        return "[" in text[1:] or any(each in text for each in ("--", "&&", "||", "~~"))
    return (kind == "other" and text in "^$[") or (kind == "other" and text == "{" and rest.startswith(",")) or (
        kind == "group" and rest.startswith("?"))  # fmt: skip


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> tuple[re.Pattern[str], float]:
    return re.compile(pattern, re.ASCII), _LONGEST_TEXT if _runs(pattern) > 1 else math.inf
