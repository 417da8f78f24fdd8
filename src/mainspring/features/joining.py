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
from mainspring.data.table import (
    Columns,
    columns_of,
    connect,
    fetch_columns,
    numbered_scan,
    quoted_name,
    quoted_text,
    settled_scan,
)
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
    if time not in types:
        raise Invalid(f"The entities have no column `{time}`", where="time", next_step=nearest(time, types))
    moment = time_sql(time, types[time], "entities")
    scan, row = numbered_scan(scan, types)
    listed = ", ".join(quoted_name(name) for name in types)
    own, known, values, shown = [f'{row} AS "#r"', f'{moment} AS "#e"'], [], [], [listed]
    found = [listed, '"#r"']
    keyed: dict[str, str] = {}
    compiled = [compile_view(view, connection, _source_of(view, sources)) for view in views]
    for number, each in enumerate(compiled):
        keys = _entity_keys(each, types)
        among = ", ".join(f"{sql} AS {key}" for sql, key in zip(keys, each.keys, strict=True))
        wanted = f"(SELECT DISTINCT {among} FROM {scan})"
        for sql in keys:
            keyed.setdefault(sql, f'"#{len(keyed)}"')
        equal = [f"e.{keyed[sql]} = s{number}.{key}" for sql, key in zip(keys, each.keys, strict=True)]
        until = f'e."#e" - {interval_sql(each.view.delay)} >= s{number}.t'
        known.append(f"ASOF LEFT JOIN ({each.found_sql(among=wanted)}) s{number} ON {' AND '.join([*equal, until])}")
        place = f"s{number}.i"
        if each.view.ttl is not None:
            place = f'CASE WHEN s{number}.t >= e."#e" - {interval_sql(each.view.ttl)} THEN {place} END'
        found.append(f'{place} AS "#i{number}"')
        values.append(f'LEFT JOIN ({each.values_sql(among=wanted)}) v{number} ON found."#i{number}" = v{number}.i')
        shown += [f"v{number}.f{at} AS {quoted_name(name)}" for at, name in enumerate(each.view.features)]
    own += [f"{sql} AS {name}" for sql, name in keyed.items()]
    rows = f"SELECT {', '.join(found)} FROM (SELECT *, {', '.join(own)} FROM {scan}) e {' '.join(known)}"
    return f'SELECT {", ".join(shown)} FROM ({rows}) found {" ".join(values)} ORDER BY "#r"'


def _entity_keys(compiled: Compiled, types: Mapping[str, str]) -> list[str]:
    """Return the keys of a view among the columns of the entities, as it wants them."""
    view, where = compiled.view, f"entities, view {compiled.view.name}"
    keys = []
    for name, kind in zip(view.keys, compiled.key_kinds, strict=True):
        if name not in types:
            raise Invalid(f"The entities have no key `{name}`", where=where, next_step=nearest(name, types))
        keys.append(key_sql(name, kind, types[name], where))
    return keys


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
