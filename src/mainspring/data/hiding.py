"""What the rules that hide values make of them, as SQL. A secret key is a variable of the connection, not in a query.

A pseudonym is the first 128 bits of HMAC-SHA256 (RFC 2104) of the value as text, in hexadecimal: a value has one under
one key, in every table and column, so that joins still work.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mainspring.artifacts.secret_keys import read_key
from mainspring.data.clean_rules import CleanRule
from mainspring.data.table import quoted_name, quoted_text
from mainspring.errors import Invalid

if TYPE_CHECKING:
    import duckdb

__all__ = ["WRITTEN", "bring_keys", "hidden_value", "without_hidden"]

#: The alias of the table as it was written. A column of its name would be read in its place, and is refused.
WRITTEN = "#written"
#: Bytes that SHA-256 takes at a time.
_BLOCK = 64


def bring_keys(connection: "duckdb.DuckDBPyConnection", rules: Sequence[CleanRule]) -> None:
    """Give the connection the keys that the rules name.

    Raises:
        NotFound, Refused, Invalid: a key is missing or cannot be used.
    """
    for name in sorted({rule.text("key") for rule in rules if rule.kind == "pseudonym"}):
        key = read_key(name).ljust(_BLOCK, b"\0")
        for side, mask in (("inner", 0x36), ("outer", 0x5C)):
            connection.execute(f"SET VARIABLE {_variable(name, side)} = $1", [bytes(byte ^ mask for byte in key)])


def hidden_value(rule: CleanRule, name: str, kind: str, where: str) -> str:
    """Return the SQL of what a value of the column `name` becomes under a rule that hides it.

    Raises:
        Invalid: the column is of another type than the rule wants.
    """
    value = quoted_name(name)
    if rule.kind == "generalise":
        to = rule.text("to")
        wanted = "timestamp" if to.isalpha() else "number"
        if kind != wanted:
            said = f"`{name}` is a {kind} where `to: {to}` wants a {wanted}"
            raise Invalid(said, where=where, next_step=f"parse it first: - {{parse: [{name}], as: {wanted}}}")
        if wanted == "number":
            return f"floor(CAST({value} AS DOUBLE) / {float(to)!r}) * {float(to)!r}"
        return f"CAST(date_trunc({quoted_text(to)}, {value}) AS TIMESTAMP)"
    text = _text(value, kind)
    if rule.kind == "pseudonym":
        inner, outer = (f"getvariable({quoted_text(_variable(rule.text('key'), side))})" for side in ("inner", "outer"))
        return f"left(sha256({outer} || unhex(sha256({inner} || encode({text})))), 32)"
    kept = int(rule.text("keep_last", "0"))
    if kept == 0:
        return f"CASE WHEN {value} IS NOT NULL THEN '****' END"
    # a value not twice as long as what is kept would show most of itself
    shown = f"CASE WHEN length({text}) >= {2 * kept} THEN right({text}, {kept}) ELSE '' END"
    return f"CASE WHEN {value} IS NOT NULL THEN '****' || {shown} END"


def without_hidden(names: Sequence[str], hidden: Sequence[str]) -> str:
    """Return the SQL of a row of the table `WRITTEN` as JSON, without the columns that are hidden."""
    row = quoted_name(WRITTEN)
    if not hidden:
        return f"CAST(to_json({row}) AS VARCHAR)"
    shown = ", ".join(f"{quoted_text(name)}: {row}.{quoted_name(name)}" for name in names if name not in hidden)
    return f"CAST(to_json({{{shown}}}) AS VARCHAR)" if shown else "'{}'"


def _text(value: str, kind: str) -> str:
    """Return a value as the text that a pseudonym is made of: a whole number is written as one in every table."""
    if kind == "number":
        whole = f"{value} = floor({value}) AND abs({value}) < 1e18"
        return f"CASE WHEN {whole} THEN CAST(TRY_CAST({value} AS BIGINT) AS VARCHAR) ELSE CAST({value} AS VARCHAR) END"
    return f"CAST({value} AS VARCHAR)"


def _variable(key: str, side: str) -> str:
    return f"key_{key.encode().hex()}_{side}"
