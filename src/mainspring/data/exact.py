"""Numbers that a float64 would round, kept and compared as they are: long whole numbers and long decimals.

The convention of `table` is for models, where every number is a float64. What keeps or compares rows asks here.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb

__all__ = ["WHOLE", "can_round", "comparable_sql", "is_rounded_sql", "parquet_sql"]

#: The engine's whole numbers of up to 64 bits; it compares any two of them exactly.
WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT")
#: The beginnings of the engine's names for types with numbers that a DOUBLE rounds.
_ROUNDED = ("BIGINT", "UBIGINT", "HUGEINT", "UHUGEINT", "BIGNUM", "DECIMAL")
_LONG = ("HUGEINT", "UHUGEINT", "BIGNUM")
#: From here on not every whole number is a float64.
_LARGEST = 2**53


def can_round(kind: str) -> bool:
    """Whether numbers of the engine's type `kind` can be such that a DOUBLE rounds them."""
    return kind.startswith(_ROUNDED) and not kind.endswith("]")


def is_rounded_sql(value: str, kind: str) -> str:
    """Return the SQL condition that a DOUBLE rounds a number of the engine's type `kind`."""
    double = f"CAST({value} AS DOUBLE)"
    # a decimal is what is written: 0.10 is no double, and 0.1 gives it back all the same
    back = f"CAST({double} AS VARCHAR)" if kind.startswith("DECIMAL") else double
    return f"TRY_CAST({back} AS {kind}) IS DISTINCT FROM {value}"


def comparable_sql(value: str, kind: str, other: str) -> str:
    """Return a number as SQL that equals one of the type `other`, made by this too, just when they are the same number.

    Where the engine would round one of both to compare them, it is a text: the digits.
    """
    if kind == other or (kind in WHOLE and other in WHOLE) or not (can_round(kind) or can_round(other)):
        return value
    double = f"(CAST({value} AS DOUBLE) + 0.0)"  # -0.0 is 0.0
    is_long = f"abs({double}) >= {_LARGEST}"
    if not can_round(kind):
        whole = f"coalesce(CAST(TRY_CAST({double} AS HUGEINT) AS VARCHAR), CAST({double} AS VARCHAR))"
        return f"CASE WHEN {is_long} THEN {whole} ELSE CAST({double} AS VARCHAR) END"
    digits = f"CAST({value} AS VARCHAR)"
    if kind.startswith("DECIMAL") and not kind.endswith(",0)"):
        # some come without the zero in front
        digits = f"regexp_replace(rtrim(rtrim({digits}, '0'), '.'), '^(-?)[.]', '\\10.')"
    return f"CASE WHEN {is_long} OR {is_rounded_sql(value, kind)} THEN {digits} ELSE CAST({double} AS VARCHAR) END"


def parquet_sql(connection: "duckdb.DuckDBPyConnection", query: str) -> str:
    """Return what to write of a query's rows to Parquet: its longest whole numbers as decimals, or else as text.

    Parquet has no whole numbers of more than 64 bits, the engine would round them, and a decimal has 38 digits.
    """
    described = connection.execute(f"DESCRIBE {query}").fetchall()
    long = [f'"{name.replace(chr(34), chr(34) * 2)}"' for name, kind, *_ in described if kind in _LONG]
    if not long:
        return query
    fits = ", ".join(f"bool_and({name} IS NULL OR TRY_CAST({name} AS DECIMAL(38,0)) IS NOT NULL)" for name in long)
    (found,) = connection.execute(f"SELECT {fits} FROM ({query})").fetchall()
    kinds = ["VARCHAR" if is_fitting is False else "DECIMAL(38,0)" for is_fitting in found]
    casts = ", ".join(f"CAST({name} AS {kind}) AS {name}" for name, kind in zip(long, kinds, strict=True))
    return f"SELECT * REPLACE ({casts}) FROM ({query})"
