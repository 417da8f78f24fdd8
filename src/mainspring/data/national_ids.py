"""Ids that a country gives its people, told by their checksums, where python-stdnum (extra: personal) is installed."""

from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from mainspring.data.table import quoted_name

if TYPE_CHECKING:
    import duckdb

__all__ = ["national_ids"]

_DRAWN, _SAMPLE = 20_000, 500
_FORM = "[0-9A-Z][0-9A-Z .+-]{6,18}[0-9A-Z]"
#: A check digit lets one random number in ten through; twenty values of which nine in ten pass are no chance.
_FEWEST, _SURE = 20, 0.9
#: Columns that one query asks of: the engine plans wide ones slowly.
_COLUMNS = 16
#: Modules of python-stdnum for the ids of persons; business and place numbers are none.
_MODULES = (
    "at.vnr", "be.nn", "bg.egn", "br.cpf", "ch.ssn", "cl.rut", "cn.ric", "cz.rc", "de.idnr", "dk.cpr", "ec.ci",
    "ee.ik", "es.dni", "es.nie", "fi.hetu", "fr.nir", "gb.nhs", "gr.amka", "hr.oib", "ie.pps", "il.idnr",
    "in_.aadhaar", "it.codicefiscale", "kr.rrn", "lt.asmens", "mx.curp", "my.nric", "nl.bsn",
    "no.fodselsnummer", "pl.pesel", "ro.cnp", "se.personnummer", "th.pin", "tr.tckimlik", "za.idnr",
)  # fmt: skip


def national_ids(
    connection: "duckdb.DuckDBPyConnection", source: str, columns: Sequence[tuple[str, str]]
) -> Iterator[tuple[str, str, int]]:
    """Yield columns of which nearly all sampled values are ids of one country: name, kind, and how many cells.

    The cells are those of the form of an id (8 to 20 letters and digits, most of them digits). Without python-stdnum
    nothing is found.
    """
    try:
        import stdnum  # noqa: F401  # extra: personal
    except ImportError:
        return
    if not columns:
        return
    listed = ", ".join(quoted_name(name) for name, _ in columns)
    drawn = f"SELECT {listed} FROM {source} USING SAMPLE reservoir({_DRAWN} ROWS) REPEATABLE (0)"
    connection.execute(f"CREATE TEMP TABLE drawn_for_ids AS {drawn}").fetchall()
    for name in _of_form(connection, [name for name, _ in columns]):
        text, of_form = _form_sql(name)
        asked = f"SELECT DISTINCT {text} AS v FROM drawn_for_ids WHERE {of_form} ORDER BY hash(v) LIMIT {_SAMPLE}"
        country = _country([row[0] for row in connection.execute(asked).fetchall()])
        if country:
            (cells,) = connection.execute(f"SELECT count_if({of_form}) FROM {source}").fetchall()[0]
            yield name, f"national_id ({country})", cells


def _of_form(connection: "duckdb.DuckDBPyConnection", names: Sequence[str]) -> Iterator[str]:
    """Yield the columns with enough values of the form of an id."""
    for start in range(0, len(names), _COLUMNS):
        some = names[start : start + _COLUMNS]
        figures = ", ".join(f"count_if({_form_sql(name)[1]})" for name in some)
        (counts,) = connection.execute(f"SELECT {figures} FROM drawn_for_ids").fetchall()
        yield from (name for name, count in zip(some, counts, strict=True) if (count or 0) >= _FEWEST)


def _form_sql(name: str) -> tuple[str, str]:
    """Return the text of a column as SQL, and the condition that it has the form of an id."""
    text = f"trim(CAST({quoted_name(name)} AS VARCHAR))"
    return text, f"regexp_full_match({text}, '{_FORM}') AND regexp_matches({text}, '[0-9][0-9]')"


def _country(values: Sequence[str]) -> str:
    """Return the module by which the most values are valid, when that is nearly all of them."""
    if len(values) < _FEWEST:
        return ""
    passed = {name: sum(import_module(f"stdnum.{name}").is_valid(each) for each in values) for name in _MODULES}
    best = max(passed, key=lambda name: passed[name])
    return best.partition(".")[0].strip("_") if passed[best] >= _SURE * len(values) else ""
