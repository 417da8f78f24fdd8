"""Data: reading files into typed columns, checking them against a schema, joining without peeking, versions, profiles.

Nouns: `Columns` (named arrays), `Schema` (what a table must look like), `Violation` (where it does not),
`DatasetVersion` (bytes with a number), `Pin` (a text file that says which version belongs beside it), `Profile` (a
table reduced to counts). Start reading in `table.py`; for versions in `pinned.py`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mainspring.data.checks import Checked, check_table
    from mainspring.data.join import join_asof, join_lookup
    from mainspring.data.leakage import future_leaks, leakage_suspects
    from mainspring.data.profile import Profile, profile
    from mainspring.data.schema import Schema, Violation, infer_schema
    from mainspring.data.schema_file import read_schema
    from mainspring.data.table import Columns, columns_of, frame_of, read_columns
    from mainspring.data.versions import DatasetVersion

__all__ = [
    "Checked",
    "Columns",
    "DatasetVersion",
    "Profile",
    "Schema",
    "Violation",
    "check_table",
    "columns_of",
    "frame_of",
    "future_leaks",
    "infer_schema",
    "join_asof",
    "join_lookup",
    "leakage_suspects",
    "profile",
    "read_columns",
    "read_schema",
]

_HOMES = {
    "Checked": "checks",
    "Columns": "table",
    "DatasetVersion": "versions",
    "Profile": "profile",
    "Schema": "schema",
    "Violation": "schema",
    "check_table": "checks",
    "columns_of": "table",
    "frame_of": "table",
    "future_leaks": "leakage",
    "infer_schema": "schema",
    "join_asof": "join",
    "join_lookup": "join",
    "leakage_suspects": "leakage",
    "profile": "profile",
    "read_columns": "table",
    "read_schema": "schema_file",
}


def __getattr__(name: str) -> Any:  # any public object; loaded late because DuckDB and NumPy are not free to import
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
