"""Faults in the bytes of the file of flights: encodings, lines that are cut or shifted, and Parquet of other types."""

import gzip
import random
from collections.abc import Callable
from pathlib import Path

import duckdb
from dirty.planted import Rows, fault

__all__: list[str] = []


@fault("flights.csv", "reading", "file")
def cut_within_a_line(path: Path, _: random.Random) -> Rows:
    """The file ends in the middle of a line."""
    lines = path.read_bytes().splitlines(keepends=True)
    keep = len(lines) * 4 // 5
    path.write_bytes(b"".join(lines[:keep]) + lines[keep][: len(lines[keep]) // 2])
    return {keep - 1}


@fault("flights.csv", "reading", "file")
def encodings_mixed(path: Path, rng: random.Random) -> Rows:
    """A part of the lines is in Latin-1, with a letter that UTF-8 writes otherwise."""
    lines = path.read_bytes().split(b"\n")
    first = rng.randrange(5000, 20000)
    for number in range(first, first + 40):
        lines[number] = lines[number].replace(b",JFK,", b",JFK\xe9,")
    path.write_bytes(b"\n".join(lines))
    changed = {number - 1 for number, line in enumerate(lines) if b"\xe9" in line}
    return {min(changed)}


@fault("flights.csv", "reading", "file")
def utf_16(path: Path, _: random.Random) -> Rows:
    """The file was saved in UTF-16."""
    path.write_bytes(path.read_text(encoding="utf-8").encode("utf-16"))
    return None


@fault("flights.csv", "reading", "file")
def quote_never_closed(path: Path, _: random.Random) -> Rows:
    """A quotation mark is opened and never closed."""
    return _line(path, 9000, lambda line: line.replace(b",JFK,", b',"JFK,').replace(b",EWR,", b',"EWR,'))


@fault("flights.csv", "reading", "file")
def comma_within_a_value(path: Path, _: random.Random) -> Rows:
    """A value holds a comma and no quotes, so that what follows is shifted."""
    return _line(path, 12000, lambda line: line.replace(b"2013,", b"2013,,", 1))


@fault("flights.csv", "reading", "file")
def value_left_out(path: Path, _: random.Random) -> Rows:
    """In one line a value and its comma are left out."""
    return _line(path, 15000, lambda line: line.split(b",", 1)[1])


@fault("flights.csv", "reading", "file")
def bytes_of_zero(path: Path, _: random.Random) -> Rows:
    """A block of the file is zeros, as after a crash of the disk."""
    content = bytearray(path.read_bytes())
    content[1_000_000:1_004_096] = bytes(4096)
    path.write_bytes(bytes(content))
    return {content[:1_000_000].count(b"\n") - 1}


@fault("flights.csv.gz", "reading", "file")
def packed_file_cut(path: Path, _: random.Random) -> Rows:
    """The packed file ends too early."""
    packed = gzip.compress(path.read_bytes(), 1)
    path.write_bytes(packed[: len(packed) // 2])
    return None


@fault("flights.parquet", "reading", "file")
def parquet_cut(path: Path, _: random.Random) -> Rows:
    """The Parquet file ends too early."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])
    return None


@fault("flights.parquet", "distance type", "file")
def numbers_as_texts(path: Path, _: random.Random) -> Rows:
    """A column of numbers became texts with their unit."""
    return _rewritten(path, "CAST(distance AS VARCHAR) || ' mi' AS distance")


@fault("flights.parquet", "time_hour type", "file")
def moments_as_numbers(path: Path, _: random.Random) -> Rows:
    """The moments are seconds since 1970."""
    return _rewritten(path, "epoch(time_hour) AS time_hour")


@fault("flights.parquet", "local_hour", "file")
def zone_forgotten(path: Path, _: random.Random) -> Rows:
    """The moments are local time without a zone."""
    return _rewritten(path, "timezone('America/New_York', time_hour) AS time_hour")


@fault("flights.parquet", "air_time type", "file")
def numbers_in_floats_of_16_bits(path: Path, _: random.Random) -> Rows:
    """Times in the air went through a scaling and are whole no more."""
    return _rewritten(path, "air_time / 151.0 AS air_time")


@fault("flights.parquet", "carrier type", "file")
def categories_as_numbers(path: Path, _: random.Random) -> Rows:
    """The carriers are the numbers of their categories."""
    return _rewritten(path, "dense_rank() OVER (ORDER BY carrier) AS carrier")


def _line(path: Path, number: int, change: Callable[[bytes], bytes]) -> Rows:
    lines = path.read_bytes().split(b"\n")
    lines[number] = change(lines[number])
    path.write_bytes(b"\n".join(lines))
    return {number - 1}


def _rewritten(path: Path, column: str) -> Rows:
    """Write the Parquet file again with one column replaced, and return the rows where it is not missing."""
    name = column.rpartition(" AS ")[2]
    other = path.with_suffix(".tmp")
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT * REPLACE ({column}) FROM '{path}') TO '{other}' (FORMAT parquet)")
        found = connection.execute(f"SELECT {name} IS NOT NULL FROM read_parquet('{other}')").fetchall()
    other.replace(path)
    return {number for number, (present,) in enumerate(found) if present}
