"""Rows and tensors to columns, by a model's signature: every value typed, every mistake named with its place.

The fast path looks at a column's types as a set and converts it whole; only a request that fails is walked value by
value, to say where. Nothing is coerced: a number in quotes is text, and a truth value is no number.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mainspring.domain.signature import ColumnType, Signature
from mainspring.errors import nearest
from mainspring.serve._column import ColumnReader
from mainspring.serve.problems import InvalidRows, Place
from mainspring.serve.typed import RowValues
from mainspring.serve.wire import Row, Tensor, Warn

__all__ = ["DATATYPES", "MOST_PLACES", "Decoded", "RowDecoder"]

#: So many mistakes, or warnings, are listed one by one; more would not help and could be larger than the request.
MOST_PLACES = 20

_INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})
_NUMBERS = _INTEGERS | {"FP16", "FP32", "FP64"}
#: Open Inference datatypes that may fill a column; the first is the one we announce.
DATATYPES: dict[ColumnType, tuple[str, frozenset[str]]] = {
    "number": ("FP64", _NUMBERS),
    "integer": ("INT64", _NUMBERS),
    "boolean": ("BOOL", frozenset({"BOOL"})),
    "string": ("BYTES", frozenset({"BYTES"})),
    "timestamp": ("BYTES", frozenset({"BYTES"})),
}

_Where = Callable[[str, int], str]


@dataclass(frozen=True, slots=True)
class Decoded:
    """A request as the model takes it (`columns`) and as it came (`values`, one list a column)."""

    n_rows: int
    columns: dict[str, NDArray[Any]]  # Any: the element type differs from column to column
    values: dict[str, list[object]]
    where: _Where

    def rows(self) -> list[RowValues]:
        """Return the values row by row."""
        return list(zip(*self.values.values(), strict=True))


class RowDecoder:
    """Decodes for one signature; it is built once for each version and holds no state between requests."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature
        self._names = signature.names
        self._readers = {column.name: ColumnReader(column) for column in signature.columns}
        self._types = {column.name: column.type for column in signature.columns}

    def rows(self, rows: Sequence[Row]) -> Decoded:
        """Decode a list of row objects.

        Raises:
            InvalidRows: there is no row, or a value does not fit; every place is listed, up to 20.
        """
        if not rows:
            raise InvalidRows("There are no rows to score", where="rows", next_step="send at least one row object")
        width = len(self._names)
        try:
            values = {name: [row[name] for row in rows] for name in self._names}
        except KeyError:
            raise self._shape_fault(rows) from None
        if any(len(row) != width for row in rows):
            raise self._shape_fault(rows)
        return self._read(len(rows), values, lambda name, row: f"rows[{row}].{name}")

    def tensors(self, tensors: Sequence[Tensor]) -> Decoded:
        """Decode Open Inference inputs: one tensor for each column, of shape [n] or [n, 1].

        Raises:
            InvalidRows: a tensor is missing, unknown, of another shape or datatype, or holds a value that does not fit.
        """
        places: list[Place] = []
        places += [Place("inputs", f"the column `{name}` is missing") for name in self._absent(tensors)]
        values: dict[str, list[object]] = {}
        position = {tensor.name: at for at, tensor in enumerate(tensors)}
        n_rows = tensors[0].shape[0] if tensors and tensors[0].shape else 0
        for at, tensor in enumerate(tensors):
            where = f"inputs[{at}]"
            if tensor.name not in self._readers:
                places.append(Place(f"{where}.name", self._unknown(tensor.name)))
                continue
            if tensor.name in values:
                places.append(Place(f"{where}.name", f"`{tensor.name}` comes twice"))
            announced, allowed = DATATYPES[self._types[tensor.name]]
            if tensor.datatype not in allowed:
                what = f"`{tensor.name}` takes {announced}, not {tensor.datatype}"
                places.append(Place(f"{where}.datatype", what))
            values[tensor.name] = data = _flat(tensor.data)
            if tensor.shape not in ([n_rows], [n_rows, 1]) or len(data) != n_rows or n_rows < 1:
                what = f"{len(data)} values of shape {tensor.shape}; every tensor must have the shape [n] or [n, 1]"
                places.append(Place(f"{where}.shape", what))
        if places:
            raise _invalid((0, place) for place in places)
        ordered = {name: values[name] for name in self._names}
        return self._read(n_rows, ordered, lambda name, row: f"inputs[{position[name]}].data[{row}]")

    def columns(self, values: Mapping[str, list[object]], where: _Where) -> Decoded:
        """Decode values that come as columns; `where` names the place of a value.

        Raises:
            InvalidRows: there is no row, a column is missing or unknown, or a value does not fit.
        """
        places = [Place(name, "the column is missing") for name in self._names if name not in values]
        places += [Place(name, self._unknown(name)) for name in values if name not in self._readers]
        n_rows = max(map(len, values.values()), default=0)
        places += [
            Place(name, f"{len(column)} values, and another column has {n_rows}")
            for name, column in values.items()
            if len(column) != n_rows
        ]
        if places:
            raise _invalid((0, place) for place in places)
        if not n_rows:
            raise InvalidRows("There are no rows to score", where="rows", next_step="send at least one row")
        return self._read(n_rows, {name: values[name] for name in self._names}, where)

    def warnings(
        self, values: Sequence[Sequence[object]], where: _Where, most: int = MOST_PLACES
    ) -> tuple[list[Warn], Counter[str]]:
        """Return what training never saw the like of in rows that fit, by columns in the signature's order.

        The first `most` are listed with their place; all of them are counted by kind.
        """
        listed: list[Warn] = []
        counts: Counter[str] = Counter()
        for (name, reader), column in zip(self._readers.items(), values, strict=True):
            array = reader.read(column)
            surprises = None if array is None else reader.surprises(column, array)
            if surprises is not None:
                kind, rows = surprises
                counts[kind] += len(rows)
                listed.extend(
                    Warn(kind, where(name, row), reader.surprise(column[row])) for row in rows[: most - len(listed)]
                )
        return listed, counts

    def _read(self, n_rows: int, values: dict[str, list[object]], where: _Where) -> Decoded:
        columns: dict[str, NDArray[Any]] = {}
        failed: list[str] = []
        for name, reader in self._readers.items():
            array = reader.read(values[name])
            if array is None:
                failed.append(name)
                continue
            columns[name] = array
        if failed:
            raise _invalid(
                (row, Place(where(name, row), what))
                for name in failed
                for row, what in itertools.islice(self._readers[name].faults(values[name]), MOST_PLACES + 1)
            )
        return Decoded(n_rows, columns, values, where)

    def _shape_fault(self, rows: Sequence[Row]) -> InvalidRows:
        """Return every missing and unknown column, and every wrong value beside them."""
        found: list[tuple[int, Place]] = []
        for name, reader in self._readers.items():
            absent = [at for at, row in enumerate(rows) if name not in row]
            found += [(at, Place(f"rows[{at}].{name}", _missing(reader.nullable))) for at in absent[: MOST_PLACES + 1]]
            present = [at for at, row in enumerate(rows) if name in row]
            faults = reader.faults([rows[at][name] for at in present])
            found += [
                (present[at], Place(f"rows[{present[at]}].{name}", what))
                for at, what in itertools.islice(faults, MOST_PLACES + 1)
            ]
        known = self._readers.keys()
        extra = ((at, name) for at, row in enumerate(rows) for name in row.keys() - known)
        found += [
            (at, Place(f"rows[{at}].{name}", self._unknown(name)))
            for at, name in itertools.islice(extra, MOST_PLACES + 1)
        ]
        return _invalid(found)

    def _absent(self, tensors: Sequence[Tensor]) -> list[str]:
        sent = {tensor.name for tensor in tensors}
        return [name for name in self._names if name not in sent]

    def _unknown(self, name: str) -> str:
        return f"the model has no column `{name}`. {nearest(name, self._names)}"


def _missing(nullable: bool) -> str:
    return "the column is missing" + ("; send null where it has no value" if nullable else "")


def _invalid(found: Iterable[tuple[int, Place]]) -> InvalidRows:
    """Return the error for what was found, each with its row, in the order of the rows."""
    places = [place for _, place in sorted(found, key=lambda each: each[0])]
    others = len(places) - 1
    more = f" (and {others} more)" if others < MOST_PLACES else f" (and {MOST_PLACES} or more others)"
    return InvalidRows(
        f"{places[0].what}{more if others else ''}",
        where=places[0].where,
        next_step="GET /v2/models/{model} describes the columns",
        places=tuple(places[:MOST_PLACES]),
    )


def _flat(data: list[object]) -> list[object]:
    """Undo the nesting of shape [n, 1]: [[1], [2]] is [1, 2]."""
    if any(isinstance(value, list) for value in data):
        return [inner for value in data for inner in (value if isinstance(value, list) else [value])]
    return data
