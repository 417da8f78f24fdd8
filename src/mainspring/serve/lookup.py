"""Features that a request leaves out, looked up by the entity it names.

A row that carries none of a view's columns must carry the view's keys; the features of that entity are read from the
online store and stand in the row as if the client had sent them. A row that carries them all is left alone. What was
looked up, with the version of the view, goes into the prediction log beside the values.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mainspring import config
from mainspring.domain.moments import Clock, clock_of, to_iso
from mainspring.domain.signature import ColumnType, Signature
from mainspring.errors import Invalid, Refused, nearest
from mainspring.features.online import FeatureReader
from mainspring.features.opening import open_online
from mainspring.predictions.records import FeatureLookup
from mainspring.serve.problems import InvalidRows
from mainspring.serve.wire import Row

__all__ = ["Lookup", "ServedViews"]


class _Part(NamedTuple):
    """What one view gives a model: the places of its features among those of the view, their columns and types."""

    reader: FeatureReader
    columns: tuple[tuple[int, str, ColumnType], ...]
    names: frozenset[str]


class ServedViews:
    """The views that this server reads features of; every model takes those that its signature names."""

    def __init__(self, readers: Sequence[FeatureReader], clock: Clock | None = None) -> None:
        """Take readers of views whose features have names of their own.

        Raises:
            Invalid: two views give a feature of one name.
        """
        self._readers = tuple(readers)
        self._clock = clock or clock_of(config.value_of("clock"))
        taken: dict[str, str] = {}
        for reader in self._readers:
            for name in reader.view.names:
                if taken.setdefault(name, reader.view.name) != reader.view.name:
                    what = f"The views `{taken[name]}` and `{reader.view.name}` both give `{name}`"
                    raise Invalid(what, where="--view", next_step="serve one of them, or rename the feature")

    @classmethod
    def open(cls, views: Sequence[str]) -> "ServedViews":
        """Open views, each written NAME/VERSION, in the online store that the settings name.

        Raises:
            NotFound: one was never materialized there.
        """
        online = open_online(config.value_of("features") or str(config.home() / "features"))
        split = (each.partition("/") for each in views)
        return cls([FeatureReader(online, name, version) for name, _, version in split])

    @property
    def keys(self) -> set[str]:
        """The keys of all views."""
        return {key for reader in self._readers for key in reader.view.keys}

    def check(self, known: Collection[str]) -> None:
        """Check that each view gives something to one of the models, whose columns are `known`.

        Raises:
            Invalid: one does not.
        """
        for reader in self._readers:
            if not set(reader.view.names) & set(known):
                name = reader.view.names[0]
                what = f"No model here has a column of the view `{reader.view.reference}`, such as `{name}`"
                raise Invalid(what, where="--view", next_step=nearest(name, known))

    def lookup_for(self, signature: Signature, trained_on: Mapping[str, str] | None = None) -> "Lookup | None":
        """Return the look-up for a model; None where no view gives it anything.

        `trained_on` are the versions of views that it was trained on, as far as that is known.

        Raises:
            Refused: it was trained on another version of a view: its features may mean something else.
        """
        types = {column.name: column.type for column in signature.columns}
        wanted, parts = trained_on or {}, []
        served = {(reader.view.name, reader.version) for reader in self._readers}
        for reader in self._readers:
            name, version = reader.view.name, wanted.get(reader.view.name, reader.version)
            if version != reader.version:
                if (name, version) in served:
                    continue
                raise Refused(
                    f"The model was trained on `{name}/{version[:12]}`, and `{reader.view.reference}` is served",
                    where="--view",
                    next_step=f"serve --view {name}/{version[:12]} (as well), or train it anew",
                )
            listed = enumerate(reader.view.names)
            columns = tuple((place, name, types[name]) for place, name in listed if name in types)
            if columns:
                parts.append(_Part(reader, columns, frozenset(name for _, name, _ in columns)))
        return Lookup(parts, frozenset(types), self._clock) if parts else None


class Lookup:
    """Fills rows for one signature; where it `is_remote` that waits for a network."""

    def __init__(self, parts: Sequence[_Part], columns: frozenset[str], clock: Clock) -> None:
        self._parts = parts
        self._clock = clock
        self.is_remote = any(part.reader.is_remote for part in parts)
        # keys that the model does not know are for us, and would be unknown columns to whoever reads the row
        self._ours = frozenset(key for part in parts for key in part.reader.view.keys) - columns

    def fill(self, rows: Sequence[Row]) -> tuple[list[Row], list[dict[str, FeatureLookup]]]:
        """Return the rows with what they left out, and for each row what was looked up by the names of the views.

        Raises:
            InvalidRows: a row names no entity, or a key is not of its kind.
            Unavailable: the online store cannot be read.
        """
        filled: list[Row] = [{name: row[name] for name in row if name not in self._ours} for row in rows]
        told: list[dict[str, FeatureLookup]] = [{} for _ in rows]
        for part in self._parts:
            wanting = [at for at, row in enumerate(rows) if part.names.isdisjoint(row)]
            if wanting:
                self._fill_from(part, wanting, rows, filled, told)
        return filled, told

    def _fill_from(
        self,
        part: _Part,
        wanting: list[int],
        rows: Sequence[Row],
        filled: list[Row],
        told: list[dict[str, FeatureLookup]],
    ) -> None:
        reader, at = part.reader, self._clock.now()
        names = reader.view.keys
        keys = [_keys_of(rows[row], names, row) for row in wanting]
        try:
            values = reader.read(keys, at=at, where=[f"rows[{row}].{','.join(names)}" for row in wanting])
        except Invalid as error:
            raise InvalidRows(error.what, where=error.where, next_step=error.next_step) from error
        moment = to_iso(at)
        for row, key, found in zip(wanting, keys, values.rows, strict=True):
            for place, name, kind in part.columns:
                value = None if found is None else found[place]
                # a table to train on has truth values as numbers
                filled[row][name] = float(value) if kind == "number" and isinstance(value, bool) else value
            told[row][reader.view.name] = FeatureLookup(
                version=reader.version, keys=dict(zip(names, key, strict=True)), until=values.until, at=moment
            )


def _keys_of(row: Row, names: Sequence[str], at: int) -> list[object]:
    for name in names:
        if name not in row:
            raise InvalidRows(
                f"The key `{name}` is missing, and so are the features it would be looked up for",
                where=f"rows[{at}].{name}",
                next_step="send the key of the entity, or all of its features",
            )
    return [row[name] for name in names]
