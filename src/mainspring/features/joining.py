"""Point-in-time joins: rows of entities and moments beside what was known of each entity at its moment.

One query in the engine, from files to a file; sorts and joins that do not fit into memory go to disk. Every entity row
is in the result once, in its order; what was not known is missing.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from mainspring.data.exact import parquet_sql
from mainspring.data.table import Columns, columns_of, connect, fetch_columns, quoted_name, quoted_text, settled_scan
from mainspring.domain.ids import new_id
from mainspring.errors import Invalid, Unavailable, nearest
from mainspring.features.compiled import Compiled, compile_view, interval_sql, key_sql, time_sql, uncomputable
from mainspring.features.view import FeatureView

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["join_features", "join_features_to", "join_sql"]


def join_features(
    entities: object, views: Sequence[FeatureView], *, time: str, sources: Mapping[str, Path] | None = None
) -> Columns:
    """Return the entity rows, a table in memory, with the features that were known at each row's `time`.

    `sources` are the files of views by their names, where they are not the views' own `source`.

    Raises:
        NotFound, Invalid: a source or column is missing or of an unfit type, or two columns have one name.
    """
    columns = columns_of(entities)
    with connect() as connection:
        connection.register("entities", columns)
        described = connection.execute("DESCRIBE entities").fetchall()
        types = {str(row[0]): str(row[1]) for row in described}
        # in memory every number is a float64, and a key among them is a whole one
        numbers = {key: columns[key] for view in views for key in view.keys if types.get(key) == "DOUBLE"}
        for key, array in numbers.items():
            _check_whole(key, array)
            types[key] = "BIGINT"
        cast = ", ".join(f"TRY_CAST({quoted_name(key)} AS BIGINT) AS {quoted_name(key)}" for key in numbers)
        scan = f"(SELECT * REPLACE ({cast}) FROM entities)" if cast else "entities"
        query = join_sql(connection, scan, types, views, time, sources or {})
        try:
            return fetch_columns(connection, query)
        except duckdb.Error as error:
            raise uncomputable(error, "join_features") from None


def join_features_to(
    target: Path, entities: Path, views: Sequence[FeatureView], *, time: str, sources: Mapping[str, Path] | None = None
) -> int:
    """Write the rows of the file `entities` with their features to the Parquet file `target`; return how many.

    The result may be larger than memory. It appears whole or not at all.

    Raises:
        NotFound, Invalid: as `join_features`.
        Unavailable: the disk does not take it.
    """
    hidden = target.with_name(f".{target.name}.{new_id()}")
    with connect() as connection:
        scan, described = settled_scan(connection, entities)
        query = join_sql(connection, scan, dict(described), views, time, sources or {})
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            rows = parquet_sql(connection, query)
            copied = connection.execute(f"COPY ({rows}) TO {quoted_text(str(hidden))} (FORMAT parquet)").fetchall()
            hidden.replace(target)
        except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
            what = f"The features cannot be written: {str(error).splitlines()[0]}"
            raise Unavailable(what, where=str(target), next_step="make space, or set MAINSPRING_MEMORY") from error
        except duckdb.Error as error:
            raise uncomputable(error, "join_features") from None
        finally:
            hidden.unlink(missing_ok=True)
    return int(copied[0][0])


def _source_of(view: FeatureView, sources: Mapping[str, Path]) -> Path:
    """Return the file of a view's rows.

    Raises:
        Invalid: the view names a dataset, and nobody has said where its file is.
    """
    if view.name in sources:
        return sources[view.name]
    path = view.source_file
    if path is None:
        raise Invalid(
            f"The source of the view `{view.name}` is the dataset `{view.source}`",
            where=f"view {view.name}",
            next_step="give its file: sources={view: path}; the command `mainspring features` finds it by itself",
        )
    if path.is_file():
        path.open("rb").close()  # the engine opens files unseen; this tells whoever traces what a step reads
    return path


def join_sql(
    connection: "DuckDBPyConnection",
    scan: str,
    types: dict[str, str],
    views: Sequence[FeatureView],
    time: str,
    sources: Mapping[str, Path],
) -> str:
    """Return the query for the rows of `scan`, a table with columns of these `types`, with the features of `views`."""
    if not views:
        raise Invalid("There is no view to join", where="join_features(views)", next_step="give at least one")
    _check_names(types, views)
    own = ['row_number() OVER () AS "#r"']
    if time not in types:
        raise Invalid(f"The entities have no column `{time}`", where="time", next_step=nearest(time, types))
    moment = time_sql(time, types[time], "entities")
    shown, joins = ["e.* EXCLUDE ({own})"], []
    compiled = [compile_view(view, connection, _source_of(view, sources)) for view in views]
    keyed: dict[str, str] = {}
    for number, each in enumerate(compiled):
        sql, also = _joined(each, number, types, moment, scan, keyed)
        joins.append(sql)
        shown += also
    own += [f"{sql} AS {name}" for sql, name in keyed.items()] + [f'{moment} AS "#e"']
    names = ", ".join(each.rpartition(" AS ")[2] for each in own)
    head = ", ".join(shown).replace("{own}", names, 1)
    return f'SELECT {head} FROM (SELECT *, {", ".join(own)} FROM {scan}) e {" ".join(joins)} ORDER BY "#r"'


def _joined(
    compiled: Compiled, number: int, types: Mapping[str, str], moment: str, scan: str, keyed: dict[str, str]
) -> tuple[str, list[str]]:
    """Return the join with one view and the columns it gives; `keyed` gathers the entities' keys as the views want."""
    view, where = compiled.view, f"entities, view {compiled.view.name}"
    mine = []
    for name, kind in zip(view.keys, compiled.key_kinds, strict=True):
        if name not in types:
            raise Invalid(f"The entities have no key `{name}`", where=where, next_step=nearest(name, types))
        mine.append(key_sql(name, kind, types[name], where))
    among = ", ".join(f"{sql} AS {key}" for sql, key in zip(mine, compiled.keys, strict=True))
    rows = compiled.rows_sql(among=f"(SELECT DISTINCT {among} FROM {scan})")
    for sql in mine:
        keyed.setdefault(sql, f'"#{len(keyed)}"')
    equal = [f"e.{keyed[sql]} = v{number}.{key}" for sql, key in zip(mine, compiled.keys, strict=True)]
    known = f'e."#e" - {interval_sql(view.delay)} >= v{number}.t'
    values = [f"v{number}.f{place}" for place in range(len(view.features))]
    if view.ttl is not None:
        fresh = f'v{number}.t >= e."#e" - {interval_sql(view.ttl)}'
        values = [f"CASE WHEN {fresh} THEN {value} END" for value in values]
    shown = [f"{value} AS {quoted_name(name)}" for value, name in zip(values, view.features, strict=True)]
    return f"ASOF LEFT JOIN ({rows}) v{number} ON {' AND '.join([*equal, known])}", shown


def _check_names(types: Mapping[str, str], views: Sequence[FeatureView]) -> None:
    taken = {name.lower(): "the entities" for name in types}
    for name in types:
        if name.startswith("#"):
            raise Invalid(f"The entities have a column `{name}`", where="entities", next_step="rename it")
    for view in views:
        for name in view.names:
            if name.lower() in taken:
                raise Invalid(
                    f"`{name}` is a column of {taken[name.lower()]} and a feature of the view `{view.name}`",
                    where="join_features",
                    next_step="rename one of them",
                )
            taken[name.lower()] = f"the view `{view.name}`"


def _check_whole(key: str, array: NDArray[Any]) -> None:
    present = array[~np.isnan(array)]
    if (present != np.floor(present)).any() or (np.abs(present) >= 2.0**53).any():
        raise Invalid(
            f"The key `{key}` holds numbers that are not whole, or too large to be told apart",
            where=f"entities.{key}",
            next_step="read long ids as text",
        )
