"""Sizes of memory and files as people write them: ``2GB``, ``512MiB``; a plain number counts bytes."""

import re

from mainspring.errors import Invalid

__all__ = ["format_size", "parse_size"]

_UNITS = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}


def parse_size(text: str) -> int:
    """Read a size into bytes.

    >>> parse_size("1.5GB"), parse_size("512 MiB")
    (1500000000, 536870912)

    Raises:
        Invalid: the text is not a number and a unit, or not above zero.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)", text.strip())
    size = int(float(match[1]) * _UNITS.get(match[2].upper(), 0)) if match else 0
    if size <= 0:
        raise Invalid(f"`{text}` is not a size", next_step="write a number and a unit, such as 512MB or 2GiB")
    return size


def format_size(size_bytes: int) -> str:
    """Write a number of bytes in the decimal unit that fits it.

    >>> format_size(2_000_000_000), format_size(1_536)
    ('2 GB', '1.5 KB')
    """
    unit = next((each for each in ("TB", "GB", "MB", "KB") if size_bytes >= _UNITS[each]), "B")
    return f"{round(size_bytes / _UNITS[unit], 1):g} {unit}"
