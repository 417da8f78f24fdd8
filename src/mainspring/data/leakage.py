"""Does a table know what it could not have known? One test changes the future and builds the table again; one scan
looks at the finished table for columns that know too much.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from mainspring.data.table import Columns, columns_of, n_rows
from mainspring.domain.moments import parse_duration
from mainspring.errors import Invalid, nearest

__all__ = ["Leak", "Suspect", "future_leaks", "leakage_suspects"]

#: A single column that orders or names the target this well is more likely the target itself than a feature.
_KNOWS = 0.98


@dataclass(frozen=True, slots=True)
class Leak:
    """A column that changed for `n_rows` rows before `cut` when only what became known after `cut` was changed."""

    column: str
    cut: np.datetime64
    n_rows: int
    first_row: int


def future_leaks(
    build: Callable[[dict[str, Columns]], object],
    sources: Mapping[str, Columns],
    known: Mapping[str, tuple[str, str]],
    *,
    time: str,
    cuts: int = 3,
) -> list[Leak]:
    """Build a table with the future as it was and with another future, and return what differs before it.

    `build` makes the table of `sources`. `known` gives for a source its time column and the delay after which a row is
    available (``("observed_at", "1h")``). For each of `cuts` moments, spread over the column `time` of the table, each
    number of a source that becomes known after the moment is changed; texts and times, which may be keys, are not. Of
    rows of the table up to the moment no value may change. An empty list means that the table did not look ahead at
    these moments. It costs `cuts` + 1 builds.

    Raises:
        Invalid: a source, its time or the table's time is missing, or rows before the moment come and go.
    """
    for name, (column, _) in known.items():
        if name not in sources:
            raise Invalid(f"There is no source `{name}`", where="known", next_step=nearest(name, sources))
        _moments(sources[name], column, f"source {name}")
    table = columns_of(build({name: dict(columns) for name, columns in sources.items()}))
    moments = _moments(table, time, "the table")
    places = np.linspace(0, 1, cuts + 2)[1:-1]
    present = np.sort(moments[~np.isnat(moments)])
    leaks = []
    for cut in dict.fromkeys(present[(places * (len(present) - 1)).astype(int)].tolist()) if present.size else ():
        moment = np.datetime64(cut, "us")
        again = columns_of(build(_changed(sources, known, moment)))
        leaks += list(_differences(table, again, time, moment))
    return leaks


def _moments(table: Columns, column: str, where: str) -> "NDArray[np.datetime64]":
    if column not in table:
        raise Invalid(f"There is no column `{column}`", where=where, next_step=nearest(column, table))
    if table[column].dtype.kind != "M":
        raise Invalid(f"The column `{column}` holds no moments", where=where, next_step="parse it as a timestamp")
    return table[column]


def _changed(
    sources: Mapping[str, Columns], known: Mapping[str, tuple[str, str]], moment: np.datetime64
) -> dict[str, Columns]:
    changed = {}
    for name, columns in sources.items():
        changed[name] = dict(columns)
        if name in known:
            time, delay = known[name]
            wait = timedelta(0) if delay.startswith("0") else parse_duration(delay)
            late = columns[time] + np.timedelta64(wait // timedelta(microseconds=1), "us") > moment
            for column, array in columns.items():
                if array.dtype.kind == "f":
                    changed[name][column] = np.where(late, np.where(np.isnan(array), 1.0, -3.0 * array - 7.0), array)
    return changed


def _differences(table: Columns, again: Columns, time: str, moment: np.datetime64) -> Iterator[Leak]:
    before, after = (each[time] <= moment for each in (table, again))
    if before.sum() != after.sum():
        raise Invalid(
            f"The table has {before.sum():,} rows up to {moment} and {after.sum():,} with another future",
            where="build",
            next_step="rows must not come and go by what happens later; filter by what was known",
        )
    for column, array in table.items():
        one, two = array[before], again[column][after]
        same = one == two
        if array.dtype.kind != "O":
            same |= (one != one) & (two != two)
        if not same.all():
            row = int(np.flatnonzero(before)[int(np.argmin(same))])
            yield Leak(column, moment, int((~same).sum()), row)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A column that may know too much: why, how strongly (0 to 1), in words."""

    column: str
    reason: str
    score: float
    message: str


def leakage_suspects(
    table: object, *, target: str, time: str = "", test: "NDArray[np.bool_] | None" = None
) -> list[Suspect]:
    """Look at a finished table for columns that know the target, ids, moments after the event, and repeated rows.

    `time` is when a row's prediction is made. `test` marks rows of the test part, whose rows should not stand in the
    others as well. n log n in the rows, for each column.

    Raises:
        Invalid: the target or the time is not in the table, or the target is missing everywhere.
    """
    columns = columns_of(table)
    if target not in columns:
        raise Invalid(f"There is no column `{target}`", where="target", next_step=nearest(target, columns))
    moments = _moments(columns, time, "time") if time else None
    ranks = _ranks(columns[target])
    told = ranks >= 0
    if not told.any():
        raise Invalid(f"The target `{target}` is missing everywhere", where="target", next_step="name another column")
    found: list[Suspect] = []
    for name, array in columns.items():
        if name in (target, time):
            continue
        if array.dtype.kind == "M" and moments is not None:
            later = float((array > moments).mean())
            if later > 0:
                found.append(Suspect(name, "after", later, f"{later:.1%} of its moments are after `{time}`"))
        found += _identity(name, array)
        found += _knows(name, array, ranks, told, target)
    if test is not None:
        found += _repeated({name: array for name, array in columns.items() if name != time}, test)
    return sorted(found, key=lambda each: -each.score)


def _ranks(array: NDArray[np.generic]) -> NDArray[np.int64]:
    """Return the place of each value among the distinct ones, -1 for missing."""
    missing = np.array([each is None for each in array]) if array.dtype.kind == "O" else array != array
    ranks = np.full(len(array), -1)
    ranks[~missing] = np.unique(array[~missing].astype(str) if array.dtype.kind == "O" else array[~missing],
                                return_inverse=True)[1]  # fmt: skip
    return ranks


def _identity(name: str, array: NDArray[np.generic]) -> list[Suspect]:
    places = _ranks(array)
    present = places[places >= 0]
    whole = array.dtype.kind == "O" or (array.dtype.kind == "f" and bool((array == np.floor(array)).all()))
    if present.size < 50 or not whole or len(np.unique(present)) < present.size:
        return []
    return [Suspect(name, "id", 1.0, "every value stands once; an id tells nothing about new rows")]


def _knows(
    name: str, array: NDArray[np.generic], ranks: NDArray[np.int64], told: NDArray[np.bool_], target: str
) -> list[Suspect]:
    places = _ranks(array)
    both = told & (places >= 0)
    if both.sum() < 50 or len(np.unique(ranks[both])) < 2 or len(np.unique(places[both])) < 2:
        return []
    if array.dtype.kind == "O":
        score, what = _purity(places[both], ranks[both]), "names"
    else:
        score, what = abs(_rank_correlation(places[both], ranks[both])), "orders"
    if score < _KNOWS:
        return []
    return [Suspect(name, "target", score, f"alone it {what} `{target}` ({score:.3f} of 1)")]


def _purity(places: NDArray[np.int64], ranks: NDArray[np.int64]) -> float:
    """Return how much better than chance the commonest target of each value is (Goodman and Kruskal's lambda, 1954).

    Values that stand once would be right by definition and are left out.
    """
    counts = np.zeros((places.max() + 1, ranks.max() + 1)) if ranks.max() < 100 else None
    if counts is None:
        return 0.0
    np.add.at(counts, (places, ranks), 1)
    counts = counts[counts.sum(axis=1) > 1]
    total, chance = counts.sum(), counts.sum(axis=0).max() if counts.size else 0.0
    return 0.0 if total == chance else float((counts.max(axis=1).sum() - chance) / (total - chance))


def _rank_correlation(places: NDArray[np.int64], ranks: NDArray[np.int64]) -> float:
    """Return Somers' d for a target of two values (2 AUC - 1), Spearman's correlation for others."""
    average = _average_ranks(places)
    if len(np.unique(ranks)) == 2:
        high = ranks == ranks.max()
        n1, n0 = high.sum(), (~high).sum()
        return float(2 * (average[high].sum() - n1 * (n1 + 1) / 2) / (n1 * n0) - 1)
    return float(np.corrcoef(average, _average_ranks(ranks))[0, 1])


def _average_ranks(places: NDArray[np.int64]) -> NDArray[np.float64]:
    counts = np.bincount(places)
    last = np.cumsum(counts)
    return np.asarray((last - (counts - 1) / 2)[places])


def _repeated(columns: Columns, test: NDArray[np.bool_]) -> list[Suspect]:
    keys = np.stack([_ranks(array) for array in columns.values()], axis=1)
    rows = np.ascontiguousarray(keys).view([("", keys.dtype)] * keys.shape[1]).ravel()
    share = float(np.isin(rows[test], rows[~test]).mean()) if test.any() and n_rows(columns) else 0.0
    if share == 0:
        return []
    return [Suspect("", "repeated", share, f"{share:.1%} of the test rows stand in the other parts as well")]
