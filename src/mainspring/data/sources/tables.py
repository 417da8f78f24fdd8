"""Files of a source as Parquet: what the engine reads by itself, workbooks, and files of Arrow.

A workbook must be a plain table: names in its first row, values below. Whatever would have to be guessed (merged names,
formulas whose results were not saved, error values, which of several sheets) is refused with the cell.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import duckdb

from mainspring.data.exact import parquet_sql
from mainspring.data.table import connect, quoted_text, settled_scan, unreadable
from mainspring.errors import Invalid, MissingExtra, nearest

__all__ = ["copy_as_parquet", "is_workbook", "workbook_rows"]

_MOST_UNPACKED_BYTES = 2 << 30
_ERRORS = ("#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")


def copy_as_parquet(file: Path, target: Path) -> None:
    """Write the table in `file`, which is no workbook, to `target` as Parquet.

    Raises:
        Invalid: it is no table, or of no kind that is read.
        MissingExtra: the package for it is not installed.
    """
    if file.suffix.lower() in (".arrow", ".feather", ".ipc"):
        _copy_arrow(file, target)
        return
    with connect() as connection:
        scan, _ = settled_scan(connection, file)
        try:
            rows = parquet_sql(connection, f"SELECT * FROM {scan}")
            connection.execute(f"COPY ({rows}) TO {quoted_text(str(target))} (FORMAT parquet)").fetchall()
        except duckdb.Error as error:
            raise unreadable(file, error) from error


def _copy_arrow(file: Path, target: Path) -> None:
    try:
        import pyarrow as pa  # extra: arrow
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra.of("arrow", "pyarrow", "Reading files of Arrow") from error
    try:
        with pa.memory_map(str(file)) as source, pa.ipc.open_file(source) as reader:
            if reader.num_record_batches == 0:
                raise Invalid(f"`{file.name}` holds no rows", where=file.name, next_step="give at least one row")
            with pq.ParquetWriter(target, reader.schema) as writer:
                for number in range(reader.num_record_batches):
                    batch = reader.get_batch(number)
                    batch.validate(full=True)  # a file may point anywhere
                    writer.write_batch(batch)
    except (pa.ArrowException, OSError) as error:
        said = f"`{file.name}` is no file of Arrow: {str(error).splitlines()[0]}"
        raise Invalid(said, where=file.name, next_step="write it as an Arrow IPC file") from error


def workbook_rows(file: Path, sheet: str) -> Iterator[Mapping[str, object]]:
    """Yield the rows of a sheet of a workbook (.xlsx); rows without a value are left out.

    Raises:
        Invalid: it is no workbook, too large unpacked, no plain table, or it is not said which of its sheets.
        MissingExtra: openpyxl is not installed.
    """
    try:
        import openpyxl  # extra: excel
    except ImportError as error:
        raise MissingExtra.of("excel", "openpyxl", "Reading workbooks") from error
    _check_packed(file)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and validations, which are none of ours
            books = [openpyxl.load_workbook(file, read_only=True, data_only=each) for each in (True, False)]
            try:
                name = _sheet_of(file, books[0], sheet)
                yield from _rows_of(file, *(_cells(book[name]) for book in books))
            finally:
                for book in books:
                    book.close()
    except (KeyError, ValueError, TypeError, AttributeError, OSError, ParseError, zipfile.BadZipFile) as error:
        said = f"`{file.name}` is no workbook that can be read: {str(error).splitlines()[0] if str(error) else error!r}"
        raise Invalid(said, where=file.name, next_step="save it anew as .xlsx, or as CSV") from error


def _check_packed(file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as packed:
            size = sum(each.file_size for each in packed.infolist())
    except (zipfile.BadZipFile, OSError) as error:
        raise Invalid(
            f"`{file.name}` is no workbook: {error}", where=file.name, next_step="save it as .xlsx, or as CSV"
        ) from error
    if size > _MOST_UNPACKED_BYTES:
        raise Invalid(
            f"`{file.name}` is {size:,} bytes large when it is unpacked", where=file.name, next_step="save it as CSV"
        )


def _sheet_of(file: Path, book: Any, sheet: str) -> str:
    names: list[str] = [each.title for each in book.worksheets]
    if sheet:
        if sheet not in names:
            raise Invalid(f"There is no sheet `{sheet}`", where=file.name, next_step=nearest(sheet, names))
        return sheet
    filled = [name for name in names if next(_cells(book[name]), None) is not None]
    if len(filled) != 1:
        what = "has no sheet with values" if not filled else f"has {len(filled)} sheets: {', '.join(filled)}"
        raise Invalid(f"`{file.name}` {what}", where=file.name, next_step=f"say which one: {file.name}#SHEET")
    return filled[0]


def _cells(sheet: Any) -> Iterator[tuple[int, tuple[object, ...]]]:
    """Yield the rows that hold a value, each with its number; trailing empty cells are cut off."""
    sheet.reset_dimensions()  # what the file says of its size need not be so
    for number, row in enumerate(sheet.iter_rows(values_only=True), start=1):
        width = next((at for at in range(len(row), 0, -1) if row[at - 1] is not None), 0)
        if width:
            yield number, row[:width]


def _rows_of(
    file: Path, values: Iterator[tuple[int, tuple[object, ...]]], formulas: Iterator[tuple[int, tuple[object, ...]]]
) -> Iterator[Mapping[str, object]]:
    asked = dict(_unsaved(file, next(formulas, (1, ()))))
    number, header = next(values, (1, ()))
    names = [str(name).strip() if name is not None else "" for name in header]
    for at, name in enumerate(names):
        if not name or at in asked:
            said = f"The cell {_cell(at, number)} has no name, as where cells are merged: the first row must name all"
            raise Invalid(said, where=f"{file.name}, {_cell(at, number)}", next_step="give each column its own name")
        if name in names[:at]:
            said = f"Two columns are named `{name}`"
            raise Invalid(said, where=f"{file.name}, {_cell(at, number)}", next_step="rename one of them")
    row: tuple[object, ...] = ()
    saved = next(values, None)
    for number, written in formulas:
        row = ()
        if saved is not None and saved[0] == number:
            row, saved = saved[1], next(values, None)
        for at, (value, formula) in enumerate(zip_longest(row, written)):
            where = f"{file.name}, {_cell(at, number)}"
            if value is None and isinstance(formula, str) and formula.startswith("="):
                said = f"The result of the formula in {_cell(at, number)} was not saved"
                raise Invalid(said, where=where, next_step="open the file in a spreadsheet program and save it")
            if value in _ERRORS:
                raise Invalid(f"{_cell(at, number)} holds {value}", where=where, next_step="mend or clear the cell")
        if len(row) > len(names):
            where = f"{file.name}, {_cell(len(row) - 1, number)}"
            raise Invalid("A value stands in a column without a name", where=where, next_step="name the column")
        yield dict(zip_longest(names, row))


def _unsaved(file: Path, row: tuple[int, tuple[object, ...]]) -> Iterator[tuple[int, object]]:
    for at, value in enumerate(row[1]):
        if isinstance(value, str) and value.startswith("="):
            yield at, value


def _cell(at: int, row: int) -> str:
    letters, at = "", at + 1
    while at:
        at, rest = divmod(at - 1, 26)
        letters = chr(65 + rest) + letters
    return f"{letters}{row}"


def is_workbook(name: str) -> bool:
    """Whether a file is read as a workbook."""
    return re.search(r"\.xls[xm]$", name.lower()) is not None
