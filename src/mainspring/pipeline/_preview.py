"""What people are shown of a part of a fingerprint: a short constant as it is written, a function by its lines.

Previews and lines explain a change ("2 -> 3"); they are no part of any key, so they may be cut short or missing.
"""

import io
import itertools
import linecache
import tokenize
from difflib import SequenceMatcher
from typing import NamedTuple

__all__ = ["Difference", "Span", "first_difference", "lines_of", "preview_of"]

_LONGEST = 60
_MOST_ITEMS = 8
_MOST_LINES = 400
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


class Span(NamedTuple):
    """Where a function stands: its file and its first and last line."""

    file: str
    first: int
    last: int


def preview_of(value: object) -> str:
    """Return a short constant as it is written; empty for what is long or no constant.

    >>> preview_of((1, "a"))
    "(1, 'a')"
    """
    if not _is_short(value, 2):
        return ""
    text = repr(value)
    return text if len(text) <= _LONGEST else ""


def _is_short(value: object, depth: int) -> bool:
    kind = type(value)
    if kind in _PLAIN:
        return not isinstance(value, str | bytes) or len(value) <= _LONGEST
    if depth == 0 or kind not in (list, tuple, dict):  # the order of a set would depend on the hash seed
        return False
    held = [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)  # type: ignore[call-overload]
    return len(held) <= _MOST_ITEMS and all(_is_short(each, depth - 1) for each in held)


def lines_of(span: Span) -> str:
    """Return the text of a function; empty where there is no source or it is very long."""
    if span.last - span.first >= _MOST_LINES:
        return ""
    return "".join(linecache.getlines(span.file)[span.first - 1 : span.last])


class Difference(NamedTuple):
    """The first place where two texts of a function differ: the line (from 1), and both lines where they are short."""

    line: int
    old: str
    new: str


def first_difference(old: str, new: str) -> Difference | None:
    """Compare two texts of a function, without comments, docstrings and layout; None where nothing else differs.

    >>> first_difference("def f(x):\\n    return x * 2\\n", "def f(x):  # times\\n    return x * 3\\n")
    Difference(line=2, old='return x * 2', new='return x * 3')
    """
    before, after = _statements(old), _statements(new)
    matcher = SequenceMatcher(None, [text for _, text in before], [text for _, text in after], autojunk=False)
    for tag, old_from, old_to, new_from, new_to in matcher.get_opcodes():
        if tag == "equal":
            continue
        line = after[min(new_from, len(after) - 1)][0] if after else 1
        was, now = before[old_from:old_to], after[new_from:new_to]
        if len(was) <= 1 and len(now) <= 1:
            texts = [each[0][1] if each else "" for each in (was, now)]
            if all(len(text) <= _LONGEST for text in texts):
                return Difference(line, *texts)
        return Difference(line, "", "")
    return None


def _statements(text: str) -> list[tuple[int, str]]:
    """Return each logical line as its tokens, with the number of its first line."""
    found: list[tuple[int, str]] = []
    tokens: list[tokenize.TokenInfo] = []
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type in (tokenize.NEWLINE, tokenize.ENDMARKER):
                if tokens and not (len(tokens) == 1 and tokens[0].type == tokenize.STRING):
                    found.append((tokens[0].start[0], _joined(tokens)))
                tokens = []
            elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
                tokens.append(token)
    except (tokenize.TokenError, IndentationError):  # a piece of a text: compared line by line
        return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    return found


def _joined(tokens: list[tokenize.TokenInfo]) -> str:
    """Return tokens with the blanks that stood between them on a line, and none where a line was broken."""
    text = tokens[0].string
    for before, token in itertools.pairwise(tokens):
        gap = token.start[1] - before.end[1] if token.start[0] == before.end[0] else 0
        text += " " * min(gap, 1) + token.string
    return text
