"""Class labels: which class of a signature a value means.

A signature names classes as text, while models, tables and JSON speak of ``1``, ``1.0``, ``true`` or ``"late"``. The
one rule for telling them apart lives here; both the writer of a bundle and the receiver of feedback use it.
"""

from collections.abc import Sequence

__all__ = ["class_named"]


def class_named(value: object, classes: Sequence[str]) -> str | None:
    """Return the class that `value` means, or None. Equal text wins, then equal numbers, then truth values.

    >>> class_named(1.0, ("0", "1"))
    '1'
    >>> class_named(True, ("False", "True"))
    'True'
    >>> class_named("late", ("on time", "late"))
    'late'
    """
    text = str(value)
    if text in classes:
        return text
    if isinstance(value, str):
        return None
    number = _number(text)
    if number is not None:
        for each in classes:
            if _number(each) == number:
                return each
    for each in classes:
        if each.lower() == text.lower():
            return each
    if text in {"True", "False"}:
        return next((each for each in classes if _number(each) == float(text == "True")), None)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
