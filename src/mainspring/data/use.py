"""May a table be used for this? Asked wherever data is used: before a loop trains, and in the step `check`."""

from collections.abc import Sequence

from mainspring.data.schema import Schema
from mainspring.errors import Refused

__all__ = ["refuse_use"]

_ASK = "use other data, or have the terms changed by whoever answers for the data"


def refuse_use(
    schema: Schema, purposes: Sequence[str], *, where: str, columns: Sequence[str] | None = None
) -> list[str]:
    """Refuse a use that the terms of a schema do not allow; return what is only to be warned of.

    `columns` are those that are used [all of the schema]. Where terms say what the data may be used for, a use
    that says no purpose is refused too.

    Raises:
        Refused: the terms, or those of a column, do not allow one of `purposes`.
    """
    terms = schema.terms
    _allow(terms.purpose, purposes, "The table", f"{where}, terms.purpose", _ASK)
    for name, column in schema.columns.items():
        if columns is None or name in columns:
            held = f" ({column.personal} of a person)" if column.personal else ""
            mend = f"leave the column out: clean: [{{drop: [{name}]}}]; or have its purpose changed"
            _allow(column.purpose, purposes, f"The column `{name}`{held}", f"{where}, columns.{name}.purpose", mend)
    forbidden = [each for each in purposes if each in terms.forbids]
    if not terms.forbids or (purposes and not forbidden):
        return []
    said = f"The licence {terms.licence} forbids {' and '.join(terms.forbids)} use"
    told = f"{said}, and the purpose is {', '.join(forbidden)}" if forbidden else f"{said}, and no purpose is said"
    if terms.severity == "stop":
        raise Refused(told, where=f"{where}, terms.licence", next_step=_ASK if forbidden else _SAY)
    return [f"{where}: {told}"]


_SAY = "say what it is for: Loop(..., purpose=...), or check(table, schema, purpose=...)"


def _allow(allowed: Sequence[str], purposes: Sequence[str], what: str, where: str, mend: str) -> None:
    if not allowed:
        return
    only = f"{what} may be used for {' and '.join(allowed)} only"
    if not purposes:
        raise Refused(f"{only}, and no purpose is said", where=where, next_step=_SAY)
    others = [each for each in purposes if each not in allowed]
    if others:
        raise Refused(f"{only}, not for {' or '.join(others)}", where=where, next_step=mend)
